// Reads the figures, in the colours of the reader's theme; `show` draws one where it belongs.
const night = matchMedia("(prefers-color-scheme: dark)");
night.addEventListener("change", () => location.reload());
let text = document.getElementById("figures").textContent;
if (night.matches) for (const [light, dark] of Object.entries(NIGHT)) text = text.replaceAll(light, dark);
const figures = JSON.parse(text);
const quiet = {displaylogo: false, displayModeBar: false};
const fit = new ResizeObserver(seen => { for (const one of seen) Plotly.Plots.resize(one.target); });
const show = (id, figure) =>
  Plotly.react(id, figure.data, {...figure.layout, autosize: true}, quiet).then(plot => fit.observe(plot));
