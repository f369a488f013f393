"""What the grid says of the defaults: a line a cell, and what they are held to."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from protocol.methods import BASELINE, MENTOR, ORACLE
from protocol.places import CENTRE, FACTORS
from protocol.rows import Row, number
from ray_mentor.run.over_seeds.intervals import LEAST_GAP

WORST, FREE, LONGER = 0.005, 0.003, 0.01
"""What a mentor may cost in any cell, where no label is wrong, and in a longer run."""

HARD = ("asymmetric:0.4", "instance:0.4", *FACTORS["human"])


@dataclass(frozen=True)
class Summary:
    """Mean test accuracies of one cell over its seeds; oracle: None where no label is wrong."""

    place: str
    factor: str
    value: str
    seeds: int
    baseline: float
    mentor: float
    oracle: float | None

    @property
    def ahead(self) -> float:
        """The mentor's lead over equal weights with the same trusted samples and mixing."""
        return self.mentor - self.baseline

    @property
    def closed(self) -> float | None:
        """Share of the gap to the oracle; None where there is hardly a gap."""
        gap = None if self.oracle is None else self.oracle - self.baseline
        return None if gap is None or gap < LEAST_GAP else self.ahead / gap


def summaries(rows: Sequence[Row]) -> list[Summary]:
    """Of each cell whose baseline and mentor have the same seeds, in the order of the rows."""
    found = []
    for cell in dict.fromkeys((row["place"], row["factor"], row["value"]) for row in rows):
        of = {
            method: {row["seed"]: number(row, "test_accuracy") for row in rows if _is_of(row, cell, method)}
            for method in (BASELINE, MENTOR, ORACLE)
        }
        seeds = of[BASELINE].keys() & of[MENTOR].keys()
        if of[ORACLE]:
            seeds &= of[ORACLE].keys()
        if seeds:
            means = [statistics.fmean(of[m][s] for s in seeds) if of[m] else None for m in (BASELINE, MENTOR, ORACLE)]
            found.append(Summary(*cell, len(seeds), *means))  # type: ignore[arg-type]
    return found


def report(rows: Sequence[Row]) -> str:
    """A Markdown table of the cells, and a line a goal."""
    found = summaries(rows)
    head = "| data | changed | equal weights | mentor | oracle | ahead | gap closed |\n|---|---|---|---|---|---|---|"
    return "\n".join([head, *map(_line, found), "", *(f"- {goal}" for goal in _goals(found))])


def _is_of(row: Row, cell: tuple[str, str, str], method: str) -> bool:
    return (row["place"], row["factor"], row["value"]) == cell and row["method"] == method


def _line(of: Summary) -> str:
    changed = "" if (of.factor, of.value) == CENTRE else f"{of.factor} {of.value}"
    oracle = "–" if of.oracle is None else f"{of.oracle:.3f}"
    closed = "–" if of.closed is None else f"{100 * of.closed:.0f} %"
    accuracies = f"{of.baseline:.3f} | {of.mentor:.3f} | {oracle}"
    line = f"| {of.place} | {changed} | {accuracies} | {100 * of.ahead:+.1f} | {closed} |"
    return line.replace("| -", "| −")


def _goals(found: Sequence[Summary]) -> list[str]:
    below = [of for of in found if of.ahead < -WORST]
    clean = [of for of in found if of.value == "none"]
    worse = [f"{place} at {value} times the epochs" for place, value in _worse_when_longer(found)]
    closed = [of.closed for of in found if of.closed is not None]
    lines = [
        f"cells: {len(found)}; more than {100 * WORST:g} points below equal weights: {len(below)}"
        + _named(f"{of.place} {of.factor} {of.value} {100 * of.ahead:+.1f}" for of in below),
        *(
            f"without wrong labels a mentor costs {-100 * of.ahead:.1f} points on {of.place} (goal: {100 * FREE:g})"
            for of in clean
        ),
        f"longer runs that end more than {100 * LONGER:g} point lower: {len(worse)}{_named(worse)}",
    ]
    if closed:
        lines.append(f"mean gap closed over {len(closed)} cells: {100 * statistics.fmean(closed):.0f} % (goal: 60)")
    for value in HARD:
        of_kind = [of.closed for of in found if of.value == value and of.closed is not None]
        if of_kind:
            lines.append(
                f"mean gap closed, {value}, {len(of_kind)} cells: {100 * statistics.fmean(of_kind):.0f} % (goal: 40)"
            )
    return lines


def _worse_when_longer(found: Sequence[Summary]) -> list[tuple[str, str]]:
    """(place, times the epochs) where the mentor's accuracy lies below that of a shorter run."""
    worse = []
    for place in dict.fromkeys(of.place for of in found):
        by_length = {
            1.0 if of.factor == "centre" else float(of.value): of.mentor
            for of in found
            if of.place == place and of.factor in ("centre", "epochs")
        }
        worse += [
            (place, f"{longer:g}")
            for longer, accuracy in sorted(by_length.items())
            if accuracy < max((by_length[shorter] for shorter in by_length if shorter < longer), default=0) - LONGER
        ]
    return worse


def _named(names: Iterable[str]) -> str:
    text = ", ".join(names)
    return f" ({text})" if text else ""
