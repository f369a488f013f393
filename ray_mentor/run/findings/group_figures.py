"""What became of each group: how often the student is right on it, in what the run is measured on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.data.plan.batches import rank_slice
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.splits.splits import Splits
from ray_mentor.errors import listed, printable
from ray_mentor.run.checkpoint.kept import KeptState
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.names import table_in
from ray_mentor.run.findings.predictions import PREDICTIONS

_SHOWN = 20  # groups that a note names, and that metrics have a column of


def group_figures(
    directory: RunDirectory, splits: Splits, held_out: Samples | None, kept: KeptState | None
) -> dict[str, Any]:
    """For ``result.json``; empty where nobody says which groups there are.

    Args:
        held_out: trusted samples that nobody learns from.
        kept: which of them the student that is kept is right on.

    Returns:
        ``test_worst_group_accuracy``, ``trusted_worst_group_accuracy``: the lowest accuracy over the groups that the
        test split has, and the held-out trusted samples; ``test_worst_group``, ``trusted_worst_group``: their names;
        ``test_worst_group_by``: what the first goes by, ``"accuracy"``, or ``"agreement"`` with given labels where the
        test split's truth is not known, which is lower in a group with wrong labels; ``groups``: of each, in order, its
        name, how many training, trusted, held-out trusted and test samples are of it, and the accuracy (or agreement)
        on the last two. Each is None where it is not known.
    """
    train = splits.train.groups
    if train is None:
        return {}
    table = table_in(directory, PREDICTIONS, {"label": pa.int64(), "predicted": pa.int64()})
    right = None if table is None else table["label"].to_numpy() == table["predicted"].to_numpy()
    hits = None if kept is None else kept.hits if kept.is_earlier else kept.last_hits
    tested = _accuracies(splits.test, right)
    trusted = _accuracies(held_out, None if hits is None else hits.numpy())
    sizes = {
        name: _sizes(samples, len(train.names))
        for name, samples in (
            ("training_samples", splits.train),
            ("trusted_samples", splits.meta),
            ("trusted_held_out", held_out),
            ("test_samples", splits.test),
        )
    }
    groups = [
        {
            "group": name,
            **{what: count[place] for what, count in sizes.items()},
            "trusted_accuracy": trusted[place] if trusted else None,
            "test_accuracy": tested[place] if tested else None,
        }
        for place, name in enumerate(train.names)
    ]
    is_true = splits.test is not None and splits.test.true_labels is not None
    by = None if not tested else "accuracy" if is_true else "agreement"
    worst = {**_worst("test", tested, train.names), "test_worst_group_by": by}
    return {**worst, **_worst("trusted", trusted, train.names), "groups": groups}


def by_group(
    what: str, samples: Samples | None, right: Tensor | None, exchange: AbstractExchange
) -> dict[str, float | None]:
    """For ``metrics.csv``, ``what_by_group/NAME``: the share of each group that is right, None where it has no sample.

    Nothing where nobody says of which group samples are, or of more than 20 groups. A collective call.

    Args:
        right: which samples of this rank's share are.
    """
    groups = None if samples is None else samples.groups
    if groups is None or right is None or right.dtype != torch.bool or len(groups.names) > _SHOWN:
        return {}
    of, count = rank_slice(groups.of, exchange.rank, exchange.world_size), len(groups.names)
    own = torch.from_numpy(np.bincount(of, right.numpy(), minlength=count))
    sums = exchange.gather(own[None], (1,) * exchange.world_size).sum(dim=0)
    figures = zip(groups.names, sums.tolist(), groups.sizes, strict=True)
    return {f"{what}{BY_GROUP}{_one_line(name)}": hit / size if size else None for name, hit, size in figures}


BY_GROUP = "_by_group/"
"""In the names of such columns, before the group's."""


def _one_line(name: str) -> str:
    return " ".join(printable(name).split())


def said_of_groups(splits: Splits) -> list[str]:
    """How large the groups are, and which of those that are trained on no trusted sample is of; a line each."""
    groups, meta = splits.train.groups, splits.meta.groups
    if groups is None:
        return []
    trusted = [0] * len(groups.names) if meta is None else meta.sizes
    sizes = zip(groups.names, groups.sizes, trusted, strict=True)
    said = [f"{name} {size:,}" + (f" (trusted {own})" if len(splits.meta) else "") for name, size, own in sizes]
    told = [f"{len(groups.names)} groups of training samples: {listed(said, _SHOWN)}"]
    if len(splits.meta) == 0:
        return told
    if meta is None:
        return [*told, "the trusted samples have no column of groups, so nothing is said of groups by them"]
    missing = [name for name, size, own in zip(groups.names, groups.sizes, trusted, strict=True) if size and not own]
    if missing:
        told.append(
            f"warning: no trusted sample is of {'group' if len(missing) == 1 else 'groups'} {listed(missing, _SHOWN)}: "
            "trusted accuracy says nothing of what is right there; add some, or --meta-balance groups where they are "
            "drawn"
        )
    return told


def _accuracies(samples: Samples | None, right: NDArray[np.bool_] | None) -> list[float | None]:
    """Of each group, None where it has no sample; empty where nothing is known."""
    if samples is None or samples.groups is None or right is None or len(right) != len(samples):
        return []
    groups = samples.groups
    counts = np.bincount(groups.of, minlength=len(groups.names))
    sums = np.bincount(groups.of, right, minlength=len(groups.names))
    return [float(hit / count) if count else None for hit, count in zip(sums, counts, strict=True)]


def _sizes(samples: Samples | None, count: int) -> list[int | None]:
    if samples is None:
        return [0] * count
    return [None] * count if samples.groups is None else list(samples.groups.sizes)


def _worst(what: str, accuracies: list[float | None], names: tuple[str, ...]) -> dict[str, Any]:
    known = [(accuracy, name) for accuracy, name in zip(accuracies, names, strict=False) if accuracy is not None]
    accuracy, name = min(known, key=lambda pair: pair[0], default=(None, None))
    return {f"{what}_worst_group_accuracy": accuracy, f"{what}_worst_group": name}
