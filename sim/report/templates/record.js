// A figure is drawn when it comes into sight; the legend's buttons hide and show a device in all of them.
const slots = [...document.querySelectorAll(".plot")], hidden = new Set();
const draw = slot => show(slot.id, {...figures[slot.id],
  data: figures[slot.id].data.map(t => hidden.has(t.legendgroup) ? {...t, visible: false} : t)});
const seen = new Set();
const sight = new IntersectionObserver(found => { for (const one of found)
  if (one.isIntersecting && !seen.has(one.target)) { seen.add(one.target); draw(one.target); }
}, {rootMargin: "600px"});
for (const slot of slots) sight.observe(slot);
for (const button of document.querySelectorAll(".legend button")) button.addEventListener("click", () => {
  const shown = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(shown));
  hidden[shown ? "delete" : "add"](button.dataset.run);
  seen.forEach(draw);
});
addEventListener("beforeprint", () => slots.forEach(draw));
for (const bar of document.querySelectorAll(".bar details")) bar.open = innerWidth > 700;
