"""A meta set without trusted samples: of the validation split, those whose given labels look right."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ray_mentor.core.epoch import AtEpoch, EpochEnd
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.mixture import fitted
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.samples import Samples
from ray_mentor.run.meta_set.batches import MetaBatches

DECAY = 0.7
"""Of what was known of a sample before, at the end of each epoch."""


class PseudoClean(MetaBatches, AtEpoch):
    """Chosen anew when an epoch has ended, by how far the student contradicts each sample's given label.

    The student is never trained on the validation split, so that it can't know its labels by heart: at any time a label
    that is wrong is one that it contradicts. ē_i ← .7·ē_i + .3·(1 − p_y), in evaluation mode, begins with the first
    epoch's; until that has ended, all of the split is the meta set. Which are chosen: :func:`chosen`.
    """

    def __init__(
        self, samples: Samples, size: int, seed: int, exchange: AbstractExchange, device: torch.device
    ) -> None:
        super().__init__(samples, size, seed, exchange, device)
        self._chosen: tuple[Tensor, Rows] | None = None

    @property
    def rows(self) -> Rows:
        if self.state is None:
            return super().rows
        if self._chosen is None or self._chosen[0] is not self.state:
            self._chosen = self.state, chosen(self.state, self.samples.labels, least=self.exchange.world_size)
        return self._chosen[1]

    def at_epoch(self, end: EpochEnd) -> None:
        errors = end.errors
        assert errors is not None, "they are measured where a meta set is chosen by them"
        before = self.rows
        self.state = errors if self.state is None else DECAY * self.state + (1 - DECAY) * errors
        if not np.array_equal(self.rows, before):
            self.begin_anew()

    def could_be(self, state: Tensor, n_classes: int) -> bool:
        return state.shape == (len(self.samples),) and bool(((state >= 0) & (state <= 1)).all())


def chosen(errors: Float[Tensor, " n"], labels: NDArray[np.int64], *, least: int = 1) -> Rows:
    """Rows whose given labels look right, the classes in balance; at least one of each class, and ``least`` in all.

    Of a mixture of two Gaussians, those that more likely belong to the component of small errors, and whose label has
    more than half of the student's probability: then it is what the student says itself. Of each class no more than
    the mean over classes, those of the smallest errors.
    """
    mixture = fitted(errors)
    believed = (errors < 0.5).numpy()
    if mixture is not None:
        believed &= (mixture.low_component(errors) > 0.5).numpy()
    order = np.argsort(errors.numpy(), kind="stable")
    by_class = [order[labels[order] == label] for label in np.unique(labels)]
    most = max(1, -(-int(believed.sum()) // len(by_class)))
    found = np.sort(np.concatenate([_first(rows, believed, most) for rows in by_class]))
    return found if len(found) >= least else np.sort(order[:least])


def _first(rows: Rows, believed: NDArray[np.bool_], most: int) -> Int[np.ndarray, " some"]:
    """The first of a class that are believed, or the very first."""
    return rows[believed[rows]][:most] if believed[rows].any() else rows[:1]
