"""Sees whether a loop of one's own takes the steps that it planned, and whether the mentor learns in them."""

from __future__ import annotations

import sys
import warnings

from ray_mentor.errors import UserError
from ray_mentor.wording import counted

_SKIPPED = 50  # a gradient scaler begins at 2^16 and halves: 17 overflows in a row bring it below 1
_BEYOND = 1.1  # of the planned steps: who counts batches may be off by a few


class PlanWatch:
    """Warns once of each thing.

    Args:
        total_steps: planned optimizer steps.
        update_interval: steps between two meta updates; None: the method has no mentor that learns.
        burn_in: share of the planned steps before the first one.
    """

    def __init__(self, total_steps: int, update_interval: int | None, burn_in: float) -> None:
        self._total, self._interval, self._burn_in = total_steps, update_interval, burn_in
        self._in_vain = 0  # calls of after_step since an optimizer has stepped, or gradients were added to others
        self._is_long = self._is_closed = False

    def skipped(self, *, accumulates: bool) -> None:
        """after_step was called, and no optimizer had stepped.

        Args:
            accumulates: the gradients were added to those of the call before, as for one step of several micro-batches.

        Raises:
            UserError: as so often before.
        """
        self._in_vain = 0 if accumulates else self._in_vain + 1
        if self._in_vain >= _SKIPPED:
            raise UserError(
                f"after_step was called {self._in_vain} times in a row, but no optimizer that the curriculum was given "
                "has stepped; call optimizer.step() between weigh and after_step"
            )

    def stepped(self, step: int, updates: int) -> None:
        """Steps and meta updates that there have been, one step more than before."""
        self._in_vain = 0
        if step == self._total and not updates:
            self._warn_of_equal_weights(f"total_steps is {self._total}, and all are done")
        if step > self._total * _BEYOND + 1 and not self._is_long:
            self._is_long = True
            warnings.warn(
                f"this is step {step}, but total_steps is {self._total}: progress, by which the mentor judges and "
                "schedules go, ended there; give the number of steps that the loop takes",
                stacklevel=3,
            )

    def closed(self, step: int, updates: int) -> None:
        """The loop has ended; one that an error or Ctrl-C ends has that to tell."""
        is_first, self._is_closed = not self._is_closed, True
        if is_first and sys.exception() is None and 0 < step < self._total and not updates:
            self._warn_of_equal_weights(f"the loop ended after {step} of total_steps={self._total} steps")

    def _warn_of_equal_weights(self, what: str) -> None:
        if self._interval is None:
            return
        first = round(self._burn_in * self._total)
        warnings.warn(
            f"{what}, but the mentor never learned, so that all sample weights were equal: it learns every "
            f"{counted(self._interval, 'step')}, after {first} of burn-in; give the total_steps that the loop takes, "
            "or a smaller update_interval",
            stacklevel=4,
        )
