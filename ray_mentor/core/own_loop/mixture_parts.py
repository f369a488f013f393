"""What a mixture hands out, and what it is for: a step's samples, and targets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int, Shaped
from numpy.typing import NDArray
from torch import Tensor

from ray_mentor.core.batch import Inputs, MetaBatch, on_device
from ray_mentor.core.domains.influences import Target
from ray_mentor.core.domains.shares import adding_up
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.own_loop.sources import Rows
from ray_mentor.errors import UserError, shown


@dataclass(frozen=True)
class MixtureBatch:
    """This rank's part of a step's samples.

    Attributes:
        inputs: model inputs, on the student's device.
        labels: likewise.
        domains: of which source each is, by place.
        step: from 0 on.
    """

    inputs: Inputs
    labels: Shaped[Tensor, "own ..."]
    domains: Int[NDArray[np.int64], " own"]
    step: int


class Targets:
    """What training is for, of which each update looks at a batch.

    Args:
        targets: by name.
        weights: of each, in order.
        size: samples of a batch of each, over all ranks.

    Raises:
        UserError: fewer samples than ranks.
    """

    def __init__(
        self,
        targets: Mapping[str, Rows],
        weights: Sequence[float],
        size: int,
        seed: int,
        exchange: AbstractExchange,
        device: torch.device,
    ) -> None:
        self._targets, self._size, self._seed = tuple(targets.values()), size, seed
        self._exchange, self._device = exchange, device
        self._weights = tuple(weights)
        for name, rows in targets.items():
            if len(rows) < exchange.world_size:
                raise UserError(
                    f"target {name!r} has {len(rows)} samples, but each of the {exchange.world_size} ranks needs one; "
                    "give more"
                )

    def __call__(self, number: int) -> list[Target]:
        """This rank's shares of the target batches of an update."""
        found = []
        for place, (rows, weight) in enumerate(zip(self._targets, self._weights, strict=True)):
            size = min(max(self._size, self._exchange.world_size), len(rows))
            chosen = np.random.default_rng([self._seed, 3, number, place]).choice(len(rows), size, replace=False)
            own = chosen[self._exchange.rank :: self._exchange.world_size]
            found.append(Target(MetaBatch(*on_device(self._device, *rows[own]), size), weight))
        return found


def target_weights_of(targets: Mapping[str, Rows], weights: Mapping[str, float] | None) -> tuple[float, ...]:
    """Of each target, in order, adding up to 1.

    Args:
        weights: by name; None: the same for all. They need not add up to 1.

    Raises:
        UserError: other names, or weights of which none is above 0.
    """
    if weights is None:
        return (1.0 / len(targets),) * len(targets)
    if set(weights) != set(targets):
        raise UserError(f"target_weights names {shown(sorted(weights))}, but the targets are {shown(sorted(targets))}")
    given = [float(weights[name]) for name in targets]
    if not all(0 <= weight < math.inf for weight in given) or max(given) == 0:
        raise UserError(f"target_weights is {shown(dict(weights))}, but weights are at least 0, and one is above")
    return adding_up(given)
