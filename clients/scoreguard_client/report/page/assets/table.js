// Tables that are sorted by their headings and filtered by words. Long ones show a part first and more as one scrolls:
// the lines are all there, and only those that are shown are laid out.
(() => {
  "use strict";
  const PART = 200;
  const MARGIN = "1500px";

  // A number as it stands in a cell; null where there is none, such as a dash.
  function numberOf(text) {
    if (text === "∞") return Infinity;
    const number = parseFloat(text);
    return Number.isNaN(number) ? null : number;
  }

  function textUnder(row, heading) {
    if (heading.name !== undefined) return row.cells[0].querySelectorAll(".name")[heading.name].textContent;
    return row.cells[heading.index].querySelector(".value").textContent;
  }

  // Words are sorted as words if there is no number among them; what is missing comes last either way.
  function ordered(rows, heading, descending) {
    const texts = rows.map((row) => textUnder(row, heading).trim());
    const numbers = heading.name === undefined ? texts.map(numberOf) : texts.map(() => null);
    const keys = numbers.some((number) => number !== null) ? numbers : texts;
    const sign = descending ? -1 : 1;
    const collator = new Intl.Collator("en", { numeric: true });
    const compare = (a, b) => {
      if (keys[a] === null || keys[b] === null) return (keys[a] === null) - (keys[b] === null);
      const order = keys === numbers ? Math.sign(keys[a] - keys[b]) || 0 : collator.compare(keys[a], keys[b]);
      return sign * order || a - b;
    };
    return rows.map((_, index) => index).sort(compare).map((index) => rows[index]);
  }

  function setUp(table) {
    const body = table.tBodies[0];
    const board = table.closest(".board");
    const tools = board.querySelector(".tools");
    const more = board.querySelector(".more");
    const original = [...body.rows];
    let rows = original;
    let left = rows;
    let shown = 0;

    function show(upTo) {
      for (const row of left.slice(shown, upTo)) row.classList.remove("later");
      shown = Math.min(upTo, left.length);
      more.hidden = shown === left.length;
      more.textContent = `Show more: ${shown} of ${left.length} lines are here`;
    }

    function refresh() {
      const fits = filter();
      left = [];
      for (const row of rows) {
        const keep = fits(row);
        row.classList.toggle("out", !keep);
        row.classList.add("later");
        if (keep) left.push(row);
      }
      shown = 0;
      show(PART);
      if (tools) tools.querySelector("output").textContent =
        left.length === rows.length ? `${rows.length} lines` : `${left.length} of ${rows.length} lines`;
    }

    function filter() {
      if (!tools) return () => true;
      const words = tools.querySelector("[type=search]").value.toLowerCase().split(/\s+/).filter(Boolean);
      const refused = [...tools.querySelectorAll("[type=checkbox]:not(:checked)")];
      return (row) =>
        refused.every((box) => row.dataset[box.dataset.of] !== box.value) &&
        (words.length === 0 || words.every((word) => searched(row).includes(word)));
    }

    const texts = new Map();
    function searched(row) {
      if (!texts.has(row)) {
        const full = [...row.cells[0].querySelectorAll("[title]")].map((name) => name.title);
        const words = [...row.querySelectorAll("td.words")].map((cell) => cell.textContent);
        texts.set(row, [row.cells[0].textContent, ...full, ...words].join(" ").toLowerCase());
      }
      return texts.get(row);
    }

    // Numbers start with the largest, names with the first; the third time the table's own order is back.
    function sortBy(button) {
      const heading = button.dataset.name === undefined
        ? { index: button.parentElement.cellIndex } : { name: Number(button.dataset.name) };
      const first = heading.name === undefined ? "descending" : "ascending";
      const other = first === "descending" ? "ascending" : "descending";
      const cell = button.parentElement;
      const now = button.dataset.order ?? "none";
      const next = now === "none" ? first : now === first ? other : "none";
      for (const one of table.tHead.querySelectorAll("th")) one.removeAttribute("aria-sort");
      for (const one of table.tHead.querySelectorAll("button")) delete one.dataset.order;
      if (next !== "none") {
        button.dataset.order = next;
        cell.setAttribute("aria-sort", next);
      }
      rows = next === "none" ? original : ordered(original, heading, next === "descending");
      // All are taken out at once: one by one, a browser looks at the others each time.
      body.replaceChildren();
      const inOrder = new DocumentFragment();
      for (const row of rows) inOrder.append(row);
      refresh();
      body.append(inOrder);
      table.parentElement.scrollTop = 0;
    }

    table.tHead.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) sortBy(button);
    });
    if (tools) {
      tools.addEventListener("input", refresh);
      tools.hidden = false;
    }
    more.addEventListener("click", () => show(shown + PART));
    refresh();
    if (original.length > PART) {
      const options = { root: table.parentElement, rootMargin: MARGIN };
      // The button may stay in sight after it has shown more: then it shows again, until it is not.
      const watcher = new IntersectionObserver((entries) => {
        if (!entries.at(-1).isIntersecting || more.hidden) return;
        show(shown + PART);
        watcher.unobserve(more);
        watcher.observe(more);
      }, options);
      watcher.observe(more);
    }
  }

  for (const table of document.querySelectorAll("table[data-table]")) setUp(table);
})();
