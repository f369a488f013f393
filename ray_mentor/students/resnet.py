"""The CIFAR ResNet of He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2."""

from __future__ import annotations

from typing import final

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ray_mentor.errors import UserError


@final
class ResNet(nn.Module):
    """3×3 stem, three stages of n basic blocks, mean over pixels, linear; depth = 6n + 2.

    The published widths (16, 32, 64) give 0.46 M params at depth 32. Convolutions start from He's normal
    distribution, N(0, 2 / fan_in).
    """

    def __init__(
        self, n_channels: int, n_classes: int, depth: int = 32, widths: tuple[int, int, int] = (16, 32, 64)
    ) -> None:
        """Builds the network.

        Raises:
            UserError: a depth that is not 6n + 2 with n >= 1.
        """
        super().__init__()
        if depth < 8 or depth % 6 != 2:
            raise UserError(f"depth is {depth!r}, but a CIFAR ResNet has 6n + 2 layers; use 8, 14, 20, 32, 44, 56, ...")
        n_blocks = (depth - 2) // 6
        stem = nn.Sequential(_conv(n_channels, widths[0], stride=1), nn.BatchNorm2d(widths[0]), nn.ReLU())
        stages = [
            _stage(widths[0], widths[0], n_blocks, stride=1),
            _stage(widths[0], widths[1], n_blocks, stride=2),
            _stage(widths[1], widths[2], n_blocks, stride=2),
        ]
        self.body = nn.Sequential(stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(widths[2], n_classes)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Returns the logits."""
        logits: Tensor = self.head(self.body(images))
        return logits


@final
class BasicBlock(nn.Module):
    """relu(BN(conv(relu(BN(conv(x))))) + shortcut(x)), the shortcut without params (option A)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _conv(n_in, n_out, stride), nn.BatchNorm2d(n_out), nn.ReLU(), _conv(n_out, n_out, 1), nn.BatchNorm2d(n_out)
        )
        self.stride = stride
        self.n_extra = n_out - n_in

    def forward(self, x: Float[Tensor, "batch in h w"]) -> Float[Tensor, "batch out h2 w2"]:
        """Returns the block's output, stride times smaller."""
        return F.relu(self.residual(x) + self._shortcut(x))

    def _shortcut(self, x: Float[Tensor, "batch in h w"]) -> Float[Tensor, "batch out h2 w2"]:
        """Option A: every stride-th pixel, and zeros for the channels that are new."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.n_extra))


def _stage(n_in: int, n_out: int, n_blocks: int, stride: int) -> nn.Sequential:
    rest = (BasicBlock(n_out, n_out, stride=1) for _ in range(n_blocks - 1))
    return nn.Sequential(BasicBlock(n_in, n_out, stride), *rest)


def _conv(n_in: int, n_out: int, stride: int) -> nn.Conv2d:
    conv = nn.Conv2d(n_in, n_out, kernel_size=3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return conv
