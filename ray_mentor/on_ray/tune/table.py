"""A sweep as a table: a row a trial."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from ray.tune import ResultGrid

from ray_mentor.config import TrainConfig
from ray_mentor.on_ray.tune.spaces import meaningful
from ray_mentor.on_ray.tune.stage import results_of

SETTING = "setting."
"""What the columns of searched settings begin with."""


def trial_table(grid: ResultGrid, domains: Iterable[str], base: TrainConfig) -> pd.DataFrame:
    """A row a trial, best first: what it searched, how far it came, what it reached.

    A setting that another one makes meaningless is None.
    """
    names = list(domains)
    rows = [_trial(result, names, base) for result in results_of(grid)]
    return pd.DataFrame(rows).sort_values("objective", ascending=False, na_position="last", ignore_index=True)


def _trial(result: Any, names: list[str], base: TrainConfig) -> dict[str, Any]:
    last: Mapping[str, Any] = result.metrics or {}
    sample = meaningful(base, result.config or {})
    return {
        "trial": last.get("trial_id") or str(result.path).rsplit("/", 1)[-1],
        "state": _state(result, last, base.run.epochs),
        "epochs_done": int(last.get("epoch", 0)),
        "objective": float(last.get("objective", "nan")),
        "accuracy": float(last.get("accuracy", "nan")),
        "seconds": float(last.get("seconds", "nan")),
        "error": None if result.error is None else _brief(result.error),
        "path": last.get("path"),
        **{f"{SETTING}{name}": sample.get(name) for name in names},
    }


def _state(result: Any, last: Mapping[str, Any], epochs: int) -> str:
    if result.error is not None:
        return "failed"
    if last.get("hopeless"):
        return "hopeless"
    if not last:
        return "unfinished"
    return "finished" if last["epoch"] >= epochs else "stopped"


def _brief(error: BaseException) -> str:
    """The line of an error, through the layers of Ray's, that says most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
