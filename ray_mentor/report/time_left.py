"""How long a run will still take, by how fast it went."""

from __future__ import annotations


class TimeLeft:
    """Seconds left at the speed so far; what a resumed run did before, it did not do now.

    Until the mentor learns, steps cost a fraction of what they cost then, so that what they took says the least that
    there is to come; from then on the speed since counts.

    Args:
        now: seconds of a clock, as everywhere here.
        learns_from: progress in [0, 1) at which the mentor begins to learn.
    """

    def __init__(self, now: float, learns_from: float) -> None:
        self._learns_from = learns_from
        self._base = self._newest = now, 0.0
        self._counts_learning = False

    def start(self, now: float, progress: float) -> None:
        """A run begins, or goes on."""
        self._base = self._newest = now, progress
        self._counts_learning = progress >= self._learns_from

    def said(self, now: float, progress: float) -> str:
        """What is left at a progress in [0, 1]."""
        learns = progress > self._learns_from
        if learns and not self._counts_learning and progress > self._newest[1]:
            self._base, self._counts_learning = self._newest, True
        self._newest = now, progress
        began, before = self._base
        if progress <= before:
            return "some time left"
        left = (now - began) / (progress - before) * (1 - progress)
        return f"{'' if learns else 'at least '}{left:.0f} s left"
