"""What Ray's own metrics are told of a run, for Prometheus and Grafana beside what Ray tells of itself.

Each figure by one process of the run: Ray shows two lines where two processes tell it, or takes one of them, silently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ray.util.metrics import Gauge, Histogram

GAUGES = MappingProxyType(
    {
        "mentor_trusted_accuracy": "accuracy on held-out trusted samples, of the epoch that ended last",
        "mentor_mean_sample_weight": "mean sample weight of the epoch so far",
        "mentor_meta_loss": "mean meta loss of the epoch so far",
    }
)
"""By name; what they tell of is in progress rows by the name without the prefix. Ray adds one of its own, ``ray_``."""

SCORE_SECONDS = "mentor_score_seconds"
"""A histogram."""

_SCORE_SAYS = "seconds from asking the mentor actor for a global batch's weights to its answer, as rank 0 saw it"

BOUNDARIES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 20.0)
"""Seconds; the actor takes a few milliseconds."""

_PREFIX = "mentor_"
_TOLD = ("step", "epoch")


class RunMetrics:
    """What one process tells of a run, under the tag ``run``; a failure is told once, and is the last attempt.

    Args:
        run: its name. Ray refuses what is not ASCII: it is told as Python escapes it.
        tell: takes the line that says why no more is told.
    """

    def __init__(self, run: str, tell: Callable[[str], None]) -> None:
        self._tags = {"run": run.encode("ascii", "backslashreplace").decode()}
        self._tell = tell
        self._figures: dict[str, float] = {}
        self._metrics: dict[str, Gauge | Histogram] = {}
        self._has_failed = False

    def row(self, row: Mapping[str, Any]) -> None:
        """Takes a progress row. Known figures are set again: Ray forgets what isn't, 20 seconds later."""
        if row["kind"] not in _TOLD:
            return
        found = {name: row.get(name.removeprefix(_PREFIX)) for name in GAUGES}
        self._figures.update({name: float(value) for name, value in found.items() if value is not None})
        for name, value in self._figures.items():
            self._say(name, value)

    def scored(self, seconds: float) -> None:
        """The mentor actor has weighed a global batch."""
        self._say(SCORE_SECONDS, seconds)

    def _say(self, name: str, value: float) -> None:
        if self._has_failed:
            return
        try:
            metric = self._metric(name)
            if isinstance(metric, Histogram):
                metric.observe(value, self._tags)
            else:
                metric.set(value, self._tags)
        except Exception as error:
            self._has_failed = True
            self._tell(f"warning: Ray's metrics are told no more of {name} ({type(error).__name__}: {error})")

    def _metric(self, name: str) -> Gauge | Histogram:
        """Made when it is first needed: a process has those that it tells of."""
        if name not in self._metrics:
            self._metrics[name] = (
                Gauge(name, GAUGES[name], tag_keys=("run",))
                if name in GAUGES
                else Histogram(name, _SCORE_SAYS, list(BOUNDARIES), tag_keys=("run",))
            )
        return self._metrics[name]
