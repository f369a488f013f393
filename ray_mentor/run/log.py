"""What a run writes down as it goes: ledger, metrics, progress."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from jaxtyping import Int
from torch import Tensor

from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.step.record import StepRecord
from ray_mentor.data.samples.rows import Rows
from ray_mentor.run.claim import ClaimedDirectory
from ray_mentor.run.ledger.files import LedgerFiles
from ray_mentor.run.meta_set.said import TrustedSaid, write_said
from ray_mentor.run.progress import Board, Row
from ray_mentor.run.tally import Tally, TallyState

_POST_EVERY = 1.0  # seconds between two progress rows inside an epoch


@dataclass(frozen=True)
class LogState:
    """What a run has noted of itself.

    Attributes:
        metrics: one row an epoch.
        tally: of the epoch that is under way.
        train_seconds: time spent training so far.
        epoch_seconds: of it, in the epoch that is under way.
        ledger: what the ledger is made of (:mod:`~ray_mentor.run.ledger.files`).
        trusted_said: what was said of trusted samples (:mod:`~ray_mentor.run.meta_set.said`).
    """

    metrics: list[dict[str, float | None]]
    tally: TallyState
    train_seconds: float
    epoch_seconds: float
    ledger: Int[Tensor, "stretches facts"]
    trusted_said: Int[Tensor, "cells 4"]


class RunLog:
    """One rank's log. Every rank keeps a ledger of its own samples; rank 0 keeps metrics and posts progress.

    Args:
        domains: the source of each sample of the training split; None where there is one.
        groups: its group; None where nobody says.

    Attributes:
        metrics: one row an epoch; the same on every rank.
        ledger: of this rank.
    """

    def __init__(
        self,
        directory: ClaimedDirectory,
        board: Board,
        exchange: AbstractExchange,
        domains: Rows | None = None,
        groups: Rows | None = None,
    ) -> None:
        self.ledger = LedgerFiles(directory, exchange, domains, groups)
        self.metrics: list[dict[str, float | None]] = []
        self._directory = directory
        self._board = board
        self._exchange = exchange
        self._tally = Tally()
        self._said = TrustedSaid(exchange)

    def begin(self, state: LogState | None) -> None:
        """Goes on from ``state``, and starts the clocks. The ledger goes on by itself."""
        now = time.monotonic()
        self._began = self._epoch_began = self._posted = now
        if state is not None:
            self.metrics = list(state.metrics)
            self._tally.load(state.tally, self._exchange)
            self._said.load(state.trusted_said)
            self._began -= state.train_seconds
            self._epoch_began -= state.epoch_seconds

    def save(self, step: int) -> LogState:
        """Writes down what is not yet, and returns what a checkpoint keeps of it. A collective call."""
        ledger = self.ledger.save(step)
        said = self._said.counted()
        if self._exchange.rank == 0:
            self._directory.write_metrics(self.metrics)
            write_said(self._directory, said)
        tally = self._tally.state(self._exchange)
        now = time.monotonic()
        return LogState(self.metrics, tally, self.train_seconds, now - self._epoch_began, ledger, said)

    @property
    def train_seconds(self) -> float:
        """Time from the first step to now, over all attempts; less what was done twice."""
        return time.monotonic() - self._began

    @contextmanager
    def clocks_stopped(self) -> Iterator[None]:
        """Time spent inside is not time spent training."""
        began = time.monotonic()
        yield
        waited = time.monotonic() - began
        self._began += waited
        self._epoch_began += waited
        self._posted += waited

    def add(self, epoch: int, record: StepRecord, progress: float) -> None:
        """Takes down one step, and posts how far the run is once a second."""
        self.ledger.append(epoch, record)
        self._tally.add(record)
        self._said.add(epoch, record)
        now = time.monotonic()
        if now - self._posted > _POST_EVERY:
            self._posted = now
            means = self._tally.here()
            speed = self._exchange.world_size * (means.pop("samples") or 0.0) / (now - self._epoch_began)
            self.post({"kind": "step", "epoch": epoch, "progress": progress, **means, "samples_per_second": speed})

    def end_epoch(self, epoch: int, curriculum: Curriculum, measured: dict[str, float | None]) -> None:
        """Adds the epoch's row to the metrics, and posts it. A collective call."""
        self.ledger.end_epoch(curriculum.step_number)
        means = self._tally.means(self._exchange)
        samples = means.pop("samples") or 0.0
        now = time.monotonic()
        row: dict[str, float | None] = {
            "epoch": epoch,
            "steps": curriculum.step_number,
            "meta_updates": curriculum.meta.done,
            "fallbacks": curriculum.guards.fallbacks,
            "memorised": curriculum.memorising.share,
            **means,
            **measured,
            **_rate(curriculum),
            "samples_per_second": samples / (now - self._epoch_began),
            "train_seconds": self.train_seconds,
        }
        self._epoch_began = now
        self.metrics.append(row)
        self.post({"kind": "epoch", **row})

    def note(self, text: str) -> None:
        """Tells whoever watches, in words."""
        self.post({"kind": "note", "text": text})

    def post(self, row: Row) -> None:
        """Tells whoever watches; rank 0 speaks for all, and does not wait."""
        if self._exchange.rank:
            return
        self._board.post(row)


def _rate(curriculum: Curriculum) -> dict[str, float | None]:
    """The learning rate in force; and where it is learnt, the factor on the schedule's, and what became of it."""
    given, rate = curriculum.optimizer.param_groups[0]["lr"], curriculum.rate
    if rate is None:
        return {"learning_rate": given}
    found = {"learning_rate_factor": rate.multiplier, "times_put_back": rate.rejected}
    return {"learning_rate": given * rate.multiplier, **found}


def started_row(progress: float) -> dict[str, Any]:
    """The row that says when the first step began (in seconds of time.time()), and how much was done by then."""
    return {"kind": "started", "at": time.time(), "progress": progress}
