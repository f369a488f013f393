"""The script of the suspicious samples: which are shown, in which order, and which ids are copied."""

from __future__ import annotations

GALLERY = """
const CARDS = document.getElementById("cards");
if (CARDS) {
  const at = id => document.getElementById(id);
  const cards = [...CARDS.children];
  const number = text => (text === "" ? -Infinity : Number(text));
  const orders = {
    score: (a, b) => number(b.score) - number(a.score),
    loss: (a, b) => number(b.loss) - number(a.loss),
    weight: (a, b) => Number(a.weight || Infinity) - Number(b.weight || Infinity),
    id: (a, b) => a.id.localeCompare(b.id, undefined, { numeric: true }),
  };
  const box = card => card.querySelector("input");
  const chosen = () => cards.filter(card => box(card).checked);

  function tell() {
    const shown = cards.filter(card => !card.hidden).length;
    at("shown").textContent = `${shown} of ${cards.length} shown, ${chosen().length} chosen`;
    at("copy-ids").disabled = chosen().length === 0;
  }

  function show() {
    const [given, suggested] = [at("by-given").value, at("by-suggested").value];
    const id = at("by-id").value.trim().toLowerCase();
    for (const card of cards)
      card.hidden = Boolean((given && card.dataset.given !== given)
        || (suggested && card.dataset.suggested !== suggested) || (id && !card.dataset.id.toLowerCase().includes(id)));
    const order = orders[at("sort").value];
    CARDS.append(...[...cards].sort((a, b) => order(a.dataset, b.dataset)));
    tell();
  }

  for (const control of ["by-given", "by-suggested", "by-id", "sort"]) at(control).addEventListener("input", show);
  CARDS.addEventListener("change", tell);
  at("choose").addEventListener("click", () => {
    for (const card of cards) if (!card.hidden && !box(card).disabled) box(card).checked = true;
    tell();
  });
  at("copy-ids").addEventListener("click", async () => {
    await copied([...CARDS.children].filter(card => box(card).checked).map(card => card.dataset.id).join("\\n"));
    at("shown").textContent = `${chosen().length} ids copied`;
  });
  show();
}
"""
