"""Means over an epoch and over all ranks."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.step.record import StepRecord

PREFIX = "d_"
"""Of the columns of ``metrics.csv`` that hypergradients are in: ``d_log_learning_rate`` is ∂M/∂ log η."""


@dataclass(frozen=True)
class TallyState:
    """An epoch's sums so far.

    Attributes:
        sums: of samples, losses and sample weights, a row a rank; kept apart, because rounding depends on the order.
        meta_losses: one a meta update, the same on every rank.
        hypergradients: by setting, likewise.
    """

    sums: Float[Tensor, "ranks 3"]
    meta_losses: list[float]
    hypergradients: dict[str, list[float]] = field(default_factory=dict)


class Tally:
    """Sums of per-sample values since the last :meth:`means`."""

    def __init__(self) -> None:
        self._sums = torch.zeros(3, dtype=torch.float64)
        self._meta: list[float] = []
        self._slopes: dict[str, list[float]] = {}

    def add(self, record: StepRecord) -> None:
        """Takes one step in."""
        values = [len(record.losses), record.losses.double().sum().item(), record.sample_weights.double().sum().item()]
        self._sums += torch.tensor(values, dtype=torch.float64)
        if record.meta_loss is not None:
            self._meta.append(record.meta_loss)
        for name, slope in record.hypergradients.items():
            self._slopes.setdefault(name, []).append(slope)

    def means(self, exchange: AbstractExchange) -> dict[str, float | None]:
        """Mean loss and sample weight per sample over all ranks, mean meta loss and hypergradients per meta update.

        Then starts anew.
        """
        means = self._means_of(self.state(exchange).sums.sum(dim=0))
        means |= {f"{PREFIX}{name}": sum(each) / len(each) for name, each in self._slopes.items()}
        self.__init__()  # type: ignore[misc]
        return means

    def here(self) -> dict[str, float | None]:
        """The same over this rank alone, so far."""
        return self._means_of(self._sums)

    def state(self, exchange: AbstractExchange) -> TallyState:
        """The sums of all ranks, as they stand. A collective call."""
        sums = exchange.gather(self._sums[None], (1,) * exchange.world_size).clone()
        return TallyState(sums, list(self._meta), {name: list(each) for name, each in self._slopes.items()})

    def load(self, state: TallyState, exchange: AbstractExchange) -> None:
        """Goes on from ``state``; where there were other ranks then, rank 0 takes over what all of them had."""
        if len(state.sums) == exchange.world_size:
            self._sums = state.sums[exchange.rank].clone()
        else:
            self._sums = state.sums.sum(dim=0) if exchange.rank == 0 else torch.zeros(3, dtype=torch.float64)
        self._meta = list(state.meta_losses)
        self._slopes = {name: list(each) for name, each in state.hypergradients.items()}

    def _means_of(self, sums: Float[Tensor, 3]) -> dict[str, float | None]:
        count, loss, weight = sums.tolist()
        meta = sum(self._meta) / len(self._meta) if self._meta else None
        if count == 0:  # all its steps were taken back
            return {"samples": count, "loss": None, "mean_sample_weight": None, "meta_loss": meta}
        return {"samples": count, "loss": loss / count, "mean_sample_weight": weight / count, "meta_loss": meta}
