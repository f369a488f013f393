"""A sweep as tables: a row a trial, and a row a trial and epoch."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from ray_mentor.config import TrainConfig
from ray_mentor.errors import UserError
from ray_mentor.on_ray.tune.objective import Objective
from ray_mentor.on_ray.tune.record import Record, Told
from ray_mentor.on_ray.tune.spaces import meaningful
from ray_mentor.on_ray.tune.stage import brief
from ray_mentor.on_ray.tune.trial import BRANCH, newest_run
from ray_mentor.run.directory import METRICS, RunDirectory
from ray_mentor.run.progress import Row

SETTING = "setting."
"""What the columns of searched settings begin with."""

CURVE = ("trial", "epoch", "accuracy", "objective", "seconds")


def trial_table(record: Record, folder: str, domains: Iterable[str], base: TrainConfig) -> pd.DataFrame:
    """A row a trial, best first: what it searched, how far it came, what it reached.

    A setting that another one makes meaningless is None.

    Args:
        folder: of the trials' run directories.
    """
    names = list(domains)
    rows = [_trial(told, folder, names, base) for told in record.trials.values()]
    return pd.DataFrame(rows).sort_values("objective", ascending=False, na_position="last", ignore_index=True)


def _trial(told: Told, folder: str, names: list[str], base: TrainConfig) -> dict[str, Any]:
    last: Row = told.last or {}
    sample = meaningful(base, last.get("settings", told.sample))
    return {
        "trial": told.name,
        "state": told.state or "unfinished",
        "epochs_done": int(last.get("epoch", 0)),
        "objective": float(last.get("objective", "nan")),
        "accuracy": float(last.get("accuracy", "nan")),
        "seconds": float(last.get("seconds", "nan")),
        "error": told.error and brief(told.error),
        "path": newest_run(folder, told.name).path,
        **{f"{SETTING}{name}": sample.get(name) for name in names},
    }


def curves(record: Record, folder: str, objective: Objective) -> pd.DataFrame:
    """A row a trial and epoch. What was not told, because the sweep was killed right then, is in the run's metrics.

    Args:
        folder: of the trials' run directories.
    """
    rows = [row for told in record.trials.values() for row in _epochs(told, folder, objective)]
    return pd.DataFrame(rows, columns=list(CURVE)).sort_values(["trial", "epoch"], ignore_index=True)


def _epochs(told: Told, folder: str, objective: Objective) -> list[Row]:
    rows = dict(told.rows)
    if any(epoch not in rows for epoch in range(1, max(rows, default=0))):
        for row in _from_metrics(newest_run(folder, told.name), objective):
            rows.setdefault(row["epoch"], {"trial": told.name, **row})
    return list(rows.values())


def _from_metrics(run: RunDirectory, objective: Objective) -> Iterator[Row]:
    """Of the epochs that the run has trained by itself."""
    data = run.read(METRICS)
    if data is None or run.read(BRANCH) is not None:
        return
    before = None
    try:
        for row in pyarrow.csv.read_csv(io.BytesIO(data)).to_pylist():
            figures = objective.figures(row, before)
            before = row
            yield {name: getattr(figures, name) for name in CURVE[1:]}
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{run.path}/{METRICS} cannot be read ({type(error).__name__}: {error}); it is damaged: put it back, or "
            "remove it, and the sweep has a gap in its curves"
        ) from error
