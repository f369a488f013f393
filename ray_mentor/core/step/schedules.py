"""What the schedule does to sample weights: burn-in and example dropout."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ray_mentor.core.step.students import across


def rate_at(schedule: tuple[tuple[float, float], ...], progress: float) -> float:
    """The dropout rate at ``progress`` in [0, 1), of pairs (rate, share of training); 0 without any."""
    end = 0.0
    for rate, share in schedule:
        end += share
        if progress < end:
            return rate
    return schedule[-1][0] if schedule else 0.0


def kept(n: int, rate: float, generator: torch.Generator) -> Bool[Tensor, " batch"]:
    """Example dropout: keeps exactly ⌊n·(1 − rate)⌋ of n samples, drawn without replacement.

    The others' sample weights become 0; nothing is rescaled (MentorNet, Jiang et al. 2018).
    """
    keep = torch.zeros(n, dtype=torch.bool)
    count = int(n * (1 - rate) + 1e-9)  # 10·(1 − 0.9) is 0.9999999999999998 in floats, and 1 is meant
    keep[torch.randperm(n, generator=generator)[:count]] = True
    return keep


def scheduled_weights(
    scored: Float[Tensor, "batch ..."], keep: Bool[Tensor, " batch"] | None, equal: bool | Bool[Tensor, ""]
) -> Float[Tensor, "batch ..."]:
    """w_i = keep_i · (1 where the schedule or a guard wants equal weights, else the scored weight).

    Args:
        keep: on any device; None: all.
        equal: a tensor where the host does not know.
    """
    if isinstance(equal, Tensor):
        weights = scored.masked_fill(equal, 1.0)
    else:
        weights = torch.ones_like(scored) if equal else scored
    return weights if keep is None else torch.where(across(keep, scored), weights, 0.0)
