"""Students whose forward pass changes something, or draws from where nobody looks: five values in, three classes out.

A student must be able to be called again on the same samples with the same result. Those of `REPEATABLE` can be, those
of `UNREPEATABLE` not; of those of `HOOKED` a call does not show what their gradient is.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

FEATURES, CLASSES = 5, 3


class _TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(FEATURES, 7)
        self.leave = nn.Linear(7, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.hidden(x))

    def hidden(self, x: Tensor) -> Tensor:
        return torch.tanh(self.enter(x))


class NormalisesInPlace(_TwoLayers):
    """Writes over its inputs: what is passed through it again is normalised twice."""

    def hidden(self, x: Tensor) -> Tensor:
        x.sub_(0.5).mul_(0.7)
        return super().hidden(x)


class MasksOfNumpy(_TwoLayers):
    """Draws its dropout masks from NumPy's global generator."""

    def hidden(self, x: Tensor) -> Tensor:
        hidden = super().hidden(x)
        return hidden * torch.from_numpy(np.random.rand(*hidden.shape) < 0.6).to(hidden) / 0.6  # noqa: NPY002


class MasksOfPython(_TwoLayers):
    """Draws which units are dropped from Python's global generator."""

    def hidden(self, x: Tensor) -> Tensor:
        hidden = super().hidden(x)
        return hidden * torch.tensor([random.random() < 0.6 for _ in range(7)]).to(hidden) / 0.6


class MasksOfItsOwn(_TwoLayers):
    """Draws its dropout masks from a generator that it holds: another pass draws others."""

    def __init__(self) -> None:
        super().__init__()
        self.draw = torch.Generator().manual_seed(0)

    def hidden(self, x: Tensor) -> Tensor:
        hidden = super().hidden(x)
        return hidden * (torch.rand(hidden.shape, generator=self.draw) < 0.6).to(hidden) / 0.6


class CountsInPython(_TwoLayers):
    """Anneals by a counter that is no buffer: each call sees another value."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def hidden(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().hidden(x) * self.calls


class TurnsGradients(_TwoLayers):
    """Turns the gradient round by a hook, where there is one: forward passes alone don't show it."""

    def hidden(self, x: Tensor) -> Tensor:
        hidden = super().hidden(x)
        if hidden.requires_grad:
            hidden.register_hook(lambda slope: -0.4 * slope)
        return hidden


class TurnsGradientsOfALayer(_TwoLayers):
    """The same by a hook of the layer's."""

    def __init__(self) -> None:
        super().__init__()
        self.turned = nn.Identity()
        self.turned.register_full_backward_hook(_turned)

    def hidden(self, x: Tensor) -> Tensor:
        turned: Tensor = self.turned(super().hidden(x))
        return turned


def _turned(layer: nn.Module, into: tuple[Tensor, ...], out_of: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(-0.4 * slope for slope in into)


REPEATABLE: dict[str, Callable[[], nn.Module]] = {
    "masks of numpy": MasksOfNumpy,
    "masks of python": MasksOfPython,
}
"""Another pass gives the same, since all global generators are put back."""

UNREPEATABLE: dict[str, Callable[[], nn.Module]] = {
    "masks of its own": MasksOfItsOwn,
    "counts in python": CountsInPython,
}
"""Another pass gives something else, and so do influences that rest on one."""

HOOKED: dict[str, Callable[[], nn.Module]] = {
    "turns gradients": TurnsGradients,
    "turns gradients of a layer": TurnsGradientsOfALayer,
}
"""What changes their gradient is seen in a backward pass alone: not by estimators that make none."""
