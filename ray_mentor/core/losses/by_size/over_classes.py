"""The expected error, averaged over classes: of all alike, or of the worst above all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.epoch import AtEpoch, EpochEnd
from ray_mentor.core.losses.base import PerSampleLoss
from ray_mentor.core.losses.expected_error import ExpectedError

TEMPERATURE = 0.1
"""Of the worst classes: one whose expected error is .1 above another's has e times its say."""


class MeanOverClasses(ExpectedError, AtEpoch):  # noqa: N818 (no exception)
    """f_y (1 − exp(−ℓ_i)), whose mean over the meta set is Σ_c q_c·(mean error of class c).

    q_c is 1/C of the C classes that the meta set has; of ``worst``, ∝ exp(error_c / 0.1) once an epoch has ended, the
    errors those of the trusted samples that are not held out.

    Args:
        loss: ℓ.
        sizes: n_c, meta samples of each class.
        worst: whether the worst classes have more say.
        in_doubt: as :class:`ExpectedError` has it.
    """

    def __init__(
        self, loss: PerSampleLoss, sizes: Sequence[int], *, worst: bool = False, in_doubt: bool = False
    ) -> None:
        super().__init__(loss, in_doubt=in_doubt)
        self._sizes = torch.tensor(sizes, dtype=torch.float64)
        self._is_worst = worst

    @property
    def shares(self) -> Float[Tensor, " classes"]:
        """q, of all classes; 0 of those that the meta set lacks."""
        if self.state is not None:
            return self.state
        there = (self._sizes > 0).double()
        return there / there.sum()

    def at_epoch(self, end: EpochEnd) -> None:
        if self._is_worst:
            found = end.predicted().double()
            errors = 1 - found[:, :-1].diagonal() / found[:, -1]
            errors = torch.where((self._sizes > 0) & (found[:, -1] > 0), errors, -torch.inf)
            self.state = torch.softmax(errors / TEMPERATURE, dim=0)

    def could_be(self, state: Tensor, n_classes: int) -> bool:
        return state.shape == (n_classes,) and bool((state >= 0).all()) and abs(float(state.sum()) - 1) < _ROUNDING

    def __call__(self, outputs: Any, labels: Tensor) -> Float[Tensor, " batch"]:
        errors = super().__call__(outputs, labels)
        factors = self.shares * self._sizes.sum() / self._sizes.clamp(min=1)
        return factors.to(errors)[labels] * errors


_ROUNDING = 1e-9  # of a sum of shares
