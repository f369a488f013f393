"""Digits below five or not, with a bright patch that mostly says which, and four groups by both."""

from __future__ import annotations

import dataclasses

import numpy as np

from ray_mentor.data.samples.inputs import ImageInputs
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.samples.sources.domains import Domains
from ray_mentor.data.splits.splits import Splits

CLASSES = ("0-4", "5-9")
GROUPS = ("0-4 left", "0-4 right", "5-9 left", "5-9 right")
AGREES = 0.95
"""Of the training samples of a class, those whose patch is on the class's side: left of 0-4."""

_PATCHES, _BRIGHT, _SIDE = 330, 16, 2


def with_patches(splits: Splits, seed: int) -> Splits:
    """In half of the trusted and test samples of each class the patch is on either side."""
    draw = np.random.default_rng([seed, _PATCHES])
    assert splits.test is not None
    train, meta, test = (
        _patched(samples, share, draw)
        for samples, share in ((splits.train, AGREES), (splits.meta, 0.5), (splits.test, 0.5))
    )
    return dataclasses.replace(splits, train=train, meta=meta, test=test, validation=None)


def _patched(samples: Samples, share: float, draw: np.random.Generator) -> Samples:
    labels = (samples.labels >= 5).astype(np.int64)
    right = labels == 1
    for label in (0, 1):
        rows = draw.permutation(np.flatnonzero(labels == label))
        others = rows[round(share * len(rows)) :]
        right[others] = ~right[others]
    inputs = samples.inputs
    assert isinstance(inputs, ImageInputs)
    values = np.array(inputs.values[:])
    values[~right, :_SIDE, :_SIDE] = _BRIGHT
    values[right, :_SIDE, -_SIDE:] = _BRIGHT
    groups = Domains(GROUPS, 2 * labels + right)
    return Samples(inputs.holding(values), samples.ids, labels, labels, CLASSES, groups=groups)
