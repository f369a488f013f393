"""What goes by how many training samples each class has: losses, and a factor on any of them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.epoch import AtEpoch, EpochEnd
from ray_mentor.core.losses.numbers import require_within
from ray_mentor.errors import UserError

LEAST = 1.0
"""Samples that any class counts as having: the logarithm of none, or of next to none, has no bound."""


class BySize(AtEpoch):
    """Knows N_c, the training samples of each class c: those that are given the label, and trusted ones.

    Its state, once an epoch has ended, is what the samples then count for: N_c times how much weight the class was
    given in the mean over that of all, to the power of ``trust``, and the trusted ones, whose weight is 1.

    Attributes:
        name: as settings have it.
        trust: in [0, 1]: 0 counts given labels, 1 what a mentor believes of them.
    """

    name: str
    trust: float
    _given: Float[Tensor, " classes"] | None = None
    _trusted: Float[Tensor, " classes"] | None = None

    def take_sizes(self, given: Sequence[int], trusted: Sequence[int] | None = None) -> None:
        """Learns how many samples are given each label, and how many trusted ones are trained on beside them."""
        self._given = torch.tensor(given, dtype=torch.float64)
        self._trusted = torch.zeros_like(self._given) if trusted is None else torch.tensor(trusted, dtype=torch.float64)

    def at_epoch(self, end: EpochEnd) -> None:
        if self.trust > 0 and self._given is not None and self._trusted is not None:
            shares = end.class_shares().nan_to_num(1.0)
            self.state = self._given * shares**self.trust + self._trusted

    def could_be(self, state: Tensor, n_classes: int) -> bool:
        return state.shape == (n_classes,) and bool((state >= 0).all())

    @property
    def sizes(self) -> Float[Tensor, " classes"]:
        """What each class counts for, :data:`LEAST` at least, in float64.

        Raises:
            UserError: nobody said how many samples there are.
        """
        if self._given is None or self._trusted is None:
            raise UserError(
                f"the loss {self.name} goes by how many training samples each class has, but nobody says; give "
                f"make_loss({self.name!r}, class_sizes=[...])"
            )
        return (self._given + self._trusted if self.state is None else self.state).clamp(min=LEAST)

    def table(self, like: Tensor) -> Float[Tensor, " classes"]:
        """A number a class, of the dtype and on the device of ``like``."""
        return self.of(self.sizes).to(like)

    @abstractmethod
    def of(self, sizes: Float[Tensor, " classes"]) -> Float[Tensor, " classes"]:
        """What it makes of sizes, a number a class."""


def effective_factors(sizes: Float[Tensor, " classes"], beta: float) -> Float[Tensor, " classes"]:
    """f_c ∝ (1 − β)/(1 − β^N_c), mean 1 over samples: Σ_c N_c f_c = Σ_c N_c (Cui et al. 2019); ∝ 1/N_c at β = 1.

    So the weighted mean of PyTorch's cross-entropy, in expectation over batches.
    """
    if beta == 1:
        factors = 1 / sizes
    else:
        factors = -(1 - beta) / torch.expm1(sizes * math.log(beta)) if beta else torch.ones_like(sizes)
    return factors * sizes.sum() / (factors * sizes).sum()


def require_trust(loss: str, trust: float) -> None:
    """Refuses a trust outside [0, 1]."""
    require_within(loss, "trust", trust, 0, 1)
