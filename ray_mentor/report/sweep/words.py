"""A sweep's values, settings and findings as a person reads them: plain text, in a terminal as on a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ray_mentor.report.page.words import figure_text, listed_text, one_line

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
