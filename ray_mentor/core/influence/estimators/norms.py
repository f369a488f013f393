"""Tangents of normalising layers by their own backward kernels.

PyTorch's forward mode writes them in a dozen elementwise passes: on a CPU 4 to 40 times the layer itself. In
y = γ ∘ x̂ + β, x̂ = (x − μ)/σ with a group's own μ and σ, the Jacobian ∂x̂/∂x is symmetric, so the kernel that takes
gradients back takes tangents on; and dγ ∘ x̂ + dβ is the layer itself with other params.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``torch.nn.functional.batch_norm``."""
    rest = training, momentum, eps
    if not _served(input, weight, bias, running_mean, running_var) or (running_mean is None and not training):
        return functional.batch_norm(input, running_mean, running_var, weight, bias, *rest)
    (x, dx), (gamma, d_gamma), (beta, d_beta) = _taken_apart(input), _of(weight), _of(bias)
    y = functional.batch_norm(x, running_mean, running_var, gamma, beta, *rest)
    scale, shift = (_or_zeros(part, y.shape[1:2], gamma, running_mean, x) for part in (d_gamma, d_beta))
    if training:
        tangent, mean, inverse = torch.native_batch_norm(x, scale, shift, None, None, True, 0.0, eps)
        if dx is not None:
            tangent += torch.ops.aten.native_batch_norm_backward(
                dx, x, gamma, None, None, mean, inverse, True, eps, [True, False, False]
            )[0]
    else:
        assert running_mean is not None
        tangent = functional.batch_norm(x, running_mean, running_var, scale, shift, False, 0.0, eps)
        if dx is not None:
            centre = torch.zeros_like(running_mean)
            tangent += functional.batch_norm(dx, centre, running_var, gamma, None, False, 0.0, eps)
    return _dual(y, tangent)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``torch.nn.functional.instance_norm``: a batch norm whose channels are those of every sample."""
    if running_mean is not None or not use_input_stats or not _served(input, weight, bias):
        rest = use_input_stats, momentum, eps
        return functional.instance_norm(input, running_mean, running_var, weight, bias, *rest)
    n, channels, *space = input.shape
    gamma, beta = (None if part is None else part.repeat(n) for part in (weight, bias))
    functional._verify_spatial_size(input.shape)  # type: ignore[attr-defined]
    return batch_norm(input.reshape(1, n * channels, *space), None, None, gamma, beta, True, eps=eps).view(input.shape)


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """``torch.nn.functional.group_norm``."""
    if not _served(input, weight, bias):
        return functional.group_norm(input, num_groups, weight, bias, eps)
    (x, dx), (gamma, d_gamma), (beta, d_beta) = _taken_apart(input), _of(weight), _of(bias)
    y = functional.group_norm(x, num_groups, gamma, beta, eps)
    x = _precise(x)
    dx, gamma, d_gamma, d_beta = (None if part is None else _precise(part) for part in (dx, gamma, d_gamma, d_beta))
    n, channels = y.shape[:2]
    sizes = n, channels, math.prod(y.shape[2:]), num_groups
    scale, shift = (_or_zeros(part, (channels,), x) for part in (d_gamma, d_beta))
    tangent, mean, inverse = torch.native_group_norm(x, scale, shift, *sizes, eps)
    if dx is not None:
        of_x = torch.ops.aten.native_group_norm_backward(dx, x, mean, inverse, None, *sizes, [True, False, False])[0]
        tangent += of_x if gamma is None else of_x * gamma.view(-1, *[1] * (x.dim() - 2))
    return _dual(y, tangent)


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """``torch.nn.functional.layer_norm``."""
    shape = list(normalized_shape)
    if not _served(input, weight, bias):
        return functional.layer_norm(input, shape, weight, bias, eps)
    (x, dx), (gamma, d_gamma), (beta, d_beta) = _taken_apart(input), _of(weight), _of(bias)
    y = functional.layer_norm(x, shape, gamma, beta, eps)
    x = _precise(x)
    dx, gamma, d_gamma, d_beta = (None if part is None else _precise(part) for part in (dx, gamma, d_gamma, d_beta))
    scale, shift = (_or_zeros(part, shape, x) for part in (d_gamma, d_beta))
    tangent, mean, inverse = torch.native_layer_norm(x, shape, scale, shift, eps)
    if dx is not None:
        of_x, *_ = torch.ops.aten.native_layer_norm_backward(
            dx, x, shape, mean, inverse, None, None, [True, False, False]
        )
        tangent += of_x if gamma is None else of_x * gamma
    return _dual(y, tangent)


def _served(input: Tensor, *others: Tensor | None) -> bool:
    """Whether a tangent comes in, and nothing that PyTorch's own formula alone can do is asked for.

    That is: gradients inside of the student, which then have tangents of their own; a vmap; a tensor subclass; running
    figures that were computed from something with a tangent.
    """
    tensors = [part for part in (input, *others) if part is not None]
    running = [part for part in others[2:] if part is not None]
    return (
        forward_ad._is_fwd_grad_enabled()
        and all(type(part) in (Tensor, nn.Parameter) for part in tensors)
        and not any(torch._C._functorch.is_functorch_wrapped_tensor(part) for part in tensors)
        and not (torch.is_grad_enabled() and any(part.requires_grad for part in tensors))
        and not any(forward_ad.unpack_dual(part).tangent is not None for part in running)
        and any(forward_ad.unpack_dual(part).tangent is not None for part in tensors)
        and input.is_floating_point()
        and input.numel() > 0
    )


def _taken_apart(part: Tensor) -> tuple[Tensor, Tensor | None]:
    value, tangent = forward_ad.unpack_dual(part)
    return value, tangent


def _of(param: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    return (None, None) if param is None else _taken_apart(param)


def _dual(y: Tensor, tangent: Tensor) -> Tensor:
    made: Tensor = forward_ad.make_dual(y, tangent.to(y.dtype))
    return made


def _or_zeros(part: Tensor | None, shape: Sequence[int], *like: Tensor | None) -> Tensor:
    """A tangent, or that of a param that has none."""
    return next(each for each in like if each is not None).new_zeros(shape) if part is None else part


def _precise(part: Tensor) -> Tensor:
    """In float32 at least: of short types the kernels take no mixture."""
    return part.to(torch.promote_types(part.dtype, torch.float32))
