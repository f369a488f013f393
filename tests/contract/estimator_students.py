"""Small students that an influence estimator has to serve, and one input's shape for each."""

from __future__ import annotations

from collections.abc import Callable

import torch
from stand_ins import TiedAndFrozen
from torch import Tensor, nn

CLASSES = 3


class Block(nn.Module):
    """Two convolutions with batch norm and ReLU around a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.layers(x))


class Counting(nn.Module):
    """Its outputs answer to a buffer that each call in training mode changes."""

    def __init__(self) -> None:
        super().__init__()
        self.leave = nn.Linear(5, CLASSES)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.leave(x * self.calls)


class Transformer(nn.Module):
    """Four tokens of width eight, one encoder layer, the mean of the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.1, activation="gelu", batch_first=True)
        self.leave = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.layer(x).mean(dim=1))


def residual() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        Block(6),
        Block(6),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, CLASSES),
    )


def head_only() -> nn.Module:
    """A frozen body under a head that is trained."""
    body = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(0.3)).requires_grad_(False)
    return nn.Sequential(body, nn.Linear(8, CLASSES))


STUDENTS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(5, CLASSES), (5,)),
    "mlp": (lambda: nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, CLASSES)), (5,)),
    "mlp, relu, dropout": (
        lambda: nn.Sequential(
            nn.Linear(5, 16), nn.ReLU(), nn.Dropout(0.4), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, CLASSES)
        ),
        (5,),
    ),
    "residual, batch norm": (residual, (2, 6, 6)),
    "transformer": (Transformer, (4, 8)),
    "counts its calls": (Counting, (5,)),
    "tied and frozen": (TiedAndFrozen, (5,)),
    "head only": (head_only, (5,)),
}
HEADS = ("linear", "head only", "counts its calls")
"""Those of which the head alone is trained."""


def make_student(name: str, dtype: torch.dtype = torch.float64, device: str = "cpu", seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return STUDENTS[name][0]().to(device, dtype).train()


def samples(
    name: str, n: int, seed: int, dtype: torch.dtype = torch.float64, device: str = "cpu"
) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, *STUDENTS[name][1], generator=draw, dtype=torch.float64)
    labels = torch.randint(CLASSES, (n,), generator=draw)
    return inputs.to(device, dtype), labels.to(device)
