"""The interface of a weighting."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.step.observation import Observation


class AbstractWeighting(ABC):
    """Gives every sample of the global batch a sample weight in [0, 1]; of two students a column each, where the
    observation has losses of both.

    Attributes:
        needs_slopes: whether it asks for ⟨∇M(θ), ∇ℓ_i⟩ of each sample before the step, which costs two plain steps.
        weighs_trusted: whether trusted samples that are trained on have the weight that it says, too, and not 1.
    """

    needs_slopes: ClassVar[bool] = False
    weighs_trusted: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, observation: Observation) -> Float[Tensor, "batch ..."]:
        """Returns w, the same on every rank; a collective call where ranks share a mentor."""

    def stepped(self) -> None:  # noqa: B027 - most remember nothing
        """The student has stepped under what was said last: what is remembered of that batch may count from now on."""
