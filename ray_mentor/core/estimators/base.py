"""The interface of an influence estimator."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from ray_mentor.core.batch import Batch
from ray_mentor.core.losses import PerSampleLoss
from ray_mentor.core.student_step import Before


class AbstractEstimator(ABC):
    """Per-sample influences, without a trace: params, buffers, gradients, mode and random state stay as they are."""

    @abstractmethod
    def __call__(
        self, student: nn.Module, loss: PerSampleLoss, batch: Batch, before: Before, direction: dict[str, Tensor]
    ) -> Float[Tensor, " batch"]:
        """s_i = ⟨direction, ∇ℓ_i(θ)⟩, θ = ``before.params``, in the mode (train or eval) the student is in.

        Args:
            batch: the samples asked about. A student with batch norm in training mode normalises over
                exactly these, so give it the whole (rank's) batch for the exact influence.
            direction: D∇M(θ') by param name; an absent name counts as 0.
        """
