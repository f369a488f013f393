"""One run of a method, in this process: its data, its training, its row."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from protocol.judged import hits_of
from protocol.methods import METHODS
from protocol.pruning import agreeing
from ray_mentor import Outcome, Samples, TrainConfig
from ray_mentor.data.splits.meta_parts import meta_parts
from ray_mentor.data.splits.splits import Splits, prepare
from ray_mentor.training import make_trainer

FIGURES = (
    "kept_epoch", "trusted_held_out", "trusted_accuracy", "test_accuracy", "noise_auroc", "weight_right",
    "weight_wrong", "kept_share", "cpu_seconds",
)  # fmt: skip
"""What a row says of a run beside its cell."""


def run_method(
    name: str,
    config: TrainConfig,
    test: Sequence[int] | None = None,
    change: Callable[[Splits], Splits] | None = None,
) -> dict[str, Any]:
    """What ``result.json`` says of one run, and the rest of :data:`FIGURES`.

    ``cpu_seconds`` is of the process, pruning included, reading the data not, which methods share: of runs that lie
    side by side, one thread each, they can be compared where wall time can't. ``weight_right`` and
    ``weight_wrong``: mean scored weight of rightly and wrongly labelled samples in the last epoch. ``kept_share``:
    what pruning leaves of the training split; 1 for other methods.

    Args:
        name: one of :data:`~protocol.methods.METHODS`.
        config: of the run, the method's settings included (:meth:`~ray_mentor.config.compared.Compared.config`).
        test: rows of the stored test split that the run is measured on; None: all of it.
        change: makes other data of those that the settings describe, before anything is trained.
    """
    whole = _prepared(config.data, config.run.seed)
    began = time.process_time()
    whole = change(whole) if change else whole
    splits, beside = _data_of(name, config, dataclasses.replace(whole, test=None))
    with tempfile.TemporaryDirectory() as folder:
        outcome = trained(config, splits, folder)
        right, wrong = mean_weights(outcome.ledger())
        accuracy = _test_accuracy(config, outcome, whole.test, test)
    return {
        **outcome.result,
        "test_accuracy": accuracy,
        "weight_right": right,
        "weight_wrong": wrong,
        "kept_share": len(splits.train) / len(whole.train) if METHODS[name].data == "pruned" else 1.0,
        "cpu_seconds": time.process_time() - began + beside,
    }


_prepared = functools.lru_cache(maxsize=2)(prepare)


def trained(config: TrainConfig, splits: Splits, folder: str) -> Outcome:
    """Trains in this process, with one thread, and leaves the run in ``folder``."""
    torch.set_num_threads(1)
    here = config.changed(workers=0, storage_path=folder, run_name="run", checkpoint_seconds=1e9)
    return make_trainer(here, splits).fit()


def _test_accuracy(config: TrainConfig, outcome: Outcome, split: Samples | None, rows: Sequence[int] | None) -> float:
    """Of the kept student; looked at once, when all is over. Labels are the true ones, or else the data's own."""
    assert split is not None
    if rows is not None:
        assert len(split) > max(rows), f"of {len(split)} test samples there is no row {max(rows)}"
        split = split.select(np.asarray(rows))
    if split.true_labels is not None:
        split = dataclasses.replace(split, labels=split.true_labels)
    return float(hits_of(config, outcome, split).mean())


def mean_weights(ledger: pa.Table) -> tuple[float | None, float | None]:
    """Of rightly and of wrongly labelled samples in the last epoch; None where there is none of them."""
    last = ledger.filter(pc.equal(ledger["epoch"], pc.max(ledger["epoch"])))
    weight = last["scored_weight"].to_numpy()
    wrong = last["given_label"].to_numpy() != last["true_label"].to_numpy()
    return tuple(float(weight[rows].mean()) if rows.any() else None for rows in (~wrong, wrong))  # type: ignore[return-value]


def _data_of(name: str, config: TrainConfig, splits: Splits) -> tuple[Splits, float]:
    """And CPU seconds that were spent on it for another run."""
    data = METHODS[name].data
    if data == "trusted":
        return dataclasses.replace(splits, train=_repeated_trusted(config, splits)), 0.0
    if data == "pruned":
        began = time.process_time()
        agrees, seconds = _agreeing(config.changed(method="uniform", mixing="none"))
        train = splits.train.select(np.flatnonzero(agrees))
        return dataclasses.replace(splits, train=train), seconds - (time.process_time() - began)
    return splits, 0.0


@functools.lru_cache(maxsize=16)
def _agreeing(config: TrainConfig) -> tuple[NDArray[np.bool_], float]:
    """Which labels cross-validation agrees with, and the CPU seconds it took; methods that prune alike share it."""
    began = time.process_time()
    splits = _prepared(config.data, config.run.seed)

    def run(data: Splits) -> Outcome:
        with tempfile.TemporaryDirectory() as folder:
            return trained(config, data, folder)

    return agreeing(config, splits, run), time.process_time() - began


def _repeated_trusted(config: TrainConfig, splits: Splits) -> Samples:
    """The trusted samples that are not held out, one after the other until they are as many as the training split.

    So a run on them has as many steps and epochs as any other, of batches as large. Ids are counted anew.
    """
    parts = meta_parts(splits.meta, holdout=config.mentor.meta_holdout, training=1.0, seed=config.run.seed)
    assert parts.trained is not None
    rows = np.resize(np.arange(len(parts.trained)), len(splits.train))
    chosen = parts.trained
    labels = chosen.labels[rows]
    return Samples(chosen.inputs.select(rows), np.arange(len(rows)), labels, labels, chosen.classes)
