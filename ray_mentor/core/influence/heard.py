"""What a student's head was given in the training forward pass, and what it made of it."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor, nn

from ray_mentor.errors import UserError


class Heard:
    """The last forward pass with gradients since this was made; of a step that takes several, the last.

    Listens until :meth:`stop`, or until nobody holds it any more.

    Args:
        student: bare.
        head: the layer whose output the student returns.

    Attributes:
        inputs: h, what the head was given; None if nothing was heard.
        outputs: z, what it returned.

    Raises:
        UserError: in the forward pass, if the student returns something else.
    """

    def __init__(self, student: nn.Module, head: nn.Module) -> None:
        self.inputs: Tensor | None = None
        self.outputs: Tensor | None = None
        me = weakref.ref(self)

        def take(_: nn.Module, positional: tuple[Any, ...], named: dict[str, Any], returned: Any) -> None:
            heard = me()
            if heard is not None and torch.is_grad_enabled():
                (given,) = (*positional, *named.values())
                heard.inputs, heard.outputs = given.detach(), returned.detach()

        def compare(_: nn.Module, __: tuple[Any, ...], returned: Any) -> None:
            heard = me()
            if heard is not None and heard.outputs is not None and torch.is_grad_enabled():
                require_returned(returned, heard.outputs)

        self._handles = [head.register_forward_hook(take, with_kwargs=True), student.register_forward_hook(compare)]
        for handle in self._handles:
            weakref.finalize(self, handle.remove)

    def stop(self) -> None:
        """Hears no more; what was heard stays."""
        for handle in self._handles:
            handle.remove()


def require_returned(returned: Any, outputs: Tensor) -> None:
    """Refuses a student that does something to its head's outputs.

    Raises:
        UserError: if ``returned`` is not ``outputs``.
    """
    if not (isinstance(returned, Tensor) and _same(returned, outputs)):
        raise UserError(
            "estimator is 'last_layer', but the student does not return what its last nn.Linear returns; leave what "
            "follows it to the loss, or give another estimator: --estimator jvp"
        )


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape == other.shape and one.data_ptr() == other.data_ptr():
        return True
    return one.shape == other.shape and bool(torch.equal(one.double(), other.double()))
