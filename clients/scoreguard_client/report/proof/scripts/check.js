// Compare what every cell shows with what the records give, mark it, and say what was found.

const SLICE = 12;
const BETWEEN_NEWS = 1000;
const MOST_NAMED = 10;
const [RIGHT, WRONG] = ["✓", "✗"];
const NAMES = "names";
const ROUNDING = 1e-9;

function numberText(value, digits) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "–";
  return value.toFixed(digits).replace(/^-(0(\.0*)?)$/, "$1");
}

function valueText(cell, digits) {
  if (cell.kind === "text") return cell.text;
  const missing = cell.kind === "estimate" && !Number.isFinite(cell.value);
  return missing ? cell.note || "–" : numberText(cell.value, digits);
}

function intervalText({ kind, value, low, high, note }, digits) {
  if (kind !== "estimate" || !Number.isFinite(value)) return "";
  if (!Number.isFinite(low)) return note;
  return `[${numberText(low, digits)}, ${numberText(high, digits)}]`;
}

// Half a unit of the last digit, since rounding halves differ between languages, and rounding errors of the sums.
function showsNumber(text, value, digits) {
  if (!Number.isFinite(value)) return text === numberText(value, digits);
  const isFormed = new RegExp(digits ? `^-?\\d+\\.\\d{${digits}}$` : "^-?\\d+$").test(text);
  return isFormed && Math.abs(Number(text) - value) <= 0.5 * 10 ** -digits + ROUNDING * Math.max(1, Math.abs(value));
}

function showsValue(text, cell, digits) {
  const hasNumber = cell.kind !== "text" && (cell.kind === "plain" || Number.isFinite(cell.value));
  return hasNumber ? showsNumber(text, cell.value, digits) : text === valueText(cell, digits);
}

function showsInterval(text, cell, digits) {
  const expected = intervalText(cell, digits);
  const ends = /^\[(.+), (.+)\]$/.exec(text);
  if (!expected.startsWith("[") || !ends) return text === expected;
  return showsNumber(ends[1], cell.low, digits) && showsNumber(ends[2], cell.high, digits);
}

const textOf = (element) => (element ? element.textContent.trim().replace(/\s+/g, " ") : "");

function mark(element, isRight, title) {
  let found = element.querySelector(".mark");
  if (!found) {
    if (isRight) return;
    found = document.createElement("span");
    found.className = "mark";
    element.append(found);
  }
  found.textContent = isRight ? RIGHT : WRONG;
  found.title = title;
  found.classList.add(isRight ? "right" : "wrong");
}

// A cell of the page against what it should show; the line that names it if it differs.
function checkedCell(element, cell, digits) {
  const [value, interval] = [".value", ".interval"].map((part) => textOf(element.querySelector(part)));
  const isRight = showsValue(value, cell, digits) && showsInterval(interval, cell, digits);
  const expected = [valueText(cell, digits), intervalText(cell, digits)].filter(Boolean).join(" ");
  mark(element, isRight, isRight ? "recomputed from the records" : `should be ${expected}`);
  return isRight ? "" : `shown ${[value, interval].filter(Boolean).join(" ") || "nothing"}, computed ${expected || "nothing"}`;
}

function checkedNames(row, names) {
  const shown = [...row.querySelectorAll("th .name")].map(textOf);
  if (!shown.length) return null;
  const isRight = shown.join(", ") === names.join(", ");
  const head = row.querySelector("th");
  if (!isRight) mark(head, false, `should be ${names.join(", ")}`);
  return isRight ? "" : `shown ${shown.join(", ")}, computed ${names.join(", ")}`;
}

// The rows of the page's tables by the keys of table and line.
function rowsOf(root) {
  const found = new Map();
  for (const row of root.querySelectorAll("table[data-table] tr[data-line]")) {
    const key = JSON.stringify([row.closest("table").dataset.table, row.dataset.line]);
    found.set(key, [...(found.get(key) ?? []), row]);
  }
  return found;
}

const pause = () => new Promise((resolve) => setTimeout(resolve));

async function compared(content, root, told = () => {}) {
  const result = { cells: 0, wrong: [], lacking: [], extra: [] };
  const rows = rowsOf(root);
  let since = performance.now();
  let news = since;
  for (const { key: table, digits, lines } of tablesOf(content)) {
    for (const { key: line, names, cells } of lines) {
      const name = JSON.stringify([table, line]);
      const [row, ...others] = rows.get(name) ?? [];
      rows.delete(name);
      if (!row || others.length) (row ? result.extra : result.lacking).push([table, line].join(", "));
      if (!row) continue;
      const note = (heading, found) => {
        if (found === null) return;
        result.cells += 1;
        if (found) result.wrong.push(`${table}, ${line}, ${heading}: ${found}`);
      };
      note(NAMES, checkedNames(row, names));
      const shown = new Map([...row.querySelectorAll("td[data-heading]")].map((cell) => [cell.dataset.heading, cell]));
      for (const [heading, places] of Object.entries(digits)) {
        const element = shown.get(heading);
        shown.delete(heading);
        if (!element) result.lacking.push([table, line, heading].join(", "));
        else if (cells[heading]) note(heading, checkedCell(element, cells[heading](), places));
        if (performance.now() - since > SLICE) {
          if (performance.now() - news > BETWEEN_NEWS) {
            told(result);
            news = performance.now();
          }
          await pause();
          since = performance.now();
        }
      }
      for (const heading of shown.keys()) result.extra.push([table, line, heading].join(", "));
    }
  }
  for (const name of rows.keys()) result.extra.push(JSON.parse(name).join(", "));
  return result;
}

const counted = (count) => count.toLocaleString("en");

function listed(what, names) {
  if (!names.length) return "";
  const more = names.length > MOST_NAMED ? `; and ${counted(names.length - MOST_NAMED)} more` : "";
  return ` ${what}: ${names.slice(0, MOST_NAMED).join("; ")}${more}.`;
}

function summary({ cells, wrong, lacking, extra }, records, isWhole) {
  const start = `${counted(cells - wrong.length)} of ${counted(cells)} cells recomputed from ${counted(records)} records`;
  if (isWhole && ![wrong, lacking, extra].some((names) => names.length)) return `${start}: all equal`;
  return (
    `${start} are equal.` +
    (isWhole ? "" : " The records do not have the digest that the page states.") +
    listed("These differ", wrong) +
    listed("The page lacks", lacking) +
    listed("It has no records for", extra)
  );
}

async function check() {
  const say = (text, kind = "") => {
    const element = document.getElementById("proof");
    if (!element) return;
    element.textContent = text;
    element.className = kind;
  };
  if (!globalThis.DecompressionStream) {
    say("This browser cannot unpack the records; scoreguard report verify recomputes the page too.");
    return;
  }
  try {
    const { content, isWhole } = await unpacked(document.getElementById("records").textContent);
    const records = content.metrics.reduce((count, { records: columns }) => count + columnOf(columns.image).length, 0);
    const result = await compared(content, document, ({ cells }) => say(`Recomputing: ${counted(cells)} cells done …`));
    const text = summary(result, records, isWhole);
    say(text, text.endsWith("all equal") ? "right" : "wrong");
  } catch (error) {
    say(`The records in the page cannot be read, it was cut or changed: ${error.message}`, "wrong");
  }
}
