"use strict";
// The page of one run. Data come from /api/...; pictures are drawn by plotly, which is served from here too.

const $ = (id) => document.getElementById(id);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const mapOptions = { displaylogo: false, responsive: true, displayModeBar: true, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
const options = { responsive: true, displayModeBar: false };
let run, frame = 0, followed = null, timer = null, asked = 0;

async function ask(what, query = {}) {
  const response = await fetch(`/api/${what}?${new URLSearchParams(query)}`);
  const found = await response.json();
  if (!response.ok) throw new Error(found.error);
  return found;
}

function layout(extra) {
  const axis = { gridcolor: css("--line"), zerolinecolor: css("--line"), linecolor: css("--line") };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 52, r: 12, t: 8, b: 36 },
    font: { color: css("--ink"), size: 12 }, showlegend: false, hovermode: "closest", uirevision: "kept",
    modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--soft"), activecolor: css("--accent") },
    ...extra, xaxis: { ...axis, ...extra.xaxis }, yaxis: { ...axis, ...extra.yaxis },
  };
}

const withUnit = (name, unit) => (unit ? `${name} [${unit}]` : name);
const unitOf = (name) => run.units[name] || "";

// the same colour means the same value at every time
const limits = {};

async function course(quantity) {
  const found = await ask("course", { quantity });
  if (found.limits && found.limits[0] < found.limits[1]) limits[quantity] = found.limits;
  return found;
}

// cells that have the quantity, and the others, which are dead: pale discs below them
function parted(cells) {
  const pick = (keep) => Object.fromEntries(Object.entries(cells).map(([k, v]) => [k, Array.isArray(v) ? v.filter((_, i) => keep(i)) : v]));
  return [pick((i) => cells.value[i] === null), pick((i) => cells.value[i] !== null)];
}

function colouring(quantity, cells) {
  if (quantity === "type") return { color: cells.type.map((k) => run.colours[run.types[k]]) };
  if (quantity === "phase") return { color: cells.phase.map((k) => run.phase_colours[run.phases[k]]) };
  const bar = { title: { text: withUnit(quantity, unitOf(quantity)), side: "right" }, thickness: 12, outlinewidth: 0 };
  const [cmin, cmax] = limits[quantity] || [undefined, undefined];
  return { color: cells.value, colorscale: "Viridis", cmin, cmax, showscale: true, colorbar: bar };
}

const words = (cells, k, quantity) => {
  const value = ["type", "phase"].includes(quantity) || cells.value[k] === null ? "" : `<br>${quantity}: ${cells.value[k]}`;
  return `cell ${cells.cell[k]}, ${run.types[cells.type[k]]}, ${run.phases[cells.phase[k]]}${value}`;
};

// the size of a marker that is a cell's diameter on the map
function pixelsPerMicron(box) {
  const width = $("map").clientWidth - 120, height = $("map").clientHeight - 60;
  return Math.min(width / (box.x[1] - box.x[0]), height / (box.y[1] - box.y[0]));
}

function extent(cells, field) {
  const range = (values, more) => {
    const all = values.concat(more || []);
    const low = Math.min(...all), high = Math.max(...all), rim = 15;
    return [low - rim, high + rim];
  };
  return { x: range(cells.x.length ? cells.x : [0], field && field.x), y: range(cells.y.length ? cells.y : [0], field && field.y) };
}

async function drawMap() {
  const quantity = $("quantity").value, name = $("field").value, mine = ++asked;
  if (!(quantity in limits)) await course(quantity);
  const cells = await ask("cells", { frame, quantity });
  const field = name ? await ask("field", { frame, name }) : null;
  if (mine !== asked) return;
  const box = extent(cells, field);
  if (!run.box || $("map").dataset.fresh !== "no") run.box = box;
  run.box = { x: [Math.min(run.box.x[0], box.x[0]), Math.max(run.box.x[1], box.x[1])],
              y: [Math.min(run.box.y[0], box.y[0]), Math.max(run.box.y[1], box.y[1])] };
  $("map").dataset.fresh = "no";
  const scale = pixelsPerMicron(run.box);
  const traces = [];
  if (field) {
    const bar = { title: { text: withUnit(name, run.fields[name]), side: "right" }, thickness: 12, outlinewidth: 0, x: 1.12 };
    traces.push({ type: "heatmap", x: field.x, y: field.y, z: field.value, colorscale: "Cividis", opacity: 0.75, colorbar: bar, hoverinfo: "z" });
  }
  const line = { width: 0.5, color: css("--paper") };
  const [without, having] = parted(cells);
  for (const [some, look] of [[without, { color: "#8d8a8550" }], [having, colouring(quantity, having)]]) {
    const size = some.radius.map((r) => Math.max(3, 2 * r * scale));
    const text = some.cell.map((_, k) => words(some, k, quantity));
    const common = { customdata: some.cell, text, hoverinfo: "text", mode: "markers" };
    traces.push({ type: "scatter", x: some.x, y: some.y, marker: { ...look, size, line, opacity: 0.9 }, ...common });
  }
  const axis = { showgrid: false, zeroline: false, title: { text: "x [um]" } };
  const shown = layout({
    margin: { l: 52, r: 90, t: 34, b: 40 },
    xaxis: { ...axis, range: run.box.x, constrain: "domain" },
    yaxis: { ...axis, title: { text: run.solid ? "y [um], all depths" : "y [um]" }, range: run.box.y, scaleanchor: "x", constrain: "domain" },
  });
  await Plotly.react("map", traces, shown, mapOptions);
  $("time").textContent = `${run.times[frame]} ${run.unit}`;
  drawHistogram(cells, quantity);
  const thin = cells.total > cells.cell.length ? ` ${cells.cell.length} of ${cells.total} cells are shown.` : "";
  $("hint").textContent = (followed === null ? "Click a cell to follow it." : `Following cell ${followed}; click it again to let it go.`) + thin;
}

function drawHistogram(cells, quantity) {
  const named = { type: run.types, phase: run.phases }[quantity];
  $("histogram-title").textContent = `${quantity} at ${run.times[frame]} ${run.unit}`;
  if (named) {
    const counts = named.map((_, k) => cells[quantity].filter((v) => v === k).length);
    const colours = named.map((n) => (quantity === "type" ? run.colours : run.phase_colours)[n]);
    Plotly.react("histogram", [{ type: "bar", x: named, y: counts, marker: { color: colours } }], layout({ yaxis: { title: { text: "cells" } } }), options);
    return;
  }
  const bars = run.types.map((t, k) => ({
    type: "histogram", name: t, x: cells.value.filter((v, i) => v !== null && cells.type[i] === k), marker: { color: run.colours[t] }, opacity: 0.75, nbinsx: 40,
  }));
  Plotly.react("histogram", bars, layout({ barmode: "overlay", xaxis: { title: { text: withUnit(quantity, unitOf(quantity)) } }, yaxis: { title: { text: "cells" } } }), options);
}

const marks = () => [
  { type: "line", x0: run.times[frame], x1: run.times[frame], yref: "paper", y0: 0, y1: 1, line: { color: css("--soft"), width: 1 } },
  ...run.events.slice(0, 20).map((e) => ({ type: "line", x0: e.time, x1: e.time, yref: "paper", y0: 0, y1: 1, line: { color: css("--soft"), width: 1, dash: "dot" } })),
];

function drawCounts() {
  const lines = run.types.map((t) => ({ type: "scatter", mode: "lines", name: t, x: run.times, y: run.counts[t], line: { color: run.colours[t] } }));
  const shown = { xaxis: { title: { text: `time [${run.unit}]` } }, yaxis: { rangemode: "tozero" }, shapes: marks(), showlegend: run.types.length > 1 };
  return Plotly.react("counts", lines, layout(shown), options);
}

async function drawCourse() {
  const quantity = $("quantity").value;
  $("course-title").textContent = ["type", "phase"].includes(quantity) ? "Choose a quantity to see it over time" : `${withUnit(quantity, unitOf(quantity))}: median and 80 % of the living cells`;
  const found = await course(quantity);
  const lines = [];
  for (const [type, band] of Object.entries(found.of)) {
    const colour = run.colours[type];
    lines.push({ type: "scatter", mode: "lines", x: found.time, y: band.low, line: { width: 0 }, hoverinfo: "skip" });
    lines.push({ type: "scatter", mode: "lines", x: found.time, y: band.high, line: { width: 0 }, fill: "tonexty", fillcolor: `${colour}30`, hoverinfo: "skip" });
    lines.push({ type: "scatter", mode: "lines", name: type, x: found.time, y: band.middle, line: { color: colour } });
  }
  if (followed !== null && lines.length) {
    const one = await ask("cell", { id: followed, quantity });
    lines.push({ type: "scatter", mode: "lines", name: `cell ${followed}`, x: one.time, y: one.value, line: { color: css("--ink"), width: 1.5 } });
  }
  return Plotly.react("course", lines, layout({ xaxis: { title: { text: `time [${run.unit}]` } }, shapes: marks() }), options);
}

async function show(next) {
  frame = next;
  $("frame").value = frame;
  await drawMap();
  Plotly.relayout("counts", { shapes: marks() });
  Plotly.relayout("course", { shapes: marks() });
}

function play() {
  if (timer) {
    clearInterval(timer);
    timer = null;
    $("play").textContent = "play";
    return;
  }
  $("play").textContent = "pause";
  let busy = false;
  timer = setInterval(async () => {
    if (busy) return;
    busy = true;
    await show((frame + 1) % run.times.length);
    busy = false;
  }, 250);
}

function choices(select, names) {
  for (const name of names) select.add(new Option(name, name));
}

async function start() {
  run = await ask("about");
  document.title = run.title;
  $("title").textContent = run.title;
  $("status").textContent = `${run.file}: ${run.status}`;
  choices($("quantity"), run.quantities);
  choices($("field"), Object.keys(run.fields));
  $("frame").max = run.times.length - 1;
  $("quantity").value = run.quantities[3] || "type";
  frame = run.times.length - 1;
  $("frame").value = frame;
  await drawMap();
  await Promise.all([drawCounts(), drawCourse()]);
  $("quantity").addEventListener("change", () => { drawMap(); drawCourse(); });
  $("field").addEventListener("change", drawMap);
  $("frame").addEventListener("input", (e) => show(Number(e.target.value)));
  $("play").addEventListener("click", play);
  $("map").on("plotly_click", (event) => {
    const cell = event.points.map((p) => p.customdata).find((c) => c !== undefined);
    if (cell === undefined) return;
    followed = followed === cell ? null : cell;
    if (["type", "phase"].includes($("quantity").value) && run.quantities.length > 2) {
      $("quantity").value = run.quantities[3] || "volume";
      drawMap();
    }
    drawCourse();
  });
}

start().catch((error) => { $("status").textContent = error.message; });
