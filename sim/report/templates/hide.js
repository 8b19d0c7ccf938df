// Draws all figures; the legend's buttons hide and show runs in them.
for (const [id, figure] of Object.entries(figures)) show(id, figure);
for (const button of document.querySelectorAll(".legend button")) button.addEventListener("click", () => {
  const shown = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(shown));
  for (const id of Object.keys(figures)) {
    const places = figures[id].data.flatMap((trace, i) => trace.legendgroup === button.dataset.run ? [i] : []);
    if (places.length) Plotly.restyle(id, {visible: shown}, places);
  }
});
