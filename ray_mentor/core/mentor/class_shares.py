"""How much weight each given class gets, beside what a sample of its batches gets; kept where the weights are."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

MEMORY = 16
"""Samples of a class that its running share remembers, roughly. A batch alone says too little of a class: with 40 %
wrong labels, one in 1,500 groups of eight samples is wrong to the last label, and its weights are rightly near 0.
Measured on digits, smallest share of a run: 0.44 to 0.68 in nine sound ones (up to 60 % wrong labels), 0.0002 and less
in three that shut classes out."""

PLACES = 4096
"""Classes that are told apart where nobody says how many there are; labels that differ by as many share a place."""


class RunningClassShares:
    """Of each given class, the running mean of its mean weight over the mean weight of its batch.

    Args:
        n_classes: that there are; 0: not known.

    Attributes:
        running: in float64, NaN where a class was never seen; None before any was. Never written over.
    """

    def __init__(self, n_classes: int = 0) -> None:
        self._places = n_classes or PLACES
        self.running: Float[Tensor, " places"] | None = None

    @property
    def value(self) -> dict[int, float]:
        """Of each class seen so far, read from the device."""
        shares = [] if self.running is None else self.running.cpu().tolist()
        return {label: share for label, share in enumerate(shares) if not math.isnan(share)}

    @value.setter
    def value(self, value: Mapping[int, float]) -> None:
        self.running = None
        if value:
            self.running = torch.full((self._places,), math.nan, dtype=torch.float64)
            labels = torch.tensor(list(value)) % self._places
            self.running[labels] = torch.tensor(list(value.values()), dtype=torch.float64)

    def of(self, n_classes: int) -> Float[Tensor, " classes"]:
        """Of as many classes, on the host; NaN where nothing is known."""
        known = torch.full((self._places,), math.nan, dtype=torch.float64) if self.running is None else self.running
        return known[:n_classes].cpu()

    def fall_below(
        self,
        floor: float,
        w: Float[Tensor, " batch"],
        labels: Int[Tensor, " batch"],
        known: Bool[Tensor, " batch"],
        mean: Float[Tensor, ""],
        says: Bool[Tensor, ""],
    ) -> Bool[Tensor, ""]:
        """Whether the share of a class in this batch, which is taken in, is smaller than ``floor``.

        Args:
            w: in float64.
            known: samples whose class counts; of the others neither weight nor label.
            mean: of w.
            says: whether the batch says anything; if not, it is not taken in.
        """
        places = self._places
        before = w.new_full((places,), math.nan) if self.running is None else self.running.to(w.device)
        place = torch.where(known, labels % places, places)  # behind the classes, what is of none
        sums = w.new_zeros(places + 1, 2).index_add_(0, place, nn.functional.pad(w[:, None], (1, 0), value=1.0))
        count, total = sums[:-1].unbind(dim=1)
        old = before.nan_to_num(1.0)
        new = old + count / (count + MEMORY) * (total / count / mean - old)
        is_new = (count > 0) & says
        self.running = new.where(is_new, before)
        return ((new < floor) & is_new).any()

    def fall_below_on_host(
        self,
        floor: float,
        w: Float[Tensor, " batch"],
        labels: Int[Tensor, " batch"],
        known: NDArray[np.bool_] | None,
        mean: float,
    ) -> bool:
        """The same, to the bit, of a batch that says something; only what is of its classes is looked at.

        Args:
            known: samples that have a say, where their label is one; None: all have.
        """
        weights, given = w.numpy(), labels.numpy()
        if known is not None or np.minimum.reduce(given) < 0:
            known = given >= 0 if known is None else known & (given >= 0)
            weights, given = weights[known], given[known]
        given = given % self._places
        counts = np.bincount(given)
        [classes] = counts.nonzero()
        count, total = counts[classes], np.bincount(given, weights)[classes]
        running = np.full(self._places, np.nan) if self.running is None else self.running.numpy().copy()
        old = running[classes]
        old[np.isnan(old)] = 1.0
        new = old + count / (count + MEMORY) * (total / count / mean - old)
        running[classes] = new
        self.running = torch.from_numpy(running)
        return bool((new < floor).any())
