"""A multilayer perceptron: the student for flat features and tiny images."""

from __future__ import annotations

import itertools
from typing import final

from jaxtyping import Float
from torch import Tensor, nn


@final
class MLP(nn.Module):
    """Flattened input → (linear, ReLU) for each hidden width → linear."""

    def __init__(self, n_inputs: int, n_classes: int, hidden: tuple[int, ...] = (256, 256)) -> None:
        super().__init__()
        widths = (n_inputs, *hidden)
        layers = (layer for n_in, n_out in itertools.pairwise(widths) for layer in (nn.Linear(n_in, n_out), nn.ReLU()))
        self.body = nn.Sequential(nn.Flatten(), *layers)
        self.head = nn.Linear(widths[-1], n_classes)

    def forward(self, inputs: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch classes"]:
        """Returns the logits."""
        logits: Tensor = self.head(self.body(inputs))
        return logits
