"""Where a student would be had its learning rate been larger, to first order: a sum of the steps it took."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ray_mentor.core.step.gradient_rules.base import Gradient
from ray_mentor.core.student.copies import copy_into, named_copies


class Trace:
    """z ← γ·z + (θ' − θ): ∂θ'/∂a of a student whose steps all have the factor e^a, without the Hessian's part.

    It is kept as the params' exponential average m ← γ·m + (1 − γ)·θ, since z = θ' − m: one operator a step, and no
    difference of two steps that float32 would round away. γ = 0: the last step alone; γ = 1: θ' − θ_0, which the
    learning-rate-free methods multiply with the training gradient.

    Args:
        student: bare; z is 0 as it is.
        decay: γ, in [0, 1].

    Attributes:
        average: m, by param name.
    """

    def __init__(self, student: nn.Module, decay: float) -> None:
        self._live = {name: param for name, param in student.named_parameters() if param.requires_grad}
        self._decay = decay
        self.average = named_copies(self._live)

    @torch.no_grad()
    def before_step(self) -> None:
        """Takes in θ."""
        torch._foreach_lerp_(list(self.average.values()), list(self._live.values()), 1 - self._decay)

    @torch.no_grad()
    def slope(self, gradient: Gradient) -> float:
        """⟨∇M(θ'), z⟩, in float64: ∂M/∂a."""
        total = torch.zeros((), dtype=torch.float64, device=next(iter(self._live.values())).device)
        for name, slope in gradient.items():
            if name not in self._live:  # it was frozen when training began
                continue
            param, average = self._live[name].detach(), self.average[name]
            way = param - average
            total += torch.dot(_flat(slope), _flat(way))
        return float(total)

    def forget(self) -> None:
        """Z = 0: the steps so far were of rates that no longer matter."""
        copy_into(list(self.average.values()), [self._live[name] for name in self.average])

    def load(self, average: Mapping[str, Tensor]) -> None:
        """Goes on from there."""
        copy_into([self.average[name] for name in average], list(average.values()))


def _flat(tensor: Tensor) -> Tensor:
    real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return real.reshape(-1).double()
