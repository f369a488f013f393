"""Runs of nothing but steps: a ledger, metrics and checkpoints, as the worker loop and its driver write them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from bare_states import state_at
from thread_ranks import on_ranks

from ray_mentor.core.batch import Batch
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.history.table import LossHistory
from ray_mentor.core.step.record import StepRecord
from ray_mentor.data.plan.batches import rank_slice
from ray_mentor.run.checkpoint.checkpoints import Checkpoints
from ray_mentor.run.claim import attempted, taken_up
from ray_mentor.run.directory import CONFIG, RunDirectory
from ray_mentor.run.log import RunLog

EPOCHS, EPOCH_STEPS, BATCH = 3, 4, 5
STEPS = EPOCHS * EPOCH_STEPS


class NoBoard:
    def post(self, row: dict[str, Any]) -> None:
        pass


class Stopped(BaseException):
    """Stands for the end of a process."""


def record_of(step: int, exchange: AbstractExchange) -> StepRecord:
    """A function of the step: samples 0 to 19 once an epoch, and what is noted of them."""
    rows = torch.from_numpy(rank_slice(np.arange(BATCH), exchange.rank, exchange.world_size).copy())
    rows = rows + BATCH * (step % EPOCH_STEPS)
    values = (rows + 100 * step).float()
    batch = Batch(rows=rows, ids=rows, inputs=torch.zeros(len(rows), 1), labels=rows % 3, true_labels=rows % 2)
    influence = torch.full_like(values, torch.nan)
    return StepRecord(
        step,
        batch,
        values,
        values / 1e4,
        values / 2e4,
        influence,
        (rows % 3).int(),
        values / 1e3,
        meta_loss=None,
        ids=batch.ids,
        labels=batch.labels,
        true_labels=batch.true_labels,
    )


def expected_rows(steps: int = STEPS, first: int = 0) -> list[tuple[int, int, int, float]]:
    return [
        (row, step // EPOCH_STEPS, step, float(row + 100 * step))
        for step in range(first, steps)
        for row in range(BATCH * (step % EPOCH_STEPS), BATCH * (step % EPOCH_STEPS + 1))
    ]


def rows_of(ledger: pa.Table) -> list[tuple[int, int, int, float]]:
    """In order."""
    columns = ("sample_id", "epoch", "step", "loss")
    rows = zip(*(ledger[name].to_pylist() for name in columns), strict=True)
    return sorted(rows, key=lambda row: (row[2], row[0]))


def train(
    directory: RunDirectory,
    *,
    every: int = 3,
    steps: int = STEPS,
    world: int = 1,
    keep: int = 2,
    name: str = "",
    notes: list[str] | None = None,
    on_step: Callable[[int], None] = lambda step: None,
) -> None:
    """Takes the run up and goes on to its end.

    Args:
        every: steps between two checkpoints.
        steps: that the run is stopped after, without a checkpoint; all: it ends.
        name: in the config and the result, to tell who wrote them.
        on_step: called with each step before it is taken.
    """
    directory.create()
    claimed = taken_up(directory)
    config = f"epochs = {EPOCHS}\n# {name}\n".encode()
    if claimed.size(CONFIG) is None:
        claimed.write(CONFIG, config)

    def worker(exchange: AbstractExchange) -> None:
        attempt = attempted(directory, exchange, claimed.owner)
        log = RunLog(attempt, NoBoard(), exchange)
        note = [].append if notes is None else notes.append
        checkpoints = Checkpoints(attempt, exchange, keep, note, LossHistory(20, 0), log.ledger)
        state = checkpoints.newest()
        first = 0 if state is None else state.curriculum.step
        log.begin(state.log if state else None)
        if exchange.rank == 0:
            attempt.write_config(config)
        for step in range(first, STEPS):
            on_step(step)
            log.add(step // EPOCH_STEPS, record_of(step, exchange), step / STEPS)
            if (step + 1) % EPOCH_STEPS == 0:
                log.ledger.end_epoch(step + 1)
                log.metrics.append({"epoch": step // EPOCH_STEPS, "steps": step + 1})
            if step + 1 == steps < STEPS:
                raise Stopped
            if (step + 1) % every == 0 or step + 1 == STEPS:
                noted = log.save(step + 1)
                made = None if exchange.rank else dataclasses.replace(state_at(step + 1), log=noted)
                checkpoints.add(step + 1, made)

    try:
        on_ranks(world, worker)
    except Stopped:
        if steps == STEPS:
            raise
        return
    claimed.write_result({"name": name})
    claimed.release()
