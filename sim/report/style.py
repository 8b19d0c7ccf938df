"""How a report looks, and the few lines that draw its figures."""

CSS = """
:root { color-scheme: light dark; --ink: #1d2733; --soft: #5b6673; --line: #dfe3e8; --rule: #9aa3ad; --paper: #f6f7f9;
  --card: #ffffff; --clear: #e7f1f8; --warn: #fdecc8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --soft: #a3adb8; --line: #323a44; --rule: #66707b;
  --paper: #10151b; --card: #181f27; --clear: #1d3a50; --warn: #5a4312; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 FONT; }
header { background: #14202e; color: #fff; padding: 28px 0 22px; }
header > div, main { max-width: 1180px; margin: 0 auto; padding: 0 12px; }
header p { margin: 4px 0 0; color: #c3ccd6; }
h1 { margin: 0; font-size: 26px; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 0 0 4px; font-size: 20px; }
h3, h4 { margin: 0 0 2px; font-size: 15px; font-weight: 600; }
h4 { margin-top: 14px; }
main { padding-top: 16px; padding-bottom: 40px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px;
  margin: 0 0 16px; }
section > p { margin: 0 0 12px; color: var(--soft); max-width: 75ch; }
.facts { display: flex; flex-wrap: wrap; gap: 6px 22px; margin-top: 12px; font-size: 14px; color: #c3ccd6; }
.facts b { color: #fff; font-weight: 600; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 350px), 1fr)); gap: 14px 18px; }
.figure { min-width: 0; }
.plot { width: 100%; overflow: hidden; }
.legend { position: sticky; top: 0; z-index: 5; background: var(--paper); display: flex; flex-wrap: wrap;
  gap: 6px; padding: 8px 0; margin-bottom: 8px; }
.legend button { font: inherit; font-size: 14px; padding: 3px 10px; border: 1px solid var(--line); border-radius: 99px;
  background: var(--card); color: var(--ink); cursor: pointer; max-width: 100%; overflow-wrap: anywhere; }
.legend button[aria-pressed=false] { opacity: .4; text-decoration: line-through; }
.swatch { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 7px; }
.scroll { overflow-x: auto; margin-bottom: 12px; }
table { border-collapse: collapse; font-size: 14px; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 12px 6px 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { font-weight: 600; white-space: nowrap; border-bottom-color: var(--rule); }
td { white-space: nowrap; }
td.wide { white-space: normal; min-width: 280px; overflow-wrap: anywhere; }
tbody th { padding-top: 16px; }
tbody th span { position: sticky; left: 0; }
.number, .scores th:not(:first-child), .paired th:not(:first-child) { text-align: right; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--card); }
small { display: block; color: var(--soft); font-size: 12px; font-weight: 400; }
.clear { background: var(--clear); }
td.number span { color: var(--soft); font-size: 12px; }
.muted { color: #aab2bb; }
.warn { background: var(--warn); border-radius: 4px; padding: 0 6px; font-size: 12px; }
details { margin-top: 8px; }
summary { cursor: pointer; font-size: 14px; }
pre { overflow-x: auto; background: var(--paper); border-radius: 6px; padding: 12px;
  font-size: 13px; line-height: 1.45; }
@media (max-width: 600px) {
  section { padding: 14px 12px; }
  h1 { font-size: 21px; }
  header { padding: 20px 0 16px; }
}
@media print { .legend { position: static; } section { break-inside: avoid; } }
"""

#: Reads the figures, in the colours of the reader's theme, and draws one where it belongs.
SCRIPT = """
const night = matchMedia("(prefers-color-scheme: dark)");
night.addEventListener("change", () => location.reload());
let text = document.getElementById("figures").textContent;
if (night.matches) for (const [light, dark] of Object.entries(NIGHT)) text = text.replaceAll(light, dark);
const figures = JSON.parse(text);
const quiet = {displaylogo: false, displayModeBar: false};
const fit = new ResizeObserver(seen => { for (const one of seen) Plotly.Plots.resize(one.target); });
const show = (id, figure) =>
  Plotly.react(id, figure.data, {...figure.layout, autosize: true}, quiet).then(plot => fit.observe(plot));
"""

#: Draws all figures; the legend's buttons hide and show runs in them.
HIDING = """
for (const [id, figure] of Object.entries(figures)) show(id, figure);
for (const button of document.querySelectorAll(".legend button")) button.addEventListener("click", () => {
  const shown = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(shown));
  for (const id of Object.keys(figures)) {
    const places = figures[id].data.flatMap((trace, i) => trace.legendgroup === button.dataset.run ? [i] : []);
    if (places.length) Plotly.restyle(id, {visible: shown}, places);
  }
});
"""
