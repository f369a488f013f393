"""How a page looks: its style sheet, in light and dark."""

from __future__ import annotations

CSS = """
:root {
  color-scheme: light dark;
  --page: #ffffff; --panel: #f6f7f9; --ink: #1b1d21; --muted: #62676f; --grid: #e3e6ea; --none: rgba(0,0,0,0);
  --accent: #2563c9; --best: #d1495b; --base: #b7791f; --warn: #94570f; --bad: #b3261e; --good: #1d7a46;
  --scale-low: #cfd6df; --scale-middle: #7fa6dc; --scale-high: #0f3f94;
  --line-a: #2563c9; --line-b: #0c7d74; --line-c: #8145c4; --line-d: #4d7c0f; --line-e: #1d2b53; --line-f: #b03a9c;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #15171b; --panel: #1e2127; --ink: #e9ebee; --muted: #a1a8b3; --grid: #31363f;
    --accent: #6aa5f8; --best: #ff7d8d; --base: #e5b454; --warn: #e0a15a; --bad: #f28b82; --good: #6fcf97;
    --scale-low: #3a414c; --scale-middle: #4d7fc4; --scale-high: #bcd8ff;
    --line-a: #6aa5f8; --line-b: #3fd0c0; --line-c: #b795f5; --line-d: #a3d65c; --line-e: #dfe6ff; --line-f: #ee7fd8;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 12px; letter-spacing: -0.015em; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 0 0 4px; letter-spacing: -0.01em; }
p { margin: 0 0 12px; max-width: 46rem; overflow-wrap: anywhere; }
section { margin-top: 48px; }
.caption, footer { color: var(--muted); font-size: 0.9375rem; }
.verdict { background: var(--panel); border-left: 4px solid var(--muted); border-radius: 4px; padding: 12px 16px; }
.verdict.better { border-color: var(--good); }
.verdict.worse { border-color: var(--bad); }
.counts { display: flex; flex-wrap: wrap; gap: 8px 28px; padding: 0; margin: 20px 0 0; list-style: none; }
.counts b { font-size: 1.375rem; font-weight: 600; margin-right: 6px; font-variant-numeric: tabular-nums; }
.counts li { color: var(--muted); }
.counts b { color: var(--ink); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; margin-top: 8px; }
th, td { text-align: left; padding: 7px 14px 7px 0; border-bottom: 1px solid var(--grid); white-space: nowrap; }
th { color: var(--muted); font-weight: 500; vertical-align: bottom; }
td.number, th.number { text-align: right; }
th.setting { white-space: normal; }
tr.best td { font-weight: 600; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: 0.8125rem; }
pre { background: var(--panel); border-radius: 4px; padding: 10px 14px; white-space: pre-wrap; margin: 6px 0; }
pre, code { overflow-wrap: anywhere; }
summary { cursor: pointer; }
th[scope=row] { padding-right: 24px; white-space: normal; }
#closing td { white-space: normal; }
button, select, input[type=search] {
  font: inherit; font-size: 0.875rem; color: var(--ink); background: var(--panel); border: 1px solid var(--muted);
  border-radius: 4px; padding: 5px 12px; min-height: 34px;
}
button { cursor: pointer; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
a { color: var(--accent); }
nav { margin: 16px 0; font-size: 0.9375rem; color: var(--muted); }
.controls { display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center; margin: 14px 0; font-size: 0.875rem; }
.controls output { color: var(--muted); }
.controls select { max-width: 200px; }
#cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(168px, 1fr)); gap: 12px; }
.card { margin: 0; padding: 10px 12px; background: var(--panel); border-radius: 6px; font-size: 0.8125rem; }
.card[hidden] { display: none; }
.card img { display: block; width: 96px; height: 96px; object-fit: contain; margin: 6px 0; background: var(--page); }
.card img.sharp { image-rendering: pixelated; }
.card figcaption { overflow-wrap: anywhere; line-height: 1.4; }
.card .id { display: block; overflow-wrap: anywhere; cursor: pointer; min-height: 24px; }
.card .values { overflow-wrap: anywhere; margin: 6px 0; font-variant-numeric: tabular-nums; }
.card .text { overflow-wrap: anywhere; margin: 6px 0; max-height: 9lh; overflow-y: auto; line-height: 1.4; }
.card .line { display: flex; justify-content: space-between; align-items: center; margin: 4px 0 0; }
.card .line, .card .values { color: var(--muted); }
.card svg { max-width: 100px; }
.card path { fill: none; stroke: var(--accent); stroke-width: 2; stroke-linecap: round; }
.card path.mean { stroke: var(--muted); stroke-width: 1; }
.slider { display: flex; flex-wrap: wrap; gap: 4px 14px; align-items: center; color: var(--muted); margin-top: 8px; }
.slider input { flex: 1 1 200px; max-width: 460px; accent-color: var(--accent); }
.slider output { color: var(--ink); font-variant-numeric: tabular-nums; min-width: 11em; }
#problems { color: var(--bad); }
#problems:empty { display: none; }
footer { margin-top: 56px; border-top: 1px solid var(--grid); padding-top: 16px; }
@media (max-width: 640px) { main { padding: 24px 16px 48px; } h1 { font-size: 1.5rem; } section { margin-top: 36px; } }
@media print { section { break-inside: avoid; } }
"""
