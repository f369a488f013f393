"""The interface of a mixing, and the one that mixes nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from ray_mentor.core.batch import Batch


class AbstractMixing(ABC):
    """A batch in, a batch of the same rows out."""

    @abstractmethod
    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Mixes one rank's batch; all randomness comes from ``generator`` (on the CPU)."""


class NoMixing(AbstractMixing):
    """Every sample as it is."""

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        return batch
