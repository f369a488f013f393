"""What a per-sample loss is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor

PerSampleLoss = Callable[[Any, Tensor], Tensor]
"""(what the student returns, as a rule logits (batch, classes); labels (batch,)) -> losses (batch,), differentiable,
one per sample."""


class GivenLabelLoss(ABC):
    """A loss of labels that may be wrong; where a label is known to be right, it is another."""

    @abstractmethod
    def __call__(
        self,
        logits: Float[Tensor, "batch classes"],
        labels: Int[Tensor, " batch"],
        trusted: Bool[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, " batch"]:
        """The per-sample losses.

        Args:
            trusted: whose labels are right; None: nobody's are known to be.
        """


class TargetLoss(ABC):
    """A loss with a target of each sample's own, which is remembered from one visit to the next: as many numbers as
    there are classes. What is remembered lies with the loss history, and is in every checkpoint.
    """

    @abstractmethod
    def target(
        self, logits: Float[Tensor, "batch classes"], before: Float[Tensor, "batch classes"]
    ) -> Float[Tensor, "batch classes"]:
        """The targets of this visit, constants, which are remembered.

        Args:
            before: those of the last visit; NaN where this is the first.
        """

    @abstractmethod
    def __call__(
        self,
        logits: Float[Tensor, "batch classes"],
        labels: Int[Tensor, " batch"],
        targets: Float[Tensor, "batch classes"] | None = None,
    ) -> Float[Tensor, " batch"]:
        """The per-sample losses; targets are never None."""
