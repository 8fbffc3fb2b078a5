"use strict";

// Tables: a heading sorts, a second time the other way round; a field hides rows without its words.

for (const sheet of document.querySelectorAll(".sheet")) {
  const body = sheet.querySelector("tbody");
  const headings = [...sheet.querySelectorAll("th")];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.dataset.heading = heading.textContent; // paper has no buttons
    button.addEventListener("click", () => sort(body, headings, column));
    heading.replaceChildren(button);
  });
  const field = sheet.querySelector("input[type=search]");
  if (field) {
    field.parentElement.hidden = false;
    field.addEventListener("input", () => filter(body, field.value, sheet.querySelector("output")));
  }
}

function sort(body, headings, column) {
  const numbers = headings[column].classList.contains("n");
  const before = headings[column].getAttribute("aria-sort");
  const descends = before ? before === "ascending" : numbers; // of numbers the largest come first
  headings.forEach((heading) => heading.removeAttribute("aria-sort"));
  headings[column].setAttribute("aria-sort", descends ? "descending" : "ascending");
  const sign = descends ? -1 : 1;
  const keyed = [...body.rows].map((row) => [keyOf(row.cells[column], numbers), row]);
  keyed.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null); // what is unknown comes last
    return sign * (numbers ? a - b : a.localeCompare(b, "en", { numeric: true }));
  });
  body.append(...keyed.map(([, row]) => row));
}

function keyOf(cell, numbers) {
  if (!numbers) return cell.textContent;
  return "v" in cell.dataset ? Number(cell.dataset.v) : null;
}

function filter(body, text, count) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of body.rows) {
    const content = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => content.includes(word));
    shown += !row.hidden;
  }
  count.textContent = words.length ? `${shown} of ${body.rows.length}` : "";
}

// The histogram: of each power of two the bytes in use and free, as the command's JSON has them.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

function sizeText(bytes) {
  const unit = bytes < 1024 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), 4);
  return `${Number((bytes / 1024 ** unit).toFixed(1))} ${UNITS[unit]}`;
}

function drawHistogram(place, readout) {
  const table = JSON.parse(document.getElementById("json-sizes-group").textContent).tables[0];
  const rows = table.rows.filter((row) => row.in_use !== null).sort((a, b) => a.size - b.size);
  if (!rows.length) return;
  const top = Math.max(...rows.map((row) => row.in_use + row.free));
  const step = 1024 ** Math.floor(Math.log2(top || 1) / 10); // the axis counts in this unit
  const series = ["in_use", "free"].map((name) => ({
    name, className: `k-${name}`, data: rows.map((row) => row[name] / step),
  }));
  const every = Math.ceil(rows.length / Math.max(1, Math.floor(place.clientWidth / 70)));
  const chart = new Chartist.BarChart(
    place,
    { labels: rows.map((row) => sizeText(row.size)), series },
    {
      stackBars: true,
      chartPadding: { top: 10, right: 10, bottom: 0, left: 0 },
      axisX: { showGrid: false, labelInterpolationFnc: (text, at) => (at % every ? null : text) },
      axisY: { offset: 60, labelInterpolationFnc: (value) => sizeText(value * step), scaleMinSpace: 40 },
    },
  );
  chart.on("draw", (drawn) => {
    if (drawn.type === "bar") describe(drawn.element.getNode(), rows[drawn.index], drawn.series.name, readout);
  });
  chart.on("created", ({ svg, chartRect }) => {
    const width = Math.max(3, Math.min(48, (chartRect.width() / rows.length) * 0.7));
    svg.getNode().style.setProperty("--bar", `${width}px`);
    svg.attr({ viewBox: `0 0 ${place.clientWidth} ${place.clientHeight}` }); // paper is narrower
  });
}

function describe(bar, row, series, readout) {
  const what = series === "in_use" ? "in use" : "free";
  const text = `chunks of ${sizeText(row.size)} to less than ${sizeText(2 * row.size)}: ` +
    `${sizeText(row[series])} ${what}, in ${row[`${series}_chunks`].toLocaleString("en")} chunks`;
  bar.setAttribute("tabindex", "0");
  bar.setAttribute("role", "img");
  bar.setAttribute("aria-label", text);
  const show = () => { readout.hidden = false; readout.textContent = text; };
  for (const kind of ["pointerenter", "focus", "click"]) bar.addEventListener(kind, show);
}

const histogram = document.getElementById("histogram");
if (histogram) drawHistogram(histogram, histogram.parentElement.querySelector(".readout"));

// The map: a stretch that is pointed at, or reached by an arrow key in its row, says what it is.

for (const map of document.querySelectorAll(".map")) {
  const readout = map.querySelector(".readout");
  const tell = (text) => { readout.hidden = false; readout.textContent = text; };
  for (const lane of map.querySelectorAll(".lane")) {
    const stretches = [...lane.querySelectorAll("[data-t]")];
    const go = (to) => {
      lane.querySelector(".at")?.classList.remove("at");
      stretches[to].classList.add("at");
      tell(stretches[to].dataset.t);
    };
    for (const kind of ["pointerover", "click"]) {
      lane.addEventListener(kind, (event) => event.target.dataset.t && tell(event.target.dataset.t));
    }
    lane.addEventListener("focus", () => tell(lane.getAttribute("aria-label")));
    lane.addEventListener("blur", () => lane.querySelector(".at")?.classList.remove("at"));
    lane.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const at = stretches.findIndex((each) => each.classList.contains("at"));
      go(Math.min(Math.max(at + step, 0), stretches.length - 1));
      event.preventDefault();
    });
  }
}
