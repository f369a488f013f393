"""Label noise whose truth is known."""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from ray_mentor.config.groups.data import NOISES
from ray_mentor.data.samples.inputs import AbstractInputs
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.splits.confusable import mistaken_for
from ray_mentor.errors import UserError, one_of

Labels = NDArray[np.int64]

_PARTS, _FLIPS = 201, 202  # keep the streams of one seed apart
_RATE_SPREAD = 0.1  # Xia et al. 2020, algorithm 2
_CHUNK = 1024  # inputs that are projected at a time


def add_noise(samples: Samples, kind: str, rate: float, seed: int, stream: int = 0) -> Samples:
    """Replaces given labels by others, and keeps what they were as true labels.

    Where true labels are known already, those stay, and a label that was wrong may become the right one.

    - ``symmetric``: round(rate·N) samples get one of the other C−1 classes, uniformly.
    - ``asymmetric``: of the samples whose class is mistaken for another, round(rate·count) get that
      one (:func:`~ray_mentor.data.splits.confusable.mistaken_for`).
    - ``instance``: sample i with input x_i and label y is flipped with probability q_i ~ N(rate, 0.1²)
      truncated to [0, 1], to class j ≠ y with probability softmax_j(x_i · W_y), W standard normal
      (Xia et al. 2020, "Part-dependent label noise", algorithm 2). The truncated mean is above a rate
      that is small: .08 at 0, .10 at .05, .13 at .1, .21 at .2.
    - ``imb``: round(rate·N) samples; one of class i gets class j ≠ i with probability ∝ N_j, the size of
      class j, so that most wrong labels are those of large classes (RoLT, Wei et al. 2021).
    - ``none``: the samples as they are.

    Args:
        samples: labels of C ≥ 2 classes.
        kind: one of the above.
        rate: noise rate in [0, 1).
        seed: the only source of randomness, together with ``stream``.
        stream: draws anew under the same seed. W depends on the seed alone, so that the splits of one
            run share it.

    Raises:
        UserError: unknown kind, rate outside [0, 1), fewer than two classes.
    """
    one_of(kind, NOISES, "noise")
    if kind == "none":
        return samples
    _check(rate, len(samples.classes))
    draw = np.random.default_rng([seed, _FLIPS, stream])
    if kind == "symmetric":
        labels = _symmetric(samples.labels, len(samples.classes), rate, draw)
    elif kind == "asymmetric":
        labels = _asymmetric(samples.labels, mistaken_for(samples.classes), rate, draw)
    elif kind == "imb":
        labels = _by_size(samples.labels, len(samples.classes), rate, draw)
    else:
        parts = np.random.default_rng([seed, _PARTS])
        labels = _instance(samples.inputs, samples.labels, len(samples.classes), rate, draw, parts)
    return samples.with_labels(labels, samples.labels if samples.true_labels is None else samples.true_labels)


def _check(rate: float, classes: int) -> None:
    if not 0.0 <= rate < 1.0:
        raise UserError(f"noise rate is {rate!r}, but it must lie in [0, 1); e.g. 0.4 for 40 %")
    if classes < 2:
        raise UserError(f"noise needs at least two classes to confuse, but there is {classes}; use noise none")


def _symmetric(labels: Labels, classes: int, rate: float, draw: Generator) -> Labels:
    rows = draw.choice(len(labels), round(rate * len(labels)), replace=False)
    noisy = labels.copy()
    noisy[rows] = (labels[rows] + draw.integers(1, classes, len(rows))) % classes
    return noisy


def _asymmetric(labels: Labels, mistake: Labels, rate: float, draw: Generator) -> Labels:
    affected = np.flatnonzero(mistake[labels] != labels)
    rows = draw.choice(affected, round(rate * len(affected)), replace=False)
    noisy = labels.copy()
    noisy[rows] = mistake[labels[rows]]
    return noisy


def _by_size(labels: Labels, classes: int, rate: float, draw: Generator) -> Labels:
    rows = draw.choice(len(labels), round(rate * len(labels)), replace=False)
    noisy, sizes = labels.copy(), np.bincount(labels, minlength=classes)
    for label in range(classes):
        own, others = rows[labels[rows] == label], np.where(np.arange(classes) == label, 0, sizes)
        if others.any():  # else there is no other class to be taken for
            noisy[own] = draw.choice(classes, len(own), p=others / others.sum())
    return noisy


def _instance(
    inputs: AbstractInputs, labels: Labels, classes: int, rate: float, draw: Generator, parts: Generator
) -> Labels:
    flipped = draw.random(len(labels)) < _truncated_rates(rate, len(labels), draw)
    noisy = labels.copy()
    for label in range(classes):
        # Drawn for every class, used or not, so that W is the same for every split of a run.
        projection = parts.standard_normal((int(np.prod(inputs.shape)), classes), dtype=np.float32)
        rows = np.flatnonzero(flipped & (labels == label))
        for part in np.array_split(rows, -(-len(rows) // _CHUNK) or 1):
            noisy[part] = _other_class(inputs, part, label, projection, draw)
    return noisy


def _truncated_rates(rate: float, count: int, draw: Generator) -> NDArray[np.float64]:
    rates = draw.normal(rate, _RATE_SPREAD, count)
    while len(outside := np.flatnonzero((rates < 0) | (rates > 1))):
        rates[outside] = draw.normal(rate, _RATE_SPREAD, len(outside))
    return rates


def _other_class(
    inputs: AbstractInputs, rows: Labels, label: int, projection: NDArray[np.float32], draw: Generator
) -> Labels:
    logits = inputs.take(rows).flatten(1) @ torch.from_numpy(projection)
    # The largest logit plus Gumbel noise is a draw from the softmax of the logits.
    scores = logits.numpy() + draw.gumbel(size=tuple(logits.shape))
    scores[:, label] = -np.inf
    others: Labels = scores.argmax(1)
    return others
