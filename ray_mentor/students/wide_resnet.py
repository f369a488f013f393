"""The wide residual network of Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016."""

from __future__ import annotations

from typing import final

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ray_mentor.errors import UserError


@final
class WideResNet(nn.Module):
    """WRN-d-k: 3×3 stem of 16, three stages of n pre-activation blocks of 16k, 32k, 64k channels; d = 6n + 4.

    WRN-28-10 has 36.5 M params on CIFAR-10. Convolutions start from He's normal distribution over the fan-out,
    N(0, 2 / fan_out).
    """

    def __init__(self, n_channels: int, n_classes: int, depth: int = 28, widen: int = 10, dropout: float = 0.0) -> None:
        """Builds the network.

        Args:
            n_channels: of the images.
            n_classes: number of logits.
            depth: d = 6n + 4, n >= 1.
            widen: k >= 1.
            dropout: rate between the two convolutions of a block, in [0, 1); the paper uses 0 or 0.3.

        Raises:
            UserError: an argument outside these rules.
        """
        super().__init__()
        _check(depth, widen, dropout)
        n_blocks = (depth - 4) // 6
        widths = (16 * widen, 32 * widen, 64 * widen)
        stages = [
            _stage(16, widths[0], n_blocks, 1, dropout),
            _stage(widths[0], widths[1], n_blocks, 2, dropout),
            _stage(widths[1], widths[2], n_blocks, 2, dropout),
        ]
        last = (nn.BatchNorm2d(widths[2]), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.body = nn.Sequential(_conv(n_channels, 16, kernel=3, stride=1), *stages, *last)
        self.head = nn.Linear(widths[2], n_classes)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Returns the logits."""
        logits: Tensor = self.head(self.body(images))
        return logits


@final
class PreActivationBlock(nn.Module):
    """conv(dropout(relu(BN(conv(a))))) + shortcut with a = relu(BN(x)).

    The shortcut is x itself, or a 1×1 convolution of a where the shape changes.
    """

    def __init__(self, n_in: int, n_out: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(n_in)
        self.residual = nn.Sequential(
            _conv(n_in, n_out, 3, stride),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Dropout(dropout) if dropout > 0 else nn.Identity(),
            _conv(n_out, n_out, 3, 1),
        )
        changes_shape = stride != 1 or n_in != n_out
        self.projection = _conv(n_in, n_out, 1, stride) if changes_shape else None

    def forward(self, x: Float[Tensor, "batch in h w"]) -> Float[Tensor, "batch out h2 w2"]:
        """Returns the block's output, stride times smaller."""
        activated = F.relu(self.norm(x))
        shortcut = x if self.projection is None else self.projection(activated)
        output: Tensor = self.residual(activated) + shortcut
        return output


def _stage(n_in: int, n_out: int, n_blocks: int, stride: int, dropout: float) -> nn.Sequential:
    rest = (PreActivationBlock(n_out, n_out, 1, dropout) for _ in range(n_blocks - 1))
    return nn.Sequential(PreActivationBlock(n_in, n_out, stride, dropout), *rest)


def _conv(n_in: int, n_out: int, kernel: int, stride: int) -> nn.Conv2d:
    conv = nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


def _check(depth: int, widen: int, dropout: float) -> None:
    if depth < 10 or depth % 6 != 4:
        raise UserError(f"depth is {depth!r}, but a wide ResNet has 6n + 4 layers; use 10, 16, 22, 28, 40, ...")
    if widen < 1:
        raise UserError(f"widen is {widen!r}, but it must be at least 1; WRN-28-10 has 10")
    if not 0.0 <= dropout < 1.0:
        raise UserError(f"dropout is {dropout!r}, but it must lie in [0, 1); the paper uses 0 or 0.3")
