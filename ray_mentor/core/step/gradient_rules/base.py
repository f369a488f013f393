"""The interface of a gradient rule, and the one that changes nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

Gradient = dict[str, Tensor]
"""Gradients by parameter name; what has none is absent."""


class AbstractGradientRule(ABC):
    """Decides what the student's optimizer is given.

    Attributes:
        needs_meta_gradient: whether the rule asks for ∇M(θ), before the step; costs one more
            forward and backward pass over a meta batch per step.
        state: what it remembers from one step to the next, for a checkpoint; None for nothing.
    """

    needs_meta_gradient: ClassVar[bool]
    state: float | None = None

    @abstractmethod
    def __call__(self, train: Gradient, meta: Gradient | None) -> Gradient:
        """Returns the gradient to apply; the same keys as ``train``."""


class Identity(AbstractGradientRule):
    """The train gradient as it is."""

    needs_meta_gradient = False

    def __call__(self, train: Gradient, meta: Gradient | None) -> Gradient:
        return train
