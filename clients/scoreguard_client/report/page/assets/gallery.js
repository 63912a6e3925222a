// The images of an attack: a slider from the clean one to another, and each at its own pixels in a dialog.
(() => {
  "use strict";
  const SCALES = [1, 2, 4];

  function make(tag, properties, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  // Two images on top of each other; the range says how much of the upper one is seen.
  function slider(exhibit) {
    const [clean, ...others] = exhibit.querySelectorAll(".tiles img");
    if (!others.length) return;
    const size = { width: clean.width, height: clean.height };
    const below = make("img", { src: clean.src, alt: clean.alt, ...size });
    const above = make("img", { className: "above", ...size });
    const range = make("input", { type: "range", min: 0, max: 100, value: 50 });
    const choice = make("select", {}, ...others.map((image, index) => new Option(image.dataset.tile, index)));
    const stack = make("div", { className: "stack" }, below, above);

    function show() {
      const image = others[choice.value];
      above.src = image.src;
      above.alt = image.alt;
      stack.style.setProperty("--at", `${range.value}%`);
      range.setAttribute("aria-label", `How much of the ${image.dataset.tile} image covers the clean one`);
      range.setAttribute("aria-valuetext", `${range.value} % ${image.dataset.tile}`);
    }

    for (const input of [range, choice]) input.addEventListener("input", show);
    const named = make("label", {}, "clean against ", choice);
    exhibit.append(make("div", { className: "compare" }, stack, make("div", {}, named, range)));
    show();
  }

  const image = make("img", { alt: "" });
  const caption = make("p", { id: "zoomed" });
  const scale = make("button", { type: "button" });
  const close = make("button", { type: "button", textContent: "Close" });
  const back = make("button", { type: "button", textContent: "←", ariaLabel: "Image before" });
  const next = make("button", { type: "button", textContent: "→", ariaLabel: "Next image" });
  const frame = make("div", { className: "frame", tabIndex: 0 }, image);
  const dialog = make("dialog", { className: "zoom" },
    make("div", { className: "bar" }, caption, back, next, scale, close), frame);
  dialog.setAttribute("aria-labelledby", "zoomed");
  let shown = [];
  let at = 0;
  let times = 0;

  function draw() {
    const from = shown[at];
    const figure = from.closest("figure");
    image.src = from.src;
    image.alt = from.alt;
    image.style.width = `${from.naturalWidth * SCALES[times]}px`;
    caption.textContent = `${from.dataset.tile} ${figure.querySelector("b").textContent} (${at + 1} of ${shown.length})`;
    scale.textContent = `${SCALES[times]}×`;
    scale.setAttribute("aria-label", `Pixels are shown ${SCALES[times]} times as large; change`);
  }

  function step(by) {
    at = (at + by + shown.length) % shown.length;
    draw();
  }

  function open(from) {
    shown = [...from.closest(".tiles").querySelectorAll("img")];
    at = shown.indexOf(from);
    draw();
    dialog.showModal();
    frame.focus();
  }

  back.addEventListener("click", () => step(-1));
  next.addEventListener("click", () => step(1));
  close.addEventListener("click", () => dialog.close());
  scale.addEventListener("click", () => {
    times = (times + 1) % SCALES.length;
    draw();
  });
  dialog.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    step(by);
    event.preventDefault();
  });

  for (const exhibit of document.querySelectorAll(".exhibit")) {
    for (const tile of exhibit.querySelectorAll(".tiles img")) {
      const button = make("button", { type: "button", className: "enlarge" });
      tile.replaceWith(button);
      button.append(tile);
      button.setAttribute("aria-label", `Enlarge ${tile.alt}`);
      button.addEventListener("click", () => open(tile));
    }
    slider(exhibit);
  }
  document.body.append(dialog);
})();
