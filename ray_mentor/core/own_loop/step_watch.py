"""Sees when a student's optimizers step, where the steps are taken by somebody else, and what becomes of gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ray_mentor.core.influence.optimizer_replay import Group, groups_of
from ray_mentor.errors import UserError, listed

MOVED = 1e-6
"""Share of a param's norm that it must change by to count as written to: less is no matter, and may be rounding."""


class StepWatch:
    """Knows of the time between ``weigh`` and ``after_step`` which optimizers stepped, how, and along which gradients.

    Args:
        student: bare.
        optimizers: the student's.
        check: called before an optimizer steps; may raise.
    """

    def __init__(
        self,
        student: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._student = student
        self._check = check
        self._live = dict(student.named_parameters())
        self._places = frozenset(range(len(optimizers)))
        self._waits = False  # weighed, and after_step not called yet
        self._stepped: set[int] = set()
        self._stepped_twice = False
        self._depth = [0] * len(optimizers)  # of each one's step: that of a class may call that of the class below it
        self._is_looked_back_on = False
        self._groups: dict[int, tuple[Group, ...]] = {}  # as each optimizer's step met them
        self._gradients: dict[str, tuple[Tensor, Tensor, int]] = {}  # param, gradient, the gradient's version
        self._reached: list[Tensor] = []  # norms of the params where the last of the steps left them
        self._missed: frozenset[int] = frozenset()  # optimizers that had not stepped when after_step was called
        self._comes_late = False
        self._smallest: nn.Parameter | None = None  # of those that have gradients
        self._gradient: Tensor | None = None  # its own, when it was last asked for
        self._overflowed = False  # an optimizer was called, and skipped its step by itself
        self._writes = 0  # to the student's params, when it was weighed
        self._hooks = [
            hook
            for place, optimizer in enumerate(optimizers)
            for hook in (
                optimizer.register_step_pre_hook(functools.partial(self._enter, place)),
                optimizer.register_step_post_hook(functools.partial(self._leave, place)),
            )
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

    def begin(self, *, is_looked_back_on: bool) -> None:
        """Something was weighed.

        Args:
            is_looked_back_on: whether the meta step will ask for settings and gradients of the step that comes.
        """
        self.forget()
        self._waits, self._is_looked_back_on = True, is_looked_back_on
        if is_looked_back_on:
            self._live = dict(self._student.named_parameters())  # some may have come since the last time
            self._smallest = None
        self._writes = self._written()

    def end(self) -> dict[int, tuple[Group, ...]]:
        """At ``after_step``: by place, each optimizer that has stepped, with its groups as they were at that moment.

        Of a step that is not looked back on, no groups are taken down.

        Raises:
            UserError: if an optimizer stepped twice, or the gradients of the step are not there any more; or params
                were written to by somebody else, instead of the optimizers or after them.
        """
        stepped = {place: self._groups.get(place, ()) for place in self._stepped}
        gradients, twice, is_elsewhere = self._gradients, self._stepped_twice, self._is_elsewhere()
        if not stepped and not self._overflowed and self._written() != self._writes:
            self.forget()
            raise UserError(
                "the student's params have changed since weigh, but by none of the optimizers that the curriculum was "
                "given; give it those that the loop steps"
            )
        self.forget()
        self._missed = self._places - stepped.keys()
        if twice:
            raise UserError(
                "an optimizer stepped twice since weigh, but influences are those of one step; add the gradients of "
                "both before one optimizer.step(), or take the other step between after_step and weigh"
            )
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
        if is_elsewhere:
            raise UserError(
                "the student's params were written to between the optimizer's step and after_step, but influences are "
                "those of the optimizer's step; call after_step right after it, and before whatever else changes "
                "params (clamping them, averaging them)"
            )
        return stepped

    def accumulates(self) -> bool:
        """Whether gradients have been added to those that were there when this was asked before, not cleared since."""
        if self._smallest is None or self._smallest.grad is None:
            given = [param for param in self._live.values() if param.grad is not None]
            self._smallest = min(given, key=Tensor.numel, default=None)
        smallest = None if self._smallest is None else self._smallest.grad
        before, self._gradient = self._gradient, smallest
        return smallest is not None and smallest is before

    def forget(self) -> None:
        """As if nothing were weighed."""
        self._waits = self._is_looked_back_on = self._comes_late = self._stepped_twice = self._overflowed = False
        self._stepped, self._missed, self._groups, self._gradients = set(), frozenset(), {}, {}
        self._reached = []
        self._depth = [0] * len(self._depth)  # a step that raised has not left

    def close(self) -> None:
        """Takes the hooks off the optimizers."""
        for hook in self._hooks:
            hook.remove()

    def _enter(self, place: int, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self._check()
        self._depth[place] += 1
        if self._depth[place] == 1 and self._waits and self._is_looked_back_on:
            self._groups[place] = groups_of(optimizer, self._live)

    def _leave(self, place: int, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self._depth[place] = max(self._depth[place] - 1, 0)  # a closure that weighs is called after the step began
        if self._depth[place] == 0:
            if self._waits and self._is_looked_back_on:
                self._groups.setdefault(place, groups_of(optimizer, self._live))
            self._note(place, optimizer)

    def _note(self, place: int, optimizer: torch.optim.Optimizer) -> None:
        overflow = getattr(optimizer, "found_inf", None)  # fused ones are told by the scaler, and skip by themselves
        if overflow is not None and bool(overflow):
            self._overflowed = True
            return
        if not self._waits:
            self._comes_late = self._comes_late or place in self._missed
            return
        self._stepped_twice = self._stepped_twice or place in self._stepped
        self._stepped.add(place)
        if self._is_looked_back_on:
            own = {id(param) for group in optimizer.param_groups for param in group["params"]}
            self._gradients |= {
                name: (param, param.grad, param.grad._version)
                for name, param in self._live.items()
                if param.grad is not None and id(param) in own
            }
            self._reached = self._norms()

    def _written(self) -> int:
        """How often the student's params have been written to, by whomever."""
        return sum(param._version for param in self._live.values())

    @torch.no_grad()
    def _norms(self) -> list[Tensor]:
        """Of the params that have stepped."""
        params = [param for param, *_ in self._gradients.values()]
        return list(torch._foreach_norm(params)) if params else []

    def _is_elsewhere(self) -> bool:
        """Whether params are not where the last of the steps left them; versions know nothing of ``param.data``."""
        if not self._reached:
            return False
        then, now = (torch.stack(norms) for norms in (self._reached, self._norms()))
        return bool(((now - then).abs() > MOVED * then).any())

    def _lost(self, gradients: dict[str, tuple[Tensor, Tensor, int]]) -> bool:
        return bool(gradients) and all(param.grad is None for param, *_ in gradients.values())


def _is_other(param: Tensor, gradient: Tensor, version: int) -> bool:
    return param.grad is not gradient or gradient._version != version
