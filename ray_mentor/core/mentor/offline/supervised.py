"""Fits a mentor's network to rows of features with the sample weights that it is to give."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ray_mentor.core.mentor.networks import AbstractMentor
from ray_mentor.core.step.features import Features


@dataclass(frozen=True)
class Rows:
    """What a mentor is to learn by heart.

    Attributes:
        features: of each row.
        target: the sample weight v*, in [0, 1].
        mass: how much each row counts, >= 0.
    """

    features: Features
    target: Float[Tensor, " rows"]
    mass: Float[Tensor, " rows"]

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, rows: Tensor) -> Rows:
        return Rows(self.features[rows], self.target[rows], self.mass[rows])


@dataclass(frozen=True)
class Fitting:
    """How it is fitted: Adam, its rate falling by the same factor at every step, gradients cut to ``most`` in norm.

    Attributes:
        steps: of Adam.
        batch_size: rows a step, drawn with replacement; 0: all of them.
        rate: at the first step.
        last_rate: at the last.
        squared: squared error; else binary cross-entropy, which is for targets of 0 and 1.
        most: norm of a gradient.
    """

    steps: int
    batch_size: int
    rate: float
    last_rate: float
    squared: bool
    most: float = 5.0


def fit(network: AbstractMentor, rows: Rows, how: Fitting, seed: int) -> None:
    """Moves the network's params, in place, towards Σ mass·error(σ(z), v*) / Σ mass at its smallest.

    Args:
        seed: of the batches.
    """
    draw = torch.Generator().manual_seed(seed)
    params = [param for param in network.parameters() if param.requires_grad]
    optimizer = torch.optim.Adam(params, lr=how.rate)
    factor = (how.last_rate / how.rate) ** (1 / max(1, how.steps - 1))
    for _ in range(how.steps):
        drawn = torch.randint(len(rows), (how.batch_size,), generator=draw) if how.batch_size else None
        optimizer.zero_grad()
        error_of(network, rows if drawn is None else rows[drawn], squared=how.squared).backward()
        nn.utils.clip_grad_norm_(params, how.most)
        optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] *= factor


def error_of(network: AbstractMentor, rows: Rows, *, squared: bool) -> Float[Tensor, ""]:
    """Σ mass·error / Σ mass, of squared errors or binary cross-entropies."""
    logits = network(rows.features)
    target, mass = rows.target.to(logits), rows.mass.to(logits)
    if squared:
        errors = (torch.sigmoid(logits) - target).square()
    else:
        errors = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (mass * errors).sum() / mass.sum()
