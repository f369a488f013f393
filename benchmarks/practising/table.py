"""Rows as a table: area under the success curve and its end, with 95 % intervals over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from protocol.rows import Row, number

from ray_mentor.run.over_seeds.intervals import mean


def markdown(rows: Sequence[Row], setting: str, seeds: Sequence[int]) -> str:
    """A line a method and its settings, of these seeds."""
    of: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["setting"] == setting and int(row["seed"]) in seeds:
            of.setdefault((row["method"], row["changes"]), []).append(row)
    lines = ["| method | area | end | of the ladder | trusted steps | CPU |", "|---|---|---|---|---|---|"]
    for (method, changes), found in of.items():
        ladder, trusted, cpu = (
            statistics.fmean(number(row, name) for row in found)
            for name in ("ladder_share", "trusted_share", "cpu_share")
        )
        area, last = (_said([number(row, name) for row in found]) for name in ("area", "last"))
        lines.append(
            f"| {f'{method} {changes}'.strip()} | {area} | {last} | {ladder:.2f} | {trusted:.2f} | {cpu:.2f} |"
        )
    return "\n".join(lines)


def _said(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.3f}"
    found = mean(values)
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
