"""A sweep's values, settings and findings as a person reads them: plain text, in a terminal as on a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ray_mentor.errors import printable

_LONG = 60  # characters of a value

STATES = {
    "finished": "finished",
    "stopped": "stopped early",
    "hopeless": "mentor collapsed",
    "failed": "failed",
    "unfinished": "unfinished",
}
"""Each state of a trial, as a person reads it."""

OUT = ("failed", "hopeless")
"""States of trials that cannot be the answer, whatever their figures."""

OBJECTIVES = {"accuracy": "accuracy on held-out trusted samples", "gap-per-cost": "gap closed per cost"}
"""Each objective of a sweep, as a person reads it."""


def one_line(text: object, most: int = _LONG) -> str:
    """A string on one line: control characters written out, cut short where it is long."""
    line = " ".join(printable(str(text)).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def value_text(value: Any) -> str:
    """A setting's value: numbers with four digits, – for one that has no meaning."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e6 else f"{value:.4g}"
    return one_line(value) or '""'


def setting_texts(settings: Mapping[str, Any]) -> list[str]:
    """``name = value`` of each setting."""
    return [f"{one_line(name)} = {value_text(value)}" for name, value in settings.items()]


def figure_text(value: Any, form: str = "{:.4f}") -> str:
    """A figure, or – where there is none."""
    return form.format(value) if value is not None and math.isfinite(value) else "–"


def duration_text(seconds: Any) -> str:
    """Seconds in the unit that suits them."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 600:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3 * 3600 else f"{seconds / 3600:.1f} h"


def state_text(state: str) -> str:
    """A trial's state in plain words."""
    return STATES.get(state, one_line(state))


def counts_text(counts: Mapping[str, int]) -> str:
    """``3 finished, 1 failed``: how many trials are in each state."""
    order = [*STATES, *(state for state in counts if state not in STATES)]
    return ", ".join(f"{counts[state]} {state_text(state)}" for state in order if counts.get(state))


def objective_text(sweep: Mapping[str, Any]) -> str:
    """The name of what was searched for."""
    return OBJECTIVES.get(sweep["objective"], one_line(sweep["objective"]))


def listed_text(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def verdict_text(confirm: Mapping[str, Any] | None) -> str:
    """Whether the best settings are really better than those that the sweep began from, with the figures for it."""
    if confirm is None:
        return (
            "Not confirmed: the best of many trials looks better than it is, because it was chosen for its figure. "
            "Only runs with fresh seeds, side by side with the settings that the sweep began from, can say."
        )
    seeds = [one_line(seed) for seed in confirm["seeds"]]
    on = confirm["on"]
    best, before = (figure_text(_mean(confirm[who][on])) for who in ("best", "default"))
    return (
        f"{_VERDICTS.get(confirm['verdict'], one_line(confirm['verdict']))} "
        f"{'seed' if len(seeds) == 1 else 'seeds'} {listed_text(seeds)}: "
        f"{_TRUE.get(on, one_line(on))} {best} against {before}; "
        f"{_difference_text(confirm['difference'])}."
    )


_TRUE = {"test_accuracy": "test accuracy", "trusted_accuracy": "accuracy on held-out trusted samples"}

_VERDICTS = {
    "better": "Better than the settings that the sweep began from, shown on fresh",
    "worse": "Worse than the settings that the sweep began from, shown on fresh",
    "no difference shown": "No difference shown from the settings that the sweep began from, on fresh",
}


def _difference_text(difference: Mapping[str, Any]) -> str:
    mean, low, high = (figure_text(difference[name], "{:+.4f}") for name in ("mean", "low", "high"))
    interval = "no interval from so few seeds" if "–" in (low, high) else f"95 % interval {low} to {high}"
    return f"difference {mean}, {interval}"


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def numbered(count: int, noun: str) -> str:
    """``1 trial``, ``2 trials``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
