"""The ledger in order of its steps, with the loss differences that a run's mentor saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.ledger.files import ledger_parts

Floats = NDArray[np.float64]


def whole_steps(directory: RunDirectory, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The ledger's rows in tables none of which shares a step with another: the files of all ranks together.

    Args:
        columns: with ``step``.
    """
    held: list[pa.Table] = []
    last = -1
    for part in ledger_parts(directory, columns=columns):
        if not len(part):
            continue
        ends = pc.min_max(part["step"]).as_py()
        if held and ends["min"] > last:
            yield pa.concat_tables(held)
            held = []
        held.append(part)
        last = max(last, ends["max"])
    if held:
        yield pa.concat_tables(held)


class Differences:
    """ℓ_i − q, where q ← γ·q + (1 − γ)·percentile_p(losses of the step) goes on from table to table.

    Args:
        percentile: p.
        decay: γ.

    Attributes:
        level: q as it is; None before the first step.
    """

    def __init__(self, percentile: float, decay: float) -> None:
        self._percentile = percentile
        self._decay = decay
        self.level: float | None = None

    def __call__(self, step: NDArray[np.int64], loss: Floats) -> Floats:
        """Of rows that are whole steps, in any order; the steps of one call come before those of the next."""
        order = np.lexsort((loss, step))
        starts = np.flatnonzero(np.diff(step[order], prepend=step[order[0]] - 1))
        sizes = np.diff(starts, append=len(step))
        place = (sizes - 1) * self._percentile
        below = np.floor(place).astype(np.int64)
        above = np.minimum(below + 1, sizes - 1)
        ranked = loss[order]
        low, high = ranked[starts + below], ranked[starts + above]
        levels = self._levels(low + (high - low) * (place - below))
        found = np.empty_like(loss)
        found[order] = ranked - np.repeat(levels, sizes)
        return found

    def _levels(self, values: Floats) -> Floats:
        levels = np.empty_like(values)
        for at, value in enumerate(values.tolist()):
            self.level = value if self.level is None else self._decay * self.level + (1 - self._decay) * value
            levels[at] = self.level
        return levels
