"""Small students of every kind that a step has to be exact for; float64, three classes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from stand_ins import TiedAndFrozen
from torch import Tensor, nn

CLASSES = 3


class Transformer(nn.Module):
    """Four tokens of width eight, one encoder layer, the mean of the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, activation="gelu", batch_first=True)
        self.leave = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.layer(x).mean(dim=1))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, CLASSES))


def conv_batch_norm() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.GELU(),
        nn.Conv2d(4, 4, 3, stride=2, bias=False),
        nn.BatchNorm2d(4, momentum=None),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(16, CLASSES),
    )


def mlp_dropout() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(0.4), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, CLASSES))


STUDENTS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (mlp, (5,)),
    "conv with batch norm": (conv_batch_norm, (2, 6, 6)),
    "transformer": (Transformer, (4, 8)),
    "mlp with dropout": (mlp_dropout, (5,)),
    "tied and frozen params": (TiedAndFrozen, (5,)),
}
"""By name: what makes it, and the shape of one input."""


def make_student(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return STUDENTS[name][0]().double().train()


def samples(name: str, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """n inputs and labels for a student."""
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, *STUDENTS[name][1], generator=draw, dtype=torch.float64)
    return inputs, torch.randint(CLASSES, (n,), generator=draw)
