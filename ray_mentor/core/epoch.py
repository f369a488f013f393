"""What parts of a method find out once an epoch, when it has ended."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class EpochEnd:
    """The end of an epoch. What is asked for takes a pass over samples, is the same on every rank, and is a collective
    call: all ranks ask, or none.

    Attributes:
        done: epochs done, this one included.
        progress: share of the planned steps that are done, in (0, 1].
        remembered: what the part that keeps numbers of each sample has kept, by row, NaN where there is nothing. Takes
            no pass, but a message of as many numbers.
        errors: 1 − p_y of each sample of the validation split, y its given label, in evaluation mode; in float64. None
            where nobody goes by them.
        predicted: Σ of what the student predicts for the trusted samples of each class, behind it how many these are.
        labelled: the loss that features are made of, of each trusted sample under each label, and behind them the right
            label, in float64.
        percentile: the running one of the training losses; None where there is none yet.
        class_shares: of each class, the mean weight that a mentor lately gave its samples over that of all, NaN where
            nothing is known; empty where nobody is weighed. In float64.
        agreed: rank 0's tensor, on every rank.
        tell: says something to whoever watches.
    """

    done: int
    progress: float
    predicted: Callable[[], Float[Tensor, "classes classes+1"]]
    errors: Float[Tensor, " validation"] | None = None
    remembered: Callable[[], Float[Tensor, "samples keeps"]] = lambda: torch.empty(0, 0)
    labelled: Callable[[], Float[Tensor, "samples classes+1"]] = lambda: torch.empty(0, 1, dtype=torch.float64)
    percentile: float | None = None
    class_shares: Callable[[], Float[Tensor, " classes"]] = lambda: torch.empty(0, dtype=torch.float64)
    agreed: Callable[[Tensor], Tensor] = lambda tensor: tensor
    tell: Callable[[str], None] = lambda text: None


class AtEpoch(ABC):
    """A part of a method that finds something out when an epoch has ended.

    Attributes:
        state: what it has found, float64; None where nothing yet. It is in every checkpoint.
    """

    state: Tensor | None = None

    @abstractmethod
    def at_epoch(self, end: EpochEnd) -> None:
        """Takes in the end of an epoch."""

    @abstractmethod
    def could_be(self, state: Tensor, n_classes: int) -> bool:
        """Whether a tensor of finite float64 from a checkpoint could be what this part has found."""
