// Draws what the reader has chosen; the legend's buttons put methods in colour.
const INK = getComputedStyle(document.documentElement).getPropertyValue("--ink");
const MUTED = night.matches ? "#4a545f" : "#ccd2d8";
const buttons = [...document.querySelectorAll(".legend button")];
const slots = [...document.querySelectorAll(".plot")];
const choice = name => document.querySelector(`select[name=${name}]`).value;
const inColour = run => buttons.some(b => b.dataset.run === run && b.getAttribute("aria-pressed") === "true");
const finite = values => values.filter(v => v !== null && isFinite(v));

// Curves: those in colour lie on top, set the range, and bear their names at their ends; the others are background.
function dress(figure) {
  const axis = figure.data.some(t => t.meta) ? choice("axis") : null, log = axis && axis !== "rounds";
  const data = log  // who spends nothing has no place on such an axis
    ? figure.data.filter(t => t.meta[axis]).map(t => ({...t, x: t.x.map(round => round * t.meta[axis])}))
    : figure.data;
  const kept = data.filter(t => inColour(t.legendgroup)), lines = kept.filter(t => !t.fill && t.x.length);
  const others = data.filter(t => !t.fill && !inColour(t.legendgroup))
    .map(t => ({...t, mode: "lines", line: {color: MUTED, width: 1}}));
  const y = finite(kept.flatMap(t => t.y)), low = Math.min(...y), high = Math.max(...y), pad = (high - low) * .05 || 1;
  const height = figure.layout.height - figure.layout.margin.t - figure.layout.margin.b;
  const scale = height / (high - low + 2 * pad), range = [low - pad, high + pad];
  const ends = lines.map(t => ({t, x: t.x.at(-1), y: t.y.at(-1)})).filter(e => e.y !== null);
  const names = spread(ends.map(e => (high + pad - e.y) * scale), 14, height);
  const annotations = ends.map((e, i) => ({text: e.t.name, x: log ? Math.log10(e.x) : e.x, y: e.y, xanchor: "left",
    xshift: 7, yshift: (high + pad - e.y) * scale - names[i], showarrow: false,
    font: {size: 11.5, color: e.t.line.color}}));
  const right = 14 + 6.6 * Math.max(0, ...lines.map(t => t.name.length));
  const {xaxis, yaxis, margin} = figure.layout;
  return {data: [...others, ...kept], layout: {...figure.layout, annotations, margin: {...margin, r: right},
    yaxis: {...yaxis, range},
    xaxis: axis ? {...xaxis, type: log ? "log" : "linear", title: {...xaxis.title, text: AXES[axis]}} : xaxis}};
}

// Places (pixels from above) moved apart by at least a gap, in order, within a height.
function spread(places, gap, height) {
  const order = places.map((_, i) => i).sort((a, b) => places[a] - places[b]), out = [...places];
  order.forEach((i, k) => { if (k) out[i] = Math.max(out[i], out[order[k - 1]] + gap); });
  let floor = height;
  for (const i of order.reverse()) { out[i] = Math.min(out[i], floor); floor = out[i] - gap; }
  return out;
}

// Every client of one method against another; the diagonal is a tie.
function versus(figure) {
  const [a, b] = [choice("a"), choice("b")], [y, x] = [figure.values[a], figure.values[b]];
  if (!x || !y) return null;
  const name = run => buttons.find(button => button.dataset.run === run).textContent;
  const both = x.map((_, i) => i).filter(i => x[i] !== null && y[i] !== null);
  const all = both.flatMap(i => [x[i], y[i]]), low = Math.min(...all), high = Math.max(...all);
  const pad = (high - low) * .05 || 1, range = [low - pad, high + pad], {xaxis, yaxis} = figure.layout;
  const ahead = both.filter(i => figure.higher ? y[i] > x[i] : y[i] < x[i]).length;
  return {data: [{type: "scatter", mode: "markers", x: both.map(i => x[i]), y: both.map(i => y[i]),
      text: both.map(i => figure.names[i]), hovertemplate: "%{text}: %{y:.4~g} against %{x:.4~g}<extra></extra>",
      marker: {color: COLOURS[a], size: 6.5, opacity: .75}}],
    layout: {...figure.layout, xaxis: {...xaxis, range, title: {text: name(b)}},
      yaxis: {...yaxis, range, title: {text: name(a)}},
      shapes: [{type: "line", x0: range[0], y0: range[0], x1: range[1], y1: range[1], line: {color: INK, width: 1}}],
      annotations: [{text: `${name(a)} better on ${ahead} of ${both.length}`, x: 0, y: 1, xref: "paper",
        yref: "paper", xanchor: "left", yanchor: "bottom", showarrow: false}]}};
}

function draw(slot) {
  const by = (slot.dataset.by ?? "").split(" ").filter(Boolean).map(choice);
  const found = figures[[slot.id, ...by].join("/")];
  const figure = !found ? null : found.values ? versus(found) : found.data.some(t => t.fill) ? dress(found) : found;
  if (figure) { delete slot.dataset.missing; show(slot.id, figure); }
  else { Plotly.purge(slot); slot.dataset.missing = "not measured"; }
}

// A figure is drawn when it comes into sight, and again after another choice.
let version = 0;
const sight = new IntersectionObserver(seen => { for (const one of seen)
  if (one.isIntersecting && one.target.version !== version) { one.target.version = version; draw(one.target); }
}, {rootMargin: "600px"});
const refresh = () => { version += 1; for (const slot of slots) { sight.unobserve(slot); sight.observe(slot); } };
for (const select of document.querySelectorAll("select")) select.addEventListener("change", refresh);
for (const button of buttons) button.addEventListener("click", () => {
  button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
  refresh();
});
addEventListener("beforeprint", () => slots.forEach(draw));
if (innerWidth < 700) document.querySelector(".bar details").open = false;
refresh();
