"""The scripts of a page: one that watches, and one that opens plotly.js and hands it the figures."""

from __future__ import annotations

WATCH = """
function problem(text) { document.getElementById("problems").append("A figure could not be drawn: " + text + "\\n"); }
window.addEventListener("error", event => problem(event.message));
window.addEventListener("unhandledrejection", event => problem(event.reason));
document.addEventListener("securitypolicyviolation", event => problem("refused " + event.blockedURI));
"""
"""Comes first, so that nothing goes wrong unseen."""

DRAW = """
const FIGURES = JSON.parse(document.getElementById("figures").textContent);
const CONFIG = { responsive: true, displaylogo: false };

// the names of colours as the style sheet has them now; nothing but colours is looked at
function coloured(value, key) {
  if (Array.isArray(value)) return value.map(each => coloured(each, key));
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, coloured(each, name)]));
  const named = typeof value === "string" && value.startsWith("--") && key.includes("color");
  return named ? getComputedStyle(document.documentElement).getPropertyValue(value).trim() : value;
}

async function opened() {
  if (typeof DecompressionStream === "undefined")
    throw new Error("this browser is too old: it needs DecompressionStream (Chrome 80, Safari 16.4, Firefox 113)");
  const held = document.getElementById("plotly");
  const bytes = Uint8Array.from(atob(held.textContent), letter => letter.charCodeAt(0));
  held.remove();
  const script = document.createElement("script");
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

// one figure; of one with frames that which its slider stands at
async function draw(name) {
  const figure = FIGURES[name], place = document.getElementById(name);
  const slider = document.getElementById(name + "-slider");
  const frame = slider ? figure.frames[slider.value] : {};
  const config = { ...CONFIG, modeBarButtons: [figure.buttons] };
  if (slider) {
    slider.setAttribute("aria-valuetext", frame.label);
    document.getElementById(name + "-says").textContent = frame.label;
  }
  await Plotly.react(place, coloured(frame.data || figure.data, ""), coloured(figure.layout, ""), config);
  place.dataset.drawn = "yes";
}

async function drawAll() {
  for (const name of Object.keys(FIGURES)) await draw(name);
}

async function begin() {
  if (!Object.keys(FIGURES).length) return;
  await opened();
  await drawAll();
  for (const slider of document.querySelectorAll("input[data-figure]"))
    slider.addEventListener("input", () => draw(slider.dataset.figure));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // a page from a file, in some browsers
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    if (!done) throw new Error("nothing could be copied");
  }
}

for (const button of document.querySelectorAll("button[data-copies]"))
  button.addEventListener("click", async () => {
    await copied(document.getElementById(button.dataset.copies).textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });

begin();
"""
"""Draws the figures, again where a slider is moved or the theme changes; and copies what a button says."""
