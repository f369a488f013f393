"""A small convolutional student: minutes on a CPU, and enough to show label noise at work."""

from __future__ import annotations

import itertools
from typing import final

from jaxtyping import Float
from torch import Tensor, nn


@final
class CNN(nn.Module):
    """(3×3 conv, batch norm, ReLU, 2×2 max pool) for each width → mean over pixels → linear."""

    def __init__(self, n_channels: int, n_classes: int, widths: tuple[int, ...] = (32, 64, 128)) -> None:
        super().__init__()
        blocks = (_block(n_in, n_out) for n_in, n_out in itertools.pairwise((n_channels, *widths)))
        self.body = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(widths[-1], n_classes)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Returns the logits; the images are at least 2^blocks pixels high and wide."""
        logits: Tensor = self.head(self.body(images))
        return logits


def _block(n_in: int, n_out: int) -> nn.Sequential:
    conv = nn.Conv2d(n_in, n_out, kernel_size=3, padding=1, bias=False)  # batch norm brings the bias
    return nn.Sequential(conv, nn.BatchNorm2d(n_out), nn.ReLU(), nn.MaxPool2d(2))
