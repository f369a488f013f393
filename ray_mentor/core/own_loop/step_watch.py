"""Sees when a student's optimizers step, where the steps are taken by somebody else, and what becomes of gradients."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ray_mentor.errors import UserError, listed


class StepWatch:
    """Knows of the time between ``weigh`` and ``after_step`` which optimizers stepped, and along which gradients.

    Args:
        student: bare.
        optimizers: the student's.
    """

    def __init__(self, student: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self._names = {id(param): name for name, param in student.named_parameters()}
        self._params = list(student.parameters())
        self._places = frozenset(range(len(optimizers)))
        self._waits = False  # weighed, and after_step not called yet
        self._stepped: set[int] = set()
        self._notes_gradients = False
        self._gradients: dict[str, tuple[Tensor, Tensor, int]] = {}  # param, gradient, the gradient's version
        self._missed: frozenset[int] = frozenset()  # optimizers that had not stepped when after_step was called
        self._comes_late = False
        self._overflowed = False  # an optimizer was called, and skipped its step by itself
        self._writes = 0  # to the student's params, when it was weighed
        self._hooks = [
            optimizer.register_step_post_hook(functools.partial(self._note, place))
            for place, optimizer in enumerate(optimizers)
        ]

    def check_order(self) -> None:
        """Before ``weigh``.

        Raises:
            UserError: if ``after_step`` was not called since the last step, or was called before it.
        """
        if self._stepped:
            raise UserError("the optimizer has stepped since the last weigh, but after_step was not called")
        if self._comes_late:
            self.forget()
            raise UserError(
                "an optimizer stepped after after_step, which so knows nothing of that step; call after_step once all "
                "optimizers have stepped, before weigh"
            )

    def begin(self, *, notes_gradients: bool) -> None:
        """Something was weighed.

        Args:
            notes_gradients: whether the meta step will look at the gradients.
        """
        self.forget()
        self._waits, self._notes_gradients = True, notes_gradients
        self._writes = self._written()

    def end(self) -> frozenset[int]:
        """At ``after_step``: the places of the optimizers that have stepped.

        Raises:
            UserError: if the gradients of the step are not there any more; or params were written to by somebody else.
        """
        stepped, gradients = frozenset(self._stepped), self._gradients
        if not stepped and not self._overflowed and self._written() != self._writes:
            self.forget()
            raise UserError(
                "the student's params have changed since weigh, but by none of the optimizers that the curriculum was "
                "given; give it those that the loop steps"
            )
        self.forget()
        self._missed = self._places - stepped
        if self._lost(gradients):
            raise UserError("after_step found no gradients; call it before they are cleared by zero_grad")
        changed = [
            name for name, (param, gradient, version) in gradients.items() if _is_other(param, gradient, version)
        ]
        if changed:
            raise UserError(
                f"the gradients of {len(changed)} params ({listed(changed, 3)}) were changed between the optimizer's "
                "step and after_step; call after_step before they are cleared by zero_grad, or written over"
            )
        return stepped

    def forget(self) -> None:
        """As if nothing were weighed."""
        self._waits = self._notes_gradients = self._comes_late = self._overflowed = False
        self._stepped, self._missed, self._gradients = set(), frozenset(), {}

    def close(self) -> None:
        """Takes the hooks off the optimizers."""
        for hook in self._hooks:
            hook.remove()

    def _note(self, place: int, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        overflow = getattr(optimizer, "found_inf", None)  # fused ones are told by the scaler, and skip by themselves
        if overflow is not None and bool(overflow):
            self._overflowed = True
            return
        if not self._waits:
            self._comes_late = self._comes_late or place in self._missed
            return
        self._stepped.add(place)
        if self._notes_gradients:
            params = [param for group in optimizer.param_groups for param in group["params"]]
            self._gradients |= {
                self._names[id(param)]: (param, param.grad, param.grad._version)
                for param in params
                if param.grad is not None and id(param) in self._names
            }

    def _written(self) -> int:
        """How often the student's params have been written to, by whomever."""
        return sum(param._version for param in self._params)

    def _lost(self, gradients: dict[str, tuple[Tensor, Tensor, int]]) -> bool:
        return bool(gradients) and all(param.grad is None for param, *_ in gradients.values())


def _is_other(param: Tensor, gradient: Tensor, version: int) -> bool:
    return param.grad is not gradient or gradient._version != version
