"""What each student worker runs: epochs of curriculum steps, and between them the bookkeeping."""

from __future__ import annotations

import ray
import ray.train
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from ray_mentor.core.batch import Batch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.exchange import AbstractExchange, Alone, Ranks
from ray_mentor.core.optimizers import make_schedule
from ray_mentor.core.state import RunState, capture, restore
from ray_mentor.data.augment import flip_shift
from ray_mentor.data.batches import epoch_batches
from ray_mentor.data.run_directory import RunDirectory
from ray_mentor.data.splits import Splits
from ray_mentor.on_ray.accuracy import accuracies
from ray_mentor.on_ray.assemble import assemble, batch_of
from ray_mentor.on_ray.checkpoint import AbstractCheckpoints, Clock, FolderCheckpoints, TrainCheckpoints
from ray_mentor.on_ray.job import Job
from ray_mentor.on_ray.run_log import RunLog, started_row


def worker_loop(config: dict[str, Job]) -> RunState | None:
    """Trains one rank's student from the newest checkpoint, or from the start, to the end.

    Returns:
        Rank 0's final state; None on the other ranks.
    """
    job = config["job"]
    exchange = Ranks() if ray.train.get_context().get_world_size() > 1 else Alone()
    splits: Splits = job.splits if isinstance(job.splits, Splits) else ray.get(job.splits)
    total_steps = job.epochs * len(epoch_batches(len(splits.train), job.batch_size, job.seed, 0))
    curriculum = assemble(job, splits, exchange, total_steps)
    schedule = make_schedule(curriculum.optimizer, job.schedule, total_steps)
    directory = RunDirectory(job.directory)
    checkpoints = FolderCheckpoints(directory) if job.local else TrainCheckpoints(exchange.rank)
    first_epoch, log = _begin(job, directory, checkpoints, curriculum, schedule, exchange)
    clock = Clock(job.checkpoint_seconds, exchange)

    log.post(started_row(curriculum.progress))
    for epoch in range(first_epoch, job.epochs):
        for rows in epoch_batches(len(splits.train), job.batch_size, job.seed, epoch):
            batch = batch_of(splits.train, rows, exchange)
            torch.manual_seed(curriculum.generator("student", exchange.rank).initial_seed())  # of dropout
            record = curriculum.step(_augmented(batch, job, curriculum))
            log.add(epoch, record, curriculum.progress)
            schedule.step()
        log.end_epoch(epoch, curriculum, accuracies(curriculum, splits, exchange))
        if clock.due() or epoch == job.epochs - 1:
            log.write(curriculum.step_number)
            checkpoints.add(_state(curriculum, schedule, epoch + 1, log))
    log.post({"kind": "ended"})
    return _on_the_cpu(_state(curriculum, schedule, job.epochs, log)) if exchange.rank == 0 else None


def _begin(
    job: Job,
    directory: RunDirectory,
    checkpoints: AbstractCheckpoints,
    curriculum: Curriculum,
    schedule: LRScheduler,
    exchange: AbstractExchange,
) -> tuple[int, RunLog]:
    """Takes the newest checkpoint up, if there is one; the epoch to start with, and a log that goes on."""
    state = checkpoints.newest()
    step, epoch, metrics, seconds = 0, 0, [], 0.0
    if state is not None:
        restore(state, curriculum, schedule)
        step, epoch, metrics, seconds = state.curriculum.step, state.epoch, state.metrics, state.train_seconds
    if exchange.rank == 0:
        directory.cut_ledger(step)
    exchange.broadcast(None)  # nobody writes ledger rows before the old ones are cut
    return epoch, RunLog(directory, job.board, exchange, step, metrics, seconds)


def _state(curriculum: Curriculum, schedule: LRScheduler, epoch: int, log: RunLog) -> RunState:
    return capture(curriculum, schedule, epoch=epoch, metrics=log.metrics, train_seconds=log.train_seconds)


def _on_the_cpu(state: RunState) -> RunState:
    """A copy that a process without this worker's device can read."""
    return RunState.from_bytes(state.to_bytes(), "of the last epoch")


def _augmented(batch: Batch, job: Job, curriculum: Curriculum) -> Batch:
    if job.augment == "none":
        return batch
    assert isinstance(batch.inputs, Tensor)
    return batch.with_inputs(flip_shift(batch.inputs, curriculum.generator("augment", curriculum.exchange.rank)))
