"""Which epoch's student a run keeps: the last one's, unless held-out trusted samples show an earlier one to be better.

Let h_e be which of the m held-out samples the student gets right after epoch e. The best epoch so far, b, has the most
of them (the latest of equals). It is kept in place of the last, l, if d = h_b − h_l has a mean above 2 standard
errors, s(d)/√m. The plain maximum over epochs of so few samples is mostly luck. Of plain text h_e is minus the loss on
each, so that the best epoch has the fewest bits a byte.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn

from ray_mentor.run.checkpoint.host_copies import host_copies

ERRORS = 2.0
"""Standard errors that an earlier epoch must be better by. Measured on digits with 30 held-out samples: 14 of the 20
points are won back that a student loses which learns wrong labels by heart, and at most 0.04 lost elsewhere. With 1.5
it would be 16, but one oracle of six lost 3.9 points; with 0, 0.4 are lost on average."""

Hits = Bool[Tensor, " held_out"] | Float[Tensor, " held_out"]
"""More is better."""


@dataclass(frozen=True)
class KeptState:
    """The best epoch so far, and the last one.

    Attributes:
        epoch: the best.
        hits: of the student at its end, a held-out sample each: whether it is right, or minus its loss.
        last_epoch: the last that was measured.
        last_hits: likewise.
        student: the best one's params and buffers, in the host's memory; empty on ranks other than 0.
    """

    epoch: int
    hits: Hits
    last_epoch: int
    last_hits: Hits
    student: dict[str, Tensor]

    @property
    def is_earlier(self) -> bool:
        """Whether the best epoch's student is kept in place of the last one's."""
        difference = self.hits.double() - self.last_hits.double()
        mean = difference.mean().item()
        if len(difference) < 2 or mean <= 0:
            return False
        return mean > ERRORS * difference.std().item() / math.sqrt(len(difference))

    @property
    def kept_epoch(self) -> int:
        """The epoch whose student is kept."""
        return self.epoch if self.is_earlier else self.last_epoch


class Kept:
    """Remembers the best epoch's student as a run goes on.

    Args:
        rank: rank 0 alone holds the student.
    """

    def __init__(self, rank: int) -> None:
        self.state: KeptState | None = None
        self._rank = rank

    def note(self, epoch: int, hits: Hits | None, student: nn.Module) -> None:
        """Takes in the end of an epoch; None where nothing is held out, so that the last epoch's student is kept.

        Hits on other samples than before can't be compared: then it begins anew.
        """
        if hits is None:
            return
        best = self.state
        as_before = best is not None and (best.hits.shape, best.hits.dtype) == (hits.shape, hits.dtype)
        if best is None or not as_before or hits.sum() >= best.hits.sum():
            copied = host_copies(student=dict(student.state_dict()))["student"] if self._rank == 0 else {}
            self.state = KeptState(epoch, hits, epoch, hits, copied)
        else:
            self.state = KeptState(best.epoch, best.hits, epoch, hits, best.student)

    def load(self, state: KeptState | None) -> None:
        """Goes on from ``state``."""
        if state is None or self._rank == 0:
            self.state = state
        else:
            self.state = KeptState(state.epoch, state.hits, state.last_epoch, state.last_hits, {})

    def student_of(self, last: nn.Module) -> dict[str, Any]:
        """Params and buffers of the student that is kept; empty on ranks other than 0, which have no need of them.

        Args:
            last: the student at the end.
        """
        return kept_student(self.state, dict(last.state_dict())) if self._rank == 0 else {}


def kept_student(state: KeptState | None, last: dict[str, Any]) -> dict[str, Any]:
    """Params and buffers of the student that is kept."""
    return last if state is None or not state.is_earlier else state.student
