"""Sees with what the student was called, where the call is made by somebody else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ray_mentor.core.batch import Arguments
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.influence.taken_step import Before
from ray_mentor.core.student.inputs import Versions, require_unwritten, versions_of
from ray_mentor.errors import UserError


class ForwardWatch:
    """Takes down, at each training forward pass whose step a meta update follows, its inputs and what it changes."""

    def __init__(self, student: nn.Module, curriculum: Curriculum) -> None:
        self._noted: tuple[Before, Arguments, Versions] | None = None
        self._curriculum = curriculum
        self._is_paused = False
        self._handle = student.register_forward_pre_hook(_Hook(self), with_kwargs=True)

    def take(self) -> tuple[Before, Arguments]:
        """The student as the last such pass met it, and what it was called with; given out once.

        Raises:
            UserError: if there was no such pass since the last time, or the student writes over its inputs.
        """
        noted, self._noted = self._noted, None
        if noted is None:
            raise UserError(
                "the student was not called in training mode, with gradients, before weigh; call the very module that "
                "the curriculum was given"
            )
        before, inputs, versions = noted
        require_unwritten(inputs, versions)
        return before, inputs

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Forward passes inside are not taken down."""
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False

    def close(self) -> None:
        """Takes the hook off the student."""
        self._handle.remove()

    def note(self, student: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Takes one call down."""
        if self._is_paused or not student.training or not torch.is_grad_enabled():
            return
        before, inputs = self._curriculum.before_forward(), Arguments(positional, named)
        self._noted = (before, inputs, versions_of(inputs)) if before else None


class _Hook:
    """The hook itself. Copies of the student (averages, pickles) carry one that does nothing."""

    def __init__(self, watch: ForwardWatch | None = None) -> None:
        self._watch = watch

    def __call__(self, student: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        if self._watch is not None:
            self._watch.note(student, positional, named)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Hook:
        return _Hook()

    def __reduce__(self) -> tuple[type[_Hook], tuple[()]]:
        return _Hook, ()
