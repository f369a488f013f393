"""Which samples of which domain each step is shown: windows of steps with whole numbers of samples, exactly resumable.

A window holds so many samples of each domain as its shares say, by largest remainder; which step has which of them,
and which rows they are, follows from seed, domain and how many came before. So the table of windows, (first step,
counts), is all that must be kept, and it is only ever added to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from ray_mentor.core.domains.shares import Shares
from ray_mentor.errors import UserError, shown

Rows = Int[NDArray[np.int64], " rows"]


@dataclass(frozen=True)
class Drawn:
    """A global batch's samples, in order.

    Attributes:
        domains: of which domain each is.
        rows: its row there.
    """

    domains: Rows
    rows: Rows

    def of_rank(self, rank: int, ranks: int) -> Drawn:
        """One rank's part: every ``ranks``-th."""
        return Drawn(self.domains[rank::ranks], self.rows[rank::ranks])


def largest_remainder(shares: Shares, total: int) -> Int[NDArray[np.int64], " domains"]:
    """Whole numbers that add up to ``total``, each within one of its share of it; ties go to the first."""
    exact = shares / shares.sum() * total
    counts: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - counts), kind="stable")
    counts[order[: total - int(counts.sum())]] += 1
    return counts


class Windows:
    """The plan of a run: what each step is shown.

    Args:
        sizes: rows of each domain.
        batch_size: samples of a global batch.
        steps: of a window; the last one ends with the run.
        total_steps: of the run.

    Attributes:
        batch_size: samples of a global batch.
        counts: samples of each domain in each window that is decided; only ever added to.
    """

    def __init__(self, sizes: Sequence[int], batch_size: int, steps: int, total_steps: int, seed: int) -> None:
        self._sizes = tuple(sizes)
        self.batch_size = batch_size
        self._steps = steps
        self._total_steps = total_steps
        self._seed = seed
        self._passes: dict[int, tuple[int, Rows]] = {}  # of each domain the one under way
        self._order: tuple[int, Rows] | None = None  # of the window under way
        self.counts: list[Int[NDArray[np.int64], " domains"]] = []
        self._totals = [
            np.zeros(len(self._sizes), np.int64)
        ]  # of the windows before each, as far as they were asked for

    def decide(self, shares: Shares) -> None:
        """The next window's shares."""
        self.counts.append(largest_remainder(shares, self._samples(len(self.counts))))

    def _samples(self, window: int) -> int:
        return self.batch_size * max(min(self._steps, self._total_steps - window * self._steps), 0)

    @property
    def left(self) -> int:
        """Samples of the windows that are not decided."""
        return self.batch_size * self._total_steps - int(self.drawn.sum())

    @property
    def drawn(self) -> Int[NDArray[np.int64], " domains"]:
        """Samples of each domain in all windows that are decided."""
        return self._before(len(self.counts))

    def __call__(self, step: int) -> Drawn:
        """Of a step, from 0 on, whose window is decided."""
        window, place = divmod(step, self._steps)
        before = self._before(window)
        order = self._order_of(window)
        start, stop = place * self.batch_size, (place + 1) * self.batch_size
        domains, rows = order[start:stop], np.empty(self.batch_size, np.int64)
        for domain in np.unique(domains):
            own = domains == domain
            first = before[domain] + np.count_nonzero(order[:start] == domain)
            rows[own] = self.rows(int(domain), int(first), int(own.sum()))
        return Drawn(domains, rows)

    def _before(self, window: int) -> Int[NDArray[np.int64], " domains"]:
        """Samples of each domain in the windows before this one."""
        while len(self._totals) <= window:
            self._totals.append(self._totals[-1] + self.counts[len(self._totals) - 1])
        return self._totals[window]

    def rows(self, domain: int, first: int, count: int) -> Rows:
        """Rows of a domain: the ``first``-th that it ever shows, and those after it; each pass has its own order."""
        size = self._sizes[domain]
        found: list[Rows] = []
        while count > 0:
            number, place = divmod(first, size)
            some = self._pass(domain, number)[place : place + count]
            found.append(some)
            first, count = first + len(some), count - len(some)
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def _pass(self, domain: int, number: int) -> Rows:
        """All rows of a domain in the order of a pass; made once, for it takes as long as the domain is large."""
        if self._passes.get(domain, (-1,))[0] != number:
            self._passes[domain] = number, self._generator(1, domain, number).permutation(self._sizes[domain])
        return self._passes[domain][1]

    def _order_of(self, window: int) -> Rows:
        """The domain of each of a window's samples."""
        if self._order is None or self._order[0] != window:
            order = np.repeat(np.arange(len(self._sizes)), self.counts[window])
            self._generator(0, window).shuffle(order)
            self._order = window, order
        return self._order[1]

    def probes(self, update: int, count: int) -> Drawn:
        """So many samples of each domain, drawn for one update; all of one that has no more."""
        rows = [
            self._generator(2, update, domain).choice(size, min(count, size), replace=False)
            for domain, size in enumerate(self._sizes)
        ]
        return Drawn(np.repeat(np.arange(len(rows)), list(map(len, rows))), np.concatenate(rows).astype(np.int64))

    def _generator(self, *words: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, *words])

    def table(self) -> dict[str, Any]:
        """Its state, in plain types: (first step, counts) of each window."""
        rows = [[number * self._steps, *counts.tolist()] for number, counts in enumerate(self.counts)]
        own = {"batch_size": self.batch_size, "steps": self._steps, "total_steps": self._total_steps}
        return {"windows": rows, **own, "sizes": list(self._sizes)}

    def load(self, table: dict[str, Any]) -> None:
        """Goes on where :meth:`table` was taken.

        Raises:
            UserError: a plan of other sources, or of another batch size.
        """
        own = self.table()
        for name, says in (
            ("sizes", "samples of each source"),
            ("batch_size", "batch size"),
            ("steps", "window"),
            ("total_steps", "total_steps"),
        ):
            if list(np.atleast_1d(table[name])) != list(np.atleast_1d(own[name])):
                raise UserError(
                    f"the state is of a mixture whose {says} was {shown(table[name])}, and here it is "
                    f"{shown(own[name])}; give the same data and settings"
                )
        for number, (first, *counts) in enumerate(table["windows"]):
            fills = len(counts) == len(self._sizes) and sum(counts) == self._samples(number) > 0
            if first != number * self._steps or not fills:
                raise UserError(
                    f"window {number} of the mixture's state is {shown([first, *counts])}, which is none of this run"
                )
        self.counts = [np.asarray(counts, np.int64) for _, *counts in table["windows"]]
        self._order = None
        del self._totals[1:]
