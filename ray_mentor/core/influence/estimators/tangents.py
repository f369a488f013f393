"""Forward mode whose derivatives are those of the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ray_mentor.core.influence.estimators import norms


@contextmanager
def tangents_where_gradients_flow() -> Iterator[Mirror]:
    """In this block tangents flow where gradients would: not through what runs under ``torch.no_grad()``.

    PyTorch's forward mode looks through ``no_grad`` (not through ``detach``, nor ``inference_mode``), so a constant
    that is computed under it would have a tangent, though never a gradient. The few functions whose forward formula is
    missing or another than their backward one have a stand-in here.
    """
    with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True), Mirror() as mirror:
        yield mirror


class Mirror(TorchFunctionMode):
    """Switches forward mode on and off together with gradients.

    Attributes:
        float16: whether any result so far was of that type: autocast may be on inside of a student.
    """

    def __init__(self) -> None:
        super().__init__()
        self.float16 = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = _STAND_INS.get(func, func)(*args, **(kwargs or {}))
        if func is torch._C._set_grad_enabled:
            torch._C._set_fwd_grad_enabled(torch.is_grad_enabled())
        if isinstance(result, Tensor):
            self.float16 |= result.dtype == torch.float16
        return result


def _gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """PyTorch's clamps the variance under ``no_grad``, inside, where no mode sees it; here that is done before."""
    if isinstance(var, Tensor):
        var, eps = torch.where(var < eps, eps + (var - var.detach()), var), 0.0
    return functional.gaussian_nll_loss(input, target, var, full, eps, reduction)


def _binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """PyTorch's tangent is NaN at probabilities of 0 and 1, which a sure student gives; its gradient is finite."""
    p = input.detach()
    losses = functional.binary_cross_entropy(p, target, reduction="none")
    losses = losses + (p - target.detach()) / ((1 - p) * p).clamp(min=1e-12) * (input - p)
    losses = losses if weight is None else weight * losses
    if reduce is False or (reduce is None and size_average is None and reduction == "none"):
        return losses
    if size_average is False or (size_average is None and reduce is None and reduction == "sum"):
        return losses.sum()
    return losses.mean()


def _prelu(input: Tensor, weight: Tensor) -> Tensor:
    """PyTorch's tangent at 0 has slope 1, its gradient the weight's."""
    slopes = weight.view([1, -1] + [1] * (input.dim() - 2)) if input.dim() > 1 else weight
    return torch.where(input > 0, input, slopes * input)


def _lstm(*args: Any, **kwargs: Any) -> Any:
    """PyTorch's own in place of oneDNN's, which has no forward mode."""
    was_enabled = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        return torch.lstm(*args, **kwargs)
    finally:
        torch._C._set_mkldnn_enabled(was_enabled)


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """PyTorch's own has no forward mode."""
    return v * (g / torch.norm_except_dim(v, 2, dim))


_STAND_INS: dict[Callable[..., Any], Callable[..., Any]] = {
    functional.batch_norm: norms.batch_norm,
    functional.group_norm: norms.group_norm,
    functional.instance_norm: norms.instance_norm,
    functional.layer_norm: norms.layer_norm,
    functional.gaussian_nll_loss: _gaussian_nll_loss,
    functional.binary_cross_entropy: _binary_cross_entropy,
    torch.prelu: _prelu,
    torch.lstm: _lstm,
    torch._weight_norm: _weight_norm,
}
