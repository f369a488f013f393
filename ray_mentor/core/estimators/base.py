"""The interface of an influence estimator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor, nn

from ray_mentor.core.gradient_rules.base import Gradient
from ray_mentor.core.meta_step import MetaBatch
from ray_mentor.core.student_step import TakenStep


class AbstractEstimator(ABC):
    """Per-sample influences of a step that was taken: s_i = ∂M(θ')/∂ŵ_i = ⟨D∇M(θ'), ∇ℓ_i(θ)⟩.

    Without a trace: params, buffers, gradients, mode and random state stay as they are.

    Attributes:
        whole_optimizer: whether it needs the optimizer's state from before the step.
        look_ahead: how many steps M lies ahead of θ, >= 1.
    """

    whole_optimizer: ClassVar[bool] = False
    look_ahead: int = 1

    @abstractmethod
    def __call__(
        self, steps: Sequence[TakenStep], meta: MetaBatch, direction: Gradient, chosen: Int[Tensor, " chosen"]
    ) -> Float[Tensor, " chosen"]:
        """The influences of some samples of the first step, in the mode (train or eval) the student is in.

        Args:
            steps: the last ``look_ahead`` steps, oldest first.
            meta: this rank's share of the meta batch.
            direction: D∇M(θ') by param name; an absent name counts as 0.
            chosen: rows of the first step's batch. A student with batch norm in training mode normalises over
                exactly these, so choose the whole (rank's) batch for the exact influence.
        """

    def names(self, student: nn.Module) -> Collection[str] | None:
        """The params along which it asks for the direction; None for all."""
        return None
