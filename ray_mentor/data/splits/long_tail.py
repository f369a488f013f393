"""A long tail that is made: classes of a training split, thinned out by a profile."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ray_mentor.config import DataConfig
from ray_mentor.config.groups.data import parse_imbalance
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.samples import Samples
from ray_mentor.errors import UserError, shown

Counts = NDArray[np.int64]

_ROUNDING = 1e-9  # of a class size before it is cut down to an integer


def long_tailed(
    train: Samples, validation: Samples | None, config: DataConfig, draw: Generator, notes: list[str]
) -> tuple[Samples, Samples | None]:
    """The training split with as many samples of each class as ``config.imbalance`` says, and the validation split
    thinned at the same rates. Classes are the true ones where those are known.

    Class c keeps ⌊n·s_c⌋ samples, n as large as the split and ``train_size`` allow. Of C classes s_c is
    factor^(−c/(C−1)) under ``exp``; 1 for the first C − ⌊C/2⌋ under ``step``, 1/factor for the others (Cui et al. 2019,
    Cao et al. 2019).

    Raises:
        UserError: a class that no sample would be left of.
    """
    profile, factor = parse_imbalance(config.imbalance)
    if profile == "none":
        return train, validation
    there = _sizes(train)
    kept = kept_sizes(there, shares_of(profile, factor, len(there)), config.train_size)
    if (empty := np.flatnonzero(kept == 0)).size:
        few = int(empty[0] if kept.any() else there.argmin())
        raise UserError(
            f"imbalance is {shown(config.imbalance)}, but then no training sample of class {train.classes[few]} is "
            f"left of {there[few]}, and {kept.max()} of the largest class; give a smaller factor, or more data"
        )
    notes.append(
        f"imbalance {config.imbalance}: {kept.sum()} of {len(train)} training samples are left, {kept.max()} of the "
        f"largest class and {kept.min()} of the smallest" + ("" if train.true_labels is None else ", by true labels")
    )
    thinned = train.select(_rows(train, kept, draw))
    if validation is None:
        return thinned, None
    held_out = np.rint(_sizes(validation) * (kept / there)).astype(np.int64)
    held_out[held_out.argmax()] += held_out.sum() == 0
    return thinned, validation.select(_rows(validation, held_out, draw))


def shares_of(profile: str, factor: float, classes: int) -> NDArray[np.float64]:
    """Size of each class over that of the first; (C,)."""
    places = np.arange(classes)
    if profile == "step":
        return np.where(places < classes - classes // 2, 1.0, 1 / factor)
    return factor ** -(places / max(classes - 1, 1))


def kept_sizes(there: Counts, shares: NDArray[np.float64], most: int | None) -> Counts:
    """⌊n·s_c⌋ of each class, with the largest n at which there are as many, ``most`` of all at most; (C,)."""

    def sizes(largest: int) -> Counts:
        return np.floor(largest * shares + _ROUNDING).astype(np.int64)

    largest = int(np.floor((there / shares).min() + _ROUNDING))
    low, high = 0, largest if most is None else min(largest, most)
    while low < high:  # sizes rise with n
        middle = (low + high + 1) // 2
        low, high = (middle, high) if most is None or sizes(middle).sum() <= most else (low, middle - 1)
    return sizes(low)


def _truth(samples: Samples) -> Counts:
    return samples.labels if samples.true_labels is None else samples.true_labels


def _sizes(samples: Samples) -> Counts:
    return np.bincount(_truth(samples), minlength=len(samples.classes))


def _rows(samples: Samples, sizes: Counts, draw: Generator) -> Rows:
    """As many rows of each class, drawn, in their order."""
    labels = _truth(samples)
    chosen = [
        draw.choice(np.flatnonzero(labels == label), size, replace=False) for label, size in enumerate(sizes.tolist())
    ]
    return np.sort(np.concatenate(chosen))
