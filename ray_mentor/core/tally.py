"""Means over an epoch and over all ranks."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.step_record import StepRecord


class Tally:
    """Sums of per-sample values since the last :meth:`means`."""

    def __init__(self) -> None:
        self._sums = torch.zeros(3, dtype=torch.float64)
        self._meta: list[float] = []

    def add(self, record: StepRecord) -> None:
        """Takes one step in."""
        values = [len(record.losses), record.losses.double().sum().item(), record.sample_weights.double().sum().item()]
        self._sums += torch.tensor(values, dtype=torch.float64)
        if record.meta_loss is not None:
            self._meta.append(record.meta_loss)

    def means(self, exchange: AbstractExchange) -> dict[str, float | None]:
        """Mean loss and sample weight per sample over all ranks, mean meta loss per meta update; then starts anew."""
        table = exchange.gather(self._sums[None], (1,) * exchange.world_size)
        means = self._means_of(table.sum(dim=0))
        self.__init__()  # type: ignore[misc]
        return means

    def here(self) -> dict[str, float | None]:
        """The same over this rank alone, so far."""
        return self._means_of(self._sums)

    def _means_of(self, sums: Float[Tensor, 3]) -> dict[str, float | None]:
        count, loss, weight = sums.tolist()
        meta = sum(self._meta) / len(self._meta) if self._meta else None
        return {"samples": count, "loss": loss / count, "mean_sample_weight": weight / count, "meta_loss": meta}
