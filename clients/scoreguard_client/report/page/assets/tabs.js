// One metric at a time, by tabs; without scripts, and on paper, all of them are there.
(() => {
  "use strict";
  const list = document.querySelector("[role=tablist]");
  if (!list) return;
  const tabs = [...list.querySelectorAll("[role=tab]")];
  const panel = (tab) => document.getElementById(tab.getAttribute("aria-controls"));

  function choose(chosen) {
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", String(tab === chosen));
      tab.tabIndex = tab === chosen ? 0 : -1;
      panel(tab).hidden = tab !== chosen;
    }
  }

  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) choose(tab);
  });
  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    const tab = tabs.at(to % tabs.length);
    choose(tab);
    tab.focus();
    event.preventDefault();
  });

  for (const tab of tabs) {
    const its = panel(tab);
    its.setAttribute("role", "tabpanel");
    its.setAttribute("aria-labelledby", tab.id);
  }
  list.hidden = false;
  choose(tabs[0]);
})();
