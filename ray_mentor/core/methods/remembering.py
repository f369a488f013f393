"""What a part of a method remembers of every sample, to find something out of it when an epoch has ended."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod

from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.epoch import AtEpoch
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.history.table import LossHistory
from ray_mentor.core.step.gathered import all_rows
from ray_mentor.core.step.observation import Observation
from ray_mentor.core.step.targets import remembered


class Remembering(AtEpoch):
    """Keeps some numbers of each sample from one visit to the next; the end of an epoch hands it those of all.

    They lie beside the losses of the store, which ranks share out and every checkpoint holds: its own state is what it
    has found, and no more.

    Attributes:
        keeps: numbers a sample.
    """

    keeps: int

    @abstractmethod
    def numbers(self, seen: Observation) -> Float[Tensor, "batch keeps"]:
        """What to remember of a global batch that was observed, NaN for nothing; the same on every rank.

        Args:
            seen: its ``remembered`` is what was kept so far, NaN at the first visit.
        """


def remember(
    part: Remembering, seen: Observation, history: LossHistory, exchange: AbstractExchange, columns: slice
) -> Observation:
    """The observation with what was remembered of its samples; what is from now on is in the store. A collective call.

    Costs a message a step of as many numbers as are kept of the global batch, where ranks split the store.

    Args:
        columns: of what is kept beside the losses, those of ``part``.
    """
    rows = all_rows(seen.batch, seen.rank_sizes, exchange)
    seen = dataclasses.replace(seen, remembered=remembered(rows, history, exchange, columns))
    history.put(rows, part.numbers(seen), columns.start)
    return seen
