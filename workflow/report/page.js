"use strict";

// Tables: a click on a column's name sorts by it, a second one reverses; cells without a value stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = header.querySelector("button");
    if (button) button.addEventListener("click", () => sortBy(table, headers, column));
  });
}

function sortBy(table, headers, column) {
  const header = headers[column];
  const current = header.getAttribute("aria-sort");
  const opposite = { ascending: "descending", descending: "ascending" };
  const order = current ? opposite[current] : header.dataset.first || "ascending";
  headers.forEach((other) => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const rows = [...table.tBodies[0].rows];
  const key = (row) => row.cells[column].dataset.value;
  rows.sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    return sign * (header.classList.contains("number") ? Number(x) - Number(y) : (x > y) - (x < y));
  });
  table.tBodies[0].append(...rows);
}

// Figures: a click shows one at its own size.
const large = document.getElementById("large");
for (const button of document.querySelectorAll(".enlarge")) {
  button.addEventListener("click", () => {
    const picture = button.querySelector("img");
    Object.assign(large.querySelector("img"), { src: picture.src, alt: picture.alt });
    large.showModal();
  });
}
large.addEventListener("click", (event) => {
  if (event.target === large || event.target.closest("button")) large.close();
});

// Before and after: two layers, the left one clipped at the divider.
const store = document.getElementById("pictures");
if (store) startSlider(JSON.parse(store.textContent));

function startSlider({ images, right: preferred }) {
  const get = (id) => document.getElementById(id);
  const viewer = get("viewer"), divider = get("divider"), image = get("image"), zoom = get("zoom");
  const sides = { left: get("left"), right: get("right") };
  const several = new Set(images.map((entry) => entry.dataset)).size > 1;
  let focus = { x: 0.5, y: 0.5 };

  const fill = (select, labels) => select.replaceChildren(...labels.map((label, index) => new Option(label, index)));
  fill(image, images.map((entry) => (several ? `${entry.dataset}: ` : "") + entry.name));
  image.addEventListener("change", () => chooseImage());
  for (const select of Object.values(sides)) select.addEventListener("change", showPictures);
  get("swap").addEventListener("click", () => {
    [sides.left.value, sides.right.value] = [sides.right.value, sides.left.value];
    showPictures();
  });
  zoom.addEventListener("change", place);

  function chooseImage() {
    const labels = images[image.value].versions.map((version) => version.label);
    const keep = (select, fallback) => {
      const label = select.selectedOptions[0]?.textContent;
      fill(select, labels);
      select.value = Math.max(labels.indexOf(label ?? fallback), 0);
    };
    keep(sides.left, "input");
    keep(sides.right, preferred ?? labels.at(-1));
    showPictures();
  }

  function showPictures() {
    const entry = images[image.value];
    viewer.style.aspectRatio = `${entry.width} / ${entry.height}`;
    for (const [side, select] of Object.entries(sides)) {
      const { label, src, psnr } = entry.versions[select.value];
      Object.assign(get(`${side}-picture`), { src, alt: `${entry.name}, ${label}` });
      get(`${side}-tag`).textContent = psnr === null ? label : `${label}, ${psnr.toFixed(2)} dB`;
    }
    const part = entry.cut ? "the middle of a larger image, " : "";
    get("picture-note").textContent = `${entry.name}: ${part}${entry.width} × ${entry.height} pixels, JPEG-compressed for this ` +
      "page; decibels are the PSNR of the whole, uncompressed image.";
    place();
  }

  function place() {
    const scale = Number(zoom.value);
    viewer.classList.toggle("enlarged", scale > 1);
    const shift = (share) => `${-100 * share * (scale - 1)}%`;
    for (const side of Object.keys(sides)) {
      get(`${side}-picture`).style.transform = `translate(${shift(focus.x)}, ${shift(focus.y)}) scale(${scale})`;
    }
  }

  function split(percent) {
    const value = Math.min(100, Math.max(0, percent));
    viewer.style.setProperty("--split", `${value}%`);
    divider.setAttribute("aria-valuenow", Math.round(value));
  }

  const steps = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 };
  divider.addEventListener("keydown", (event) => {
    if (!(event.key in steps)) return;
    event.preventDefault();
    split(parseFloat(viewer.style.getPropertyValue("--split")) + steps[event.key]);
  });

  // One pointer moves the divider; in an enlarged picture only where it is grabbed, and elsewhere the picture.
  let drag = null;
  viewer.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    drag = event.target === divider || zoom.value === "1" ? "divider" : { x: event.clientX, y: event.clientY, focus };
    viewer.setPointerCapture(event.pointerId);
    move(event);
  });
  viewer.addEventListener("pointermove", move);
  for (const end of ["pointerup", "pointercancel"]) viewer.addEventListener(end, () => { drag = null; });

  function move(event) {
    const box = viewer.getBoundingClientRect();
    if (drag === "divider") {
      split((100 * (event.clientX - box.left)) / box.width);
    } else if (drag) {
      const scale = Number(zoom.value) - 1;
      const limit = (value) => Math.min(1, Math.max(0, value));
      focus = {
        x: limit(drag.focus.x - (event.clientX - drag.x) / (box.width * scale)),
        y: limit(drag.focus.y - (event.clientY - drag.y) / (box.height * scale)),
      };
      place();
    }
  }

  split(50);
  chooseImage();
}

// Alpha: a range moves through crops that were made beforehand.
const moved = document.getElementById("alphas");
if (moved) startAlpha(JSON.parse(moved.textContent));

function startAlpha(entries) {
  const get = (id) => document.getElementById(id);
  const method = get("alpha-method"), image = get("alpha-image"), value = get("alpha-value");
  const fill = (select, labels) => select.replaceChildren(...labels.map((label) => new Option(label)));
  const current = () => entries.find((entry) => entry.method === method.value && entry.image === image.value);

  function chooseMethod() {
    const keep = image.value;
    const names = entries.filter((entry) => entry.method === method.value).map((entry) => entry.image);
    fill(image, names);
    if (names.includes(keep)) image.value = keep;
    chooseImage();
  }

  function chooseImage() {
    const { steps, clean, image: name } = current();
    const before = steps[value.value]?.alpha ?? 0;
    value.max = steps.length - 1;
    value.value = Math.max(0, steps.findIndex((step) => step.alpha === before));
    Object.assign(get("alpha-clean"), { src: clean, alt: `${name}, clean` });
    const alone = steps.find((step) => step.alpha === 1);
    Object.assign(get("alpha-restored"), { src: alone.src, alt: `${name}, the restorer alone` });
    const ticks = steps.flatMap((step, place) => (step.alpha === 0 || step.alpha === 1 ? [new Option("", place)] : []));
    get("alpha-ticks").replaceChildren(...ticks);
    show();
  }

  function show() {
    const entry = current(), step = entry.steps[value.value];
    value.setAttribute("aria-valuetext", `alpha ${step.alpha}`);
    get("alpha-told").textContent = step.alpha;
    const name = step.alpha === 1 ? `${entry.method}: the restorer alone` : `${entry.method}, alpha ${step.alpha}`;
    Object.assign(get("alpha-moved"), { src: step.src, alt: `${entry.image}, ${name}` });
    get("alpha-moved-name").textContent = name;
    get("alpha-note").textContent = `All test images at this alpha: ${step.measures}. The crop has ${entry.size} pixels a side, ` +
      "JPEG-compressed for this page.";
  }

  fill(method, [...new Set(entries.map((entry) => entry.method))]);
  method.addEventListener("change", chooseMethod);
  image.addEventListener("change", chooseImage);
  value.addEventListener("input", show);
  const start = entries[0].steps.findIndex((step) => step.alpha === 0);
  value.max = entries[0].steps.length - 1;
  value.value = Math.max(0, start);
  chooseMethod();
}
