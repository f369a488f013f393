"""Batch norm over the global batch, on any device, with a forward mode.

PyTorch's own synchronised batch norm needs a GPU and has no forward-mode formula, which the exact
influences need; this one is written in differentiable sums, so that its formulas follow.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ray_mentor.errors import UserError


class _SumOverRanks(torch.autograd.Function):
    """y = Σ_r x_r on every rank. Linear: gradients and tangents are summed over ranks alike."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return _SumOverRanks.apply(grads[0].contiguous())

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        return _SumOverRanks.apply(tangents[0].contiguous())


class GlobalBatchNorm(_BatchNorm):
    """y = γ·(x − μ)/√(σ² + ε) + β with μ, σ² over the batches of all ranks, which may differ in size.

    Computed in float32 at least, whatever comes in; y has the type of x. Outside of training, or in one process, it is
    plain batch norm.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2 dimensions, got {input.dim()}")

    def forward(self, input: Tensor) -> Tensor:
        """Normalises ``input`` of shape (batch, channels, ...)."""
        self._check_input_dim(input)
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        dims = [d for d in range(x.dim()) if d != 1]
        count = x.new_tensor([x.numel() // x.shape[1]], dtype=torch.float64)
        sums = _SumOverRanks.apply(torch.cat([x.sum(dims).double(), count]))
        mean, total = (sums[:-1] / sums[-1]).to(x.dtype), sums[-1].detach()
        shape = [1, -1] + [1] * (x.dim() - 2)
        centred = x - mean.view(shape)
        variance = (_SumOverRanks.apply((centred * centred).sum(dims).double()) / total).to(x.dtype)
        self._track(mean.detach(), variance.detach() * (total / (total - 1).clamp(min=1)).to(x.dtype))
        normal = centred * torch.rsqrt(variance + self.eps).view(shape)
        result: Tensor = normal * self.weight.view(shape) + self.bias.view(shape) if self.affine else normal
        return result.to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, unbiased: Tensor) -> None:
        if not self.track_running_stats or self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        rate = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), rate)
        self.running_var.lerp_(unbiased.to(self.running_var), rate)


def synchronised(student: nn.Module) -> nn.Module:
    """The student with every batch norm in it made global; params and buffers are taken over.

    Raises:
        UserError: a batch norm that does more than one, as timm's with an activation in it: that would be lost.
    """
    for name, child in student.named_children():
        setattr(student, name, synchronised(child))
    if not isinstance(student, _BatchNorm) or isinstance(student, GlobalBatchNorm):
        return student
    if type(student).forward not in _PLAIN:
        raise UserError(
            f"sync_batch_norm is on, but the student has a {type(student).__name__}, which is more than a batch norm; "
            "leave it out, or give another --student"
        )
    made = GlobalBatchNorm(
        student.num_features, student.eps, student.momentum, student.affine, student.track_running_stats
    )
    made.weight, made.bias = student.weight, student.bias  # the params themselves: frozen ones stay so
    made.running_mean, made.running_var = student.running_mean, student.running_var
    made.num_batches_tracked = student.num_batches_tracked
    return made.train(student.training)


_PLAIN = (_BatchNorm.forward, nn.SyncBatchNorm.forward)
