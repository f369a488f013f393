"""Samples that are there more than once, and above all those whose labels disagree: one of them must be wrong."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn

from ray_mentor.config import TrainConfig
from ray_mentor.core.step.evaluation import evaluating
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.splits.splits import prepare
from ray_mentor.errors import UserError
from ray_mentor.run.audit.same_data import given_names, rows_of
from ray_mentor.run.checkpoint.resume import started_with
from ray_mentor.run.directory import CONFIG, RunDirectory
from ray_mentor.students import is_reference, make_student

NEIGHBOURS, NEAR = 10, 0.13
"""How many are looked at, and how near they must be, in median distances of a sample to the nearest other one."""

MOST = 200_000
"""Samples among which near duplicates are looked for: time grows with the square of their number."""

STUDENT = "student/state_dict.pt"
_PART = 512  # samples a batch


def duplicates(samples: Samples, student: nn.Module | None = None) -> pa.Table:
    """A row a sample that has a duplicate, sets whose labels disagree first.

    Exact ones have the same content. Near ones have penultimate features (what the student's last linear layer is fed)
    whose cosine distance to one of the 10 nearest others is below 0.13 of the median distance to the nearest one that
    is no exact duplicate; the threshold is cleanlab's.

    Args:
        samples: that are looked at.
        student: trained, for near duplicates; None: exact ones alone.

    Returns:
        ``set``, a number from 0 on; ``kind``: exact or near; ``sample_id``; ``given_label``; ``labels_differ``, of the
        set.

    Raises:
        UserError: a student without a linear layer that is fed one row a sample.
    """
    _, content = np.unique(samples.inputs.content_hashes(), return_inverse=True)
    found = [("exact", rows) for rows in _groups(content)]
    if student is not None:
        near = _near(_features(student, samples), content)
        found += [("near", rows) for rows in _groups(near) if len(np.unique(content[rows])) > 1]
    differ = [len(np.unique(samples.labels[rows])) > 1 for _, rows in found]
    order = sorted(range(len(found)), key=lambda i: (not differ[i], found[i][0], found[i][1][0]))
    rows = np.concatenate([np.zeros(0, np.int64), *(found[i][1] for i in order)])
    sizes = [len(found[i][1]) for i in order]
    ids = samples.ids[rows] if samples.names is None else samples.names.take(pa.array(rows))
    return pa.table(
        {
            "set": np.repeat(np.arange(len(order)), sizes),
            "kind": pa.array(np.repeat([found[i][0] for i in order], sizes).tolist(), pa.string()),
            "sample_id": ids,
            "given_label": given_names(samples).take(pa.array(rows)),
            "labels_differ": np.repeat(np.array([differ[i] for i in order], bool), sizes),
        }
    )


def duplicates_of(directory: RunDirectory, audited: pa.Table) -> tuple[pa.Table, tuple[str, ...]]:
    """Of a run's training split, which is read again as its config says; and what could not be looked for, and why.

    Args:
        audited: the run's audit, which knows the samples that it was trained on.

    Raises:
        UserError: the data can't be read, or are others than the run's, whose data came from Python.
    """
    settings = started_with(directory)
    config = TrainConfig.from_flat(settings)
    samples = prepare(config.data, config.run.seed).train
    _check_same(samples, audited, directory)
    if len(samples) > MOST:
        return duplicates(samples), (f"near duplicates are looked for among {MOST:,} samples at most",)
    student = _student(directory, settings, samples)
    if student is None:
        return duplicates(samples), ("near duplicates are looked for with a student of --student alone",)
    return duplicates(samples, student), ()


def _check_same(samples: Samples, audited: pa.Table, directory: RunDirectory) -> None:
    if rows_of(samples, audited) is not None:
        return
    raise UserError(
        f"the data that {directory.path}/{CONFIG} names are not those that the run was trained on; put them back, or, "
        "where they came from Python, ask there: Audit.duplicates(samples, student)"
    )


def _student(directory: RunDirectory, settings: Mapping[str, Any], samples: Samples) -> nn.Module | None:
    """The one that the run keeps; None if it isn't there, or not the package's: a run's code is left alone."""
    written, name = directory.read(STUDENT), str(settings.get("student", "mlp"))
    if written is None or not is_reference(name):
        return None
    state = torch.load(io.BytesIO(written), weights_only=True)
    state = {name.removeprefix("first."): value for name, value in state.items() if not name.startswith("second.")}
    student = make_student(name, samples.inputs.shape, len(samples.classes))
    try:
        student.load_state_dict(state)
    except RuntimeError:
        return None
    return student


@torch.no_grad()
def _features(student: nn.Module, samples: Samples) -> Float[NDArray[np.float32], "samples features"]:
    """What the linear layer is fed that is called last."""
    fed: list[Tensor] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs: fed.append(inputs[0]))
        for module in student.modules()
        if isinstance(module, nn.Linear)
    ]
    device = next(student.parameters()).device
    starts = range(0, len(samples), _PART)
    parts = [(np.arange(len(samples))[start : start + _PART], (_DRAWS, start)) for start in starts]
    found = []
    try:
        with evaluating(student):
            for inputs in samples.inputs.in_parts(parts):
                fed.clear()
                student(inputs.to(device))
                if not fed or fed[-1].shape[:1] != inputs.shape[:1]:
                    raise UserError(
                        "near duplicates need a student whose last linear layer is fed one row a sample; leave the "
                        "student out for exact ones"
                    )
                found.append(fed[-1].flatten(1).float().cpu())
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat(found).numpy()


_DRAWS = 317  # of random transforms that a data set may have


def _near(features: NDArray[np.float32], content: NDArray[np.intp]) -> NDArray[np.intp]:
    """A group's number for each sample: those are in one group that lie near one another, or near the same ones."""
    k = min(NEIGHBOURS + 1, len(features))
    distances, others = NearestNeighbors(n_neighbors=k, metric="cosine").fit(features).kneighbors(features)
    own = np.arange(len(features))[:, None]
    other = (others != own) & (content[others] != content[own])
    nearest = np.where(other, distances, np.inf).min(axis=1)
    threshold = NEAR * float(np.median(nearest[np.isfinite(nearest)])) if np.isfinite(nearest).any() else 0.0
    rows, places = np.nonzero((others != own) & (distances < threshold))
    group = np.arange(len(features))
    while True:  # each takes the smallest number among its neighbours; a chain of n takes n rounds at most
        before = group.copy()
        np.minimum.at(group, rows, before[others[rows, places]])
        np.minimum.at(group, others[rows, places], before[rows])
        if np.array_equal(group, before):
            return group


def _groups(numbers: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """The rows of each number that is there more than once."""
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    parts = np.split(order, starts[1:])
    return [part for part in parts if len(part) > 1]
