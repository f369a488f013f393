"""A mentor that is taught from a finished run's ledger, where it is known which labels were right."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from ray_mentor.config import MentorConfig, values_of
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.mentor.mentor_file import mentor_bytes
from ray_mentor.core.mentor.offline.lesson import Lesson, check_can_be_taught, teach
from ray_mentor.core.mentor.offline.supervised import Rows
from ray_mentor.core.step.features import Features
from ray_mentor.core.step.percentile import RunningPercentile
from ray_mentor.errors import UserError
from ray_mentor.run.checkpoint.resume import started_with
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.names import class_names
from ray_mentor.run.ledger.files import ledger_parts

_COLUMNS = ("sample_id", "step", "loss", "given_label", "true_label")
_SEED = 0


def taught_by(directory: RunDirectory, config: MentorConfig) -> tuple[bytes, Lesson]:
    """A mentor file, and how well that mentor tells right labels from wrong ones on samples held out from it.

    A row of the ledger is a lesson: the loss of a sample in a step, its difference from the running percentile (as the
    run had it, computed again), the progress, and whether the given label is the true one. Nothing else need be written
    by a run for this.

    Args:
        directory: of a run whose data have a known truth: added noise, or a true_label_column.
        config: what the mentor is made of, and sees.

    Raises:
        UserError: no run, a ledger without rows or without the truth, nothing but right labels, or a mentor that can't
            be taught so.
    """
    check_can_be_taught(config)
    settings = values_of(MentorConfig, _of_mentor(started_with(directory, "give the folder of a finished run")))
    ran_with = dataclasses.replace(MentorConfig(), **settings)
    ledger = _ledger(directory)
    names = class_names(directory)
    labels = ledger["given_label"]
    classes = int(labels.max()) + 1 if names is None else len(names)
    learner = MentorLearner(dataclasses.replace(config, initial_sample_weight=0.5), classes, _SEED)
    rows = _rows(ledger, RunningPercentile(ran_with.loss_percentile, ran_with.percentile_decay))
    lesson = teach(learner, rows, torch.from_numpy(ledger["sample_id"]), _SEED)
    in_nats = ran_with.meta_loss != "loss"  # which is written down where the loss is the user's own
    return mentor_bytes(learner.state(), config, classes, in_nats=in_nats), lesson


def _of_mentor(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: settings[name] for name in ("loss_percentile", "percentile_decay", "meta_loss") if name in settings}


def _ledger(directory: RunDirectory) -> dict[str, Any]:
    """Its columns, in the order of the steps."""
    tables = list(ledger_parts(directory, columns=_COLUMNS))
    table = pa.concat_tables(tables) if tables else None
    if table is None or len(table) == 0:
        raise UserError(f"the ledger of {directory.path} has no rows yet; wait for the end of an epoch")
    if table["true_label"].null_count:
        raise UserError(
            f"the ledger of {directory.path} does not say which labels are right, which is what a mentor is taught; "
            "take a run on data with a known truth: added noise (--noise symmetric:0.4), or a --true-label-column"
        )
    right = np.equal(table["given_label"].to_numpy(), table["true_label"].to_numpy())
    if right.all() or not right.any():
        raise UserError(
            f"in the ledger of {directory.path} {'all' if right.all() else 'no'} given labels are right, so that there "
            "is nothing to tell apart; take a run with some labels of either kind, e.g. --noise symmetric:0.4"
        )
    order = np.argsort(table["step"].to_numpy(), kind="stable")
    return {name: table[name].to_numpy()[order] for name in _COLUMNS}


def _rows(ledger: dict[str, Any], percentile: RunningPercentile) -> Rows:
    loss, step = torch.from_numpy(ledger["loss"].copy()), ledger["step"]
    starts = np.flatnonzero(np.diff(step, prepend=-1))
    sizes = np.diff(starts, append=len(step)).tolist()
    levels = [torch.full((len(part),), float(percentile.update(part))) for part in loss.split(sizes)]
    right = torch.from_numpy(np.equal(ledger["given_label"], ledger["true_label"]))
    progress = torch.from_numpy(step / (step.max() + 1)).float()
    label = torch.from_numpy(ledger["given_label"].copy())
    features = Features(loss, loss - torch.cat(levels), label, progress, torch.empty(len(loss), 0))
    return Rows(features, right.float(), torch.ones(len(loss)))
