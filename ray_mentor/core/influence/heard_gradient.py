"""The gradient of a weighed loss, as its backward pass makes it."""

from __future__ import annotations

import functools
import weakref
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import Variable

from ray_mentor.core.influence.chunks import in_chunks
from ray_mentor.core.step.gradient_rules.base import Gradient
from ray_mentor.errors import UserError


class HeardGradient:
    """∇Σ_i ŵ_i ℓ_i(θ), this rank's part, as the backward pass from the weighed loss hands it to the params.

    Whatever a loop does around it is not in it: what earlier micro-batches left, a factor on the loss (1/K, a gradient
    scaler's), averaging over ranks, unscaling, clipping, a penalty with a backward pass of its own. A term that was
    added to the loss is in it, and cannot be told apart.

    Listens from :meth:`follow` until :meth:`stop`, or until nobody holds it any more. Costs a copy of the gradient.

    Args:
        student: bare.
        room: where the copy is held, by param name; what another has left there is written over. Fresh memory at each
            update cost more than the copies, and what came after it in the same heap up to 7 %.
    """

    def __init__(self, student: nn.Module, room: Gradient | None = None) -> None:
        self._student = student
        self._room: Gradient = {} if room is None else room
        self._found: Gradient = {}
        self._factor: Tensor | None = None
        self._is_open = False
        self._handles: list[Any] = []

    def follow(self, loss: Tensor) -> None:
        """The backward pass that comes is from this loss."""
        if not loss.requires_grad:  # backward will say so
            return
        me = weakref.ref(self)

        def begin(factor: Tensor) -> None:
            if (heard := me()) is not None:
                heard._begin(factor)

        def take(name: str, gradient: Tensor) -> None:
            if (heard := me()) is not None:
                heard._take(name, gradient)

        self._handles = [loss.register_hook(begin)]
        self._handles += [
            param.register_hook(functools.partial(take, name))
            for name, param in self._student.named_parameters()
            if param.requires_grad
        ]
        weakref.finalize(self, _remove, self._handles)

    def stop(self) -> None:
        """Hears no more; what was heard stays."""
        _remove(self._handles)

    def along(self, direction: Gradient) -> Float[Tensor, ""]:
        """⟨direction, ∇Σ_i ŵ_i ℓ_i⟩, summed over params in float64; complex params count as pairs of real ones.

        On the device, as below.

        Raises:
            UserError: if no backward pass came from the loss.
        """
        if self._factor is None:
            raise UserError(
                "no backward pass came from the loss that weigh returned since the student's last forward pass; call "
                "backward on that loss, before the optimizer's step"
            )
        pairs = [(found, direction[name]) for name, found in self._found.items() if name in direction]
        with torch.no_grad():
            parts = [_product(some) for some in in_chunks(pairs, lambda pair: pair[0].numel())]
            return torch.stack(parts).sum() / self._factor if parts else torch.zeros_like(self._factor)

    def rounding_along(self, direction: Gradient) -> Float[Tensor, ""]:
        """Of :meth:`along`, by how many roundings of the coarsest type it may be off: ‖direction‖·max|∇Σ_i ŵ_i ℓ_i|.

        An element of a gradient is a sum whose terms may cancel, and then it is what their rounding left: that of a
        bias before a batch norm. Adam's first step has its steepest slopes, by far, along just these elements.

        The largest element of a param's gradient g of n elements lies between ‖g‖/√n and ‖g‖, and is taken to be
        ‖g‖/n^¼: norms of order ∞ take far longer on a CPU.
        """
        names = [name for name in self._found if name in direction]
        assert self._factor is not None
        if not names:
            return torch.zeros_like(self._factor)
        found, along = (torch._foreach_norm([each[name] for name in names]) for each in (self._found, direction))
        largest = torch.stack(torch._foreach_div(found, [self._found[name].numel() ** 0.25 for name in names])).max()
        rounding: Tensor = largest.double() * torch.stack(along).double().norm() / self._factor.abs()
        return rounding

    def withheld(self, applied: Gradient) -> list[str]:
        """Params whose gradient was set to 0 on its way to the optimizer, all of it: no sample moves them.

        (A gradient of one element may be 0 because micro-batches or ranks cancel, and does not count.)
        """
        names = [name for name, gradient in applied.items() if name in self._found and gradient.numel() > 1]
        if not names:
            return []
        given, made = (torch._foreach_norm([each[name] for name in names]) for each in (applied, self._found))
        are_withheld = (torch.stack(given) == 0) & (torch.stack(made) > 0)
        return [name for name, is_withheld in zip(names, are_withheld.tolist(), strict=True) if is_withheld]

    def forget(self) -> None:
        """Lets go of what was heard."""
        self.stop()
        self._found = {}

    def _begin(self, factor: Tensor) -> None:
        self._found, self._factor, self._is_open = {}, factor.detach(), True
        Variable._execution_engine.queue_callback(self._end)

    def _take(self, name: str, gradient: Tensor) -> None:
        if self._is_open:
            self._found[name] = self._held(name, gradient.detach())

    def _end(self) -> None:
        self._is_open = False

    def _held(self, name: str, gradient: Tensor) -> Tensor:
        """A copy: what is handed to a param becomes its ``.grad``, which clipping may write over."""
        if gradient.layout != torch.strided:  # as long as it is held, PyTorch gives the param a copy
            return gradient
        held = self._room.get(name)
        if held is None or _kind(held) != _kind(gradient):
            held = self._room[name] = torch.empty_like(gradient)
        return held.copy_(gradient)


def _kind(tensor: Tensor) -> tuple[object, ...]:
    return tensor.shape, tensor.dtype, tensor.device, tensor.stride()


Pair = tuple[Tensor, Tensor]


def _product(pairs: list[Pair]) -> Float[Tensor, ""]:
    products = torch._foreach_mul(*([_real(pair[side]) for pair in pairs] for side in (0, 1)))
    # as they lie in memory, which has no gaps: their order doesn't matter, and flattening would copy some
    flat = [product.as_strided((product.numel(),), (1,)) for product in products]
    return (flat[0] if len(flat) == 1 else torch.cat(flat)).sum(dtype=torch.float64)


def _real(tensor: Tensor) -> Tensor:
    """In float32 at least, complex numbers as pairs."""
    tensor = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _remove(handles: list[Any]) -> None:
    for handle in handles:
        handle.remove()
