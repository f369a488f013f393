"""A plan whose steps draw from several sources as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from typing_extensions import override

from ray_mentor.data.plan.batches import Plan
from ray_mentor.data.samples.rows import Rows


@dataclass(frozen=True)
class MixedPlan(Plan):
    """As many steps as a plan has, and of one size; a step's rows are known when the step comes.

    An epoch shows as many samples as there are, some of them more than once, and some not at all.

    Args:
        drawn: rows of the global batch of a step.
    """

    drawn: Callable[[int], Rows]

    @override
    def steps(self, first: int = 0) -> Iterator[tuple[int, Rows, bool]]:
        for step in range(first, self.total_steps):
            epoch, place = divmod(step, self.epoch_steps)
            yield epoch, self.drawn(step), place == self.epoch_steps - 1

    @property
    def step_size(self) -> int:
        """Samples of a step."""
        return -(-len(self.order) // self.epoch_steps)
