"""Learning from other labels than the given ones: the interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import nn

from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.step.record import Weighed


class AbstractRelabelling(ABC):
    """Makes what a student learns from out of what it has said of a batch.

    Where it is due the student first looks at the batch without learning, and the batch is observed and weighed by
    that; then comes the call.

    Attributes:
        views: ways in which each sample is shown at such a step, where the run augments.
    """

    views: ClassVar[int] = 1

    @property
    @abstractmethod
    def is_due(self) -> bool:
        """Whether the step that comes is one; the same on every rank."""

    @abstractmethod
    def __call__(
        self, looked: Weighed, student: nn.Module, exchange: AbstractExchange, generator: torch.Generator
    ) -> Weighed:
        """The training forward pass: losses, their shares ŵ and this rank's loss, in place of those of ``looked``.

        Args:
            looked: this rank's batch, whose ``seen.outputs`` are what the student said; its inputs hold the views of
                all samples one after the other.
            student: wrapped where it is data-parallel.
            generator: the only source of randomness; one of each rank's own.
        """
