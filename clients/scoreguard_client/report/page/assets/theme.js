// Dark or light: as the system says, until the button says otherwise; the choice is forgotten with the page.
(() => {
  "use strict";
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;

  function show() {
    const dark = chosen ?? system.matches;
    root.style.colorScheme = chosen === null ? "" : chosen ? "dark" : "light";
    button.textContent = dark ? "Light" : "Dark";
    button.setAttribute("aria-label", dark ? "Show in light colours" : "Show in dark colours");
  }

  button.addEventListener("click", () => {
    chosen = !(chosen ?? system.matches);
    show();
  });
  system.addEventListener("change", show);
  button.hidden = false;
  show();
})();
