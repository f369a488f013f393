"""The meta set, shared out: some for nobody but the measurements, the rest for the mentor and the student."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ray_mentor.data.plan.batches import Plan, rank_sizes
from ray_mentor.data.plan.order import Shuffled
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.splits.pool import spared

_HOLDOUT, _TRAINING = 306, 308  # keep the streams of one seed apart


@dataclass(frozen=True, eq=False)
class MetaParts:
    """Every class is in ``learnt`` and ``trained``.

    Attributes:
        learnt: what the mentor learns from.
        held_out: none of these; what measures the mentor, and what the student knows by heart. None if none can be
            spared.
        trained: those of ``learnt`` that the student is trained on beside the training split; None if there are none.
    """

    learnt: Samples
    held_out: Samples | None
    trained: Samples | None


def meta_parts(meta: Samples, *, holdout: float, training: float, seed: int) -> MetaParts:
    """Shares a meta set out by seed; no class is taken to its last sample, nor a group's part of it where groups are
    known, so that less than asked for may be taken.

    Args:
        holdout: share of ``meta`` that is held out, in [0, 1).
        training: share of the others that the student is trained on, in [0, 1]; 0 for none of them.
    """
    if len(meta) == 0:
        return MetaParts(meta, None, None)
    learnt, held_out = _taken(meta, round(holdout * len(meta)), seed, _HOLDOUT)
    if training == 0:
        return MetaParts(learnt, held_out, None)
    trained, _ = _taken(learnt, round((1 - training) * len(learnt)), seed, _TRAINING)
    return MetaParts(learnt, held_out, trained)


def trained_rows(n: int, plan: Plan, step: int) -> Rows:
    """Which of n samples a step trains on beside its batch of the plan: all n of them once in an epoch."""
    epoch, place = divmod(step, plan.epoch_steps)
    share, rest = divmod(n, plan.epoch_steps)
    start = place * share + min(place, rest)  # as np.array_split cuts, which makes the parts of all steps
    return _order(n, plan.seed, epoch)[start : start + share + (place < rest)].copy()


@functools.lru_cache(maxsize=4)  # of the epoch that is trained on, and of one that is read ahead
def _order(n: int, seed: int, epoch: int) -> Rows:
    """Drawn once an epoch; whoever asks is given a copy."""
    return Shuffled(n).rows(seed, epoch)


def joined_rows(batch: Rows, beside: Rows, world_size: int) -> Rows:
    """Rows of two batches in rank order, where each rank has its slice of both, one behind the other."""
    ends = [np.cumsum(rank_sizes(len(rows), world_size))[:-1] for rows in (batch, beside)]
    parts = zip(np.split(batch, ends[0]), np.split(beside, ends[1]), strict=True)
    return np.concatenate([part for both in parts for part in both])


def _taken(samples: Samples, count: int, seed: int, purpose: int) -> tuple[Samples, Samples | None]:
    """The others, and ``count`` samples or as many as can be spared."""
    rows = spared(_strata(samples), count, np.random.default_rng([seed, purpose]))
    if len(rows) == 0:
        return samples, None
    return samples.select(np.setdiff1d(np.arange(len(samples)), rows)), samples.select(rows)


def _strata(samples: Samples) -> NDArray[np.int64]:
    """Classes, or those of each group and of each target."""
    strata = samples.labels
    if samples.groups is not None:
        strata = samples.groups.of * len(samples.classes) + strata
    if samples.domains is not None and samples.domains.weights is not None:
        strata = strata * len(samples.domains.names) + samples.domains.of
    return strata
