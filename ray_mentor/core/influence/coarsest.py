"""How coarse the types are that a student computes in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves


class Coarsest(TorchFunctionMode):
    """Takes down how coarse the floating-point types are that pass by: autocast may be on inside of a student.

    Attributes:
        eps: the coarsest rounding so far, relative; 0 before the first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.eps = 0.0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in tree_leaves(out):
            if isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex()):
                self.eps = max(self.eps, _rounding(value))
        return out


def _rounding(tensor: Tensor) -> float:
    """Relative; of float32 that of the products that PyTorch may take for it."""
    eps = float(torch.finfo(tensor.dtype).eps)
    if tensor.dtype != torch.float32:
        return eps
    precise = torch.get_float32_matmul_precision()
    if precise == "medium":
        return float(torch.finfo(torch.bfloat16).eps)
    coarse = precise == "high" or (tensor.is_cuda and torch.backends.cudnn.allow_tf32)
    return _TF32 if coarse else eps


_TF32 = 2.0**-10
