"""A loss of each of two students."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ray_mentor.core.losses.base import PerSampleLoss


@dataclass(frozen=True)
class OfBoth:
    """A column a student: what each student's outputs come to under a loss.

    Of inputs that hold several views of each sample, one view of all after the other, it is the mean over views. In
    evaluation a pair is one student, (batch, classes), and so it has one loss, (batch,).

    Args:
        loss: of one student.
    """

    loss: PerSampleLoss

    def __call__(
        self, outputs: Float[Tensor, "views*batch ... classes"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch ..."]:
        """The per-sample losses of both."""
        if outputs.ndim == _OF_ONE:
            return self.loss(outputs, labels)
        of_views = labels.repeat(len(outputs) // max(len(labels), 1))
        losses = torch.stack([self.loss(each, of_views) for each in outputs.unbind(dim=1)], dim=1)
        return mean_of_views(losses, len(labels))


_OF_ONE = 2  # dimensions of one student's outputs


def mean_of_views(values: Float[Tensor, "views*batch ..."], size: int) -> Float[Tensor, "batch ..."]:
    """The mean over the views of each sample, which lie one view of all after the other.

    Args:
        size: samples.
    """
    return values if len(values) == size else values.reshape(-1, size, *values.shape[1:]).mean(dim=0)
