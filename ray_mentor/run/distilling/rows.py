"""What a weighting said of samples, and what it saw of them, from a run's ledger."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from ray_mentor.config import MentorConfig, values_of
from ray_mentor.core.mentor.rule import AXES, quantiles
from ray_mentor.core.step.percentile import RunningPercentile
from ray_mentor.errors import UserError
from ray_mentor.run.checkpoint.resume import started_with
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.names import class_names
from ray_mentor.run.ledger.files import ledger_parts

_COLUMNS = ("sample_id", "epoch", "step", "loss", "scored_weight", "given_label")
MOST = 300_000
"""Rows that a rule is made of and tested by; of more, so many are drawn."""


@dataclass(frozen=True)
class Rows:
    """Rows of a ledger, each a sample in a step.

    Attributes:
        sample: its id.
        step: of the run.
        weight: what the weighting said, in [0, 1].
        seen: the columns of :data:`~ray_mentor.core.mentor.rule.AXES`.
        progress: share of the planned steps, in [0, 1).
        label: the given one.
        classes: how many there are; 0: labels are no classes.
        in_nats: whether the losses are.
    """

    sample: NDArray[np.int64]
    step: NDArray[np.int64]
    weight: NDArray[np.float64]
    seen: dict[str, NDArray[np.float64]]
    progress: NDArray[np.float64]
    label: NDArray[np.int64]
    classes: int
    in_nats: bool

    def __len__(self) -> int:
        return len(self.weight)

    def __getitem__(self, rows: NDArray[Any]) -> Rows:
        chosen = {name: getattr(self, name)[rows] for name in ("sample", "step", "weight", "progress", "label")}
        return dataclasses.replace(self, **chosen, seen={name: column[rows] for name, column in self.seen.items()})


def together(runs: Sequence[Rows]) -> Rows:
    """The rows of several runs, whose samples and steps are told apart.

    Raises:
        UserError: the runs have different classes, or losses in other units.
    """
    kinds = {(rows.classes, rows.in_nats) for rows in runs}
    if len(kinds) > 1:
        raise UserError("the runs have other classes or other units of the loss; give runs on the same data")

    def numbered(name: str) -> NDArray[np.int64]:
        places = [np.unique(getattr(rows, name), return_inverse=True) for rows in runs]
        before = np.cumsum([0, *(len(known) for known, _ in places[:-1])])
        return np.concatenate([place + start for (_, place), start in zip(places, before, strict=True)])

    return Rows(
        numbered("sample"),
        numbered("step"),
        np.concatenate([rows.weight for rows in runs]),
        {axis: np.concatenate([rows.seen[axis] for rows in runs]) for axis in AXES},
        np.concatenate([rows.progress for rows in runs]),
        np.concatenate([rows.label for rows in runs]),
        runs[0].classes,
        runs[0].in_nats,
    )


def rows_of(directory: RunDirectory) -> Rows:
    """All rows from the first step on in which the samples' weights differ: before it nothing had been learnt.

    Percentile and quantiles are computed again, of the losses of each step.

    Raises:
        UserError: no run, or a ledger without rows, or one in which all samples of a step always had the same weight.
    """
    started = started_with(directory, "give the folder of a run")
    names = ("loss_percentile", "percentile_decay", "meta_loss")
    config = dataclasses.replace(
        MentorConfig(), **values_of(MentorConfig, {name: started[name] for name in names if name in started})
    )
    tables = list(ledger_parts(directory, columns=_COLUMNS))
    table = pa.concat_tables(tables) if tables else None
    if table is None or len(table) == 0:
        raise UserError(f"the ledger of {directory.path} has no rows yet; wait for the end of an epoch")
    columns = {name: table[name].to_numpy() for name in _COLUMNS}
    order = np.argsort(columns["step"], kind="stable")
    columns = {name: column[order] for name, column in columns.items()}
    loss, step, label = columns["loss"].astype(np.float64), columns["step"], columns["given_label"]
    parts = np.flatnonzero(np.diff(step, prepend=-1))[1:]
    percentile = RunningPercentile(config.loss_percentile, config.percentile_decay)
    by_step = np.split(loss, parts)
    levels = [np.full(len(part), float(percentile.update(torch.from_numpy(part)))) for part in by_step]
    seen = dict(
        zip(AXES, (np.concatenate(list(map(quantiles, by_step))), loss, loss - np.concatenate(levels)), strict=True)
    )
    weight = columns["scored_weight"].astype(np.float64)
    spread = [float(np.ptp(part)) for part in np.split(weight, parts)]
    differs = np.flatnonzero(np.array(spread) > 0)
    if not len(differs):
        raise UserError(
            f"in each step of {directory.path} all samples had the same weight, so that there is no rule to be made; "
            "take a run whose mentor learned"
        )
    first = np.unique(step)[differs[0]]
    known = class_names(directory)
    classes = len(known) if known else int(label.max()) + 1
    whole = Rows(
        columns["sample_id"],
        step,
        weight,
        seen,
        step / _planned(step, columns["epoch"], started["epochs"]),
        label,
        classes if label.min() >= 0 else 0,
        in_nats=config.meta_loss != "loss",  # which is written down where the loss is the user's own
    )
    rows = np.flatnonzero(step >= first)
    if len(rows) > MOST:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST, replace=False))
    return whole[rows]


def _planned(step: NDArray[np.int64], epoch: NDArray[np.int32], epochs: int) -> int:
    """Steps of the whole run: of one that was stopped, or goes on, as many an epoch as it has had."""
    last = int(epoch.max())
    done = int(step.max()) + 1
    each = step[epoch == last].min() / last if last else done
    return max(done, round(each * epochs) if last + 1 < epochs else 0)
