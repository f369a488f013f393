"""The interface of an influence estimator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ray_mentor.core.batch import Batch, MetaBatch
from ray_mentor.core.influence.heard import Heard
from ray_mentor.core.influence.step_jacobian import check_optimizer, is_closed_form
from ray_mentor.core.influence.taken_step import TakenStep
from ray_mentor.core.step.gradient_rules.base import Gradient


class AbstractEstimator(ABC):
    """Per-sample influences of a step that was taken: s_i = ∂M(θ')/∂ŵ_i = ⟨D∇M(θ'), ∇ℓ_i(θ)⟩.

    The step is U at the gradient g that the optimizer was given, and s_i is the derivative of M(U(g + Σ_i ε_i ∇ℓ_i))
    in ε_i at 0. So with several micro-batches a step, the influences of the last one's samples are those of the whole
    step. What lies between backward pass and optimizer (a gradient rule, clipping in a loop of one's own) is in g, and
    counts as a constant: a factor c, which the derivative in ŵ_i would carry, is left out of s, the same for all
    samples. Clipping that the curriculum does (``clip``) is differentiated: D is that of both. Only a param whose
    gradient was set to 0, all of it, or taken away, has no part in s: no sample moves it.

    Without a trace: params, buffers, gradients, mode and random state stay as they are.

    Args:
        look_ahead: how many steps M lies ahead of θ, >= 1; more than 1 for `unrolled` alone.

    Attributes:
        said: of the last look, what the student returned for the rows it passed and its tangent along D∇M(θ'), where
            the estimator has both, and the student returns one tensor; else None.
        needs_direction: whether it reads D∇M(θ').
        whole_optimizer: whether it needs the optimizer's state from before the step.
        is_measured: whether its influences are finite differences, and no derivatives.
    """

    needs_direction: ClassVar[bool] = True
    whole_optimizer: ClassVar[bool] = False
    is_measured: ClassVar[bool] = False

    def __init__(self, look_ahead: int = 1) -> None:
        self.look_ahead = look_ahead
        self.said: tuple[Tensor, Tensor] | None = None

    @abstractmethod
    def __call__(
        self, steps: Sequence[TakenStep], meta: MetaBatch, direction: Gradient, chosen: Int[Tensor, " chosen"]
    ) -> Float[Tensor, " chosen"]:
        """The influences of some samples of the first step, in the mode (train or eval) the student is in.

        Args:
            steps: the last ``look_ahead`` steps, oldest first.
            meta: this rank's share of the meta batch.
            direction: D∇M(θ') by param name; an absent name counts as 0. Empty where it is not needed.
            chosen: rows of the first step's batch. Estimators that pass through the student again pass these alone
                (:func:`passed`): one with batch norm in training mode normalises over exactly these, so choose the
                whole (rank's) batch for the exact influence.
        """

    def check(self, student: nn.Module, optimizers: Sequence[torch.optim.Optimizer], world_size: int) -> None:
        """Refuses what it cannot work with, before the first step.

        Args:
            student: bare.

        Raises:
            UserError: naming it, and what would do.
        """
        for optimizer in optimizers:
            check_optimizer(optimizer)

    def remembers_optimizer(self, optimizers: Sequence[torch.optim.Optimizer]) -> bool:
        """Whether the optimizers' whole state must be remembered from before the step."""
        return self.whole_optimizer or not all(map(is_closed_form, optimizers))

    def names(self, student: nn.Module) -> Collection[str] | None:
        """The params along which it asks for the direction; None for all."""
        return None if self.needs_direction else ()

    def listen(self, student: nn.Module) -> Heard | None:
        """Begins to listen to the student's training forward pass; None for estimators that need nothing of it.

        Args:
            student: bare.
        """
        return None


def passed(batch: Batch, chosen: Int[Tensor, " chosen"]) -> tuple[Batch, Int[Tensor, " chosen"] | slice]:
    """What is passed through the student for some samples' losses, and which of its losses are theirs.

    These samples alone; all of the batch where inputs can't be told apart by rows.
    """
    return (batch[chosen], slice(None)) if batch.is_by_rows else (batch, chosen)
