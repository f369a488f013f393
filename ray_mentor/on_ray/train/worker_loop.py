"""What each student worker runs: curriculum steps, and between them the bookkeeping."""

from __future__ import annotations

import dataclasses
import functools
import os
import time
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import NoReturn

import ray
import ray.train
import ray.train.torch
import torch
from torch import Tensor

from ray_mentor.core.batch import Batch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.exchange import AbstractExchange, Alone, Ranks
from ray_mentor.core.student.average import Average
from ray_mentor.core.student.optimizers import make_schedule
from ray_mentor.core.student.random_state import seed_generators
from ray_mentor.core.student.threads import threads_for
from ray_mentor.data.plan.batches import Plan
from ray_mentor.data.samples.draws import TRAINED
from ray_mentor.data.samples.inputs import AbstractInputs
from ray_mentor.data.splits.splits import Splits
from ray_mentor.data.storage.on_device import on_device
from ray_mentor.data.storage.spread import Spread, in_threads
from ray_mentor.data.storage.stored import in_plan_order
from ray_mentor.on_ray.train.assemble import assemble
from ray_mentor.on_ray.train.gate import passed
from ray_mentor.on_ray.train.pulse import HeardExchange, Pulse
from ray_mentor.on_ray.train.reports import Reports
from ray_mentor.on_ray.train.stream import RayDataSpread
from ray_mentor.on_ray.train.wishes import Wishes
from ray_mentor.run.accuracy import measured, note_on_outputs, own_parts
from ray_mentor.run.batch_of import batch_of
from ray_mentor.run.checkpoint.checkpoints import Checkpoints
from ray_mentor.run.checkpoint.kept import Kept
from ray_mentor.run.checkpoint.resume import check_same_data
from ray_mentor.run.checkpoint.state import capture, restore
from ray_mentor.run.checkpoint.timetable import Timetable
from ray_mentor.run.claim import attempted
from ray_mentor.run.findings.names import write_names
from ray_mentor.run.findings.predictions import write_predictions
from ray_mentor.run.job import Job
from ray_mentor.run.log import RunLog, started_row
from ray_mentor.run.meta_set.trusted import parts_of, trusted_beside
from ray_mentor.run.mixture.shares import mixture_of, take_up
from ray_mentor.run.mixture.table import write_mixture
from ray_mentor.run.progress import Board


def worker_loop(config: dict[str, Job]) -> None:
    """Trains one rank's student from the newest checkpoint, or from the start; ends with a checkpoint, or at a gate."""
    job = config["job"]
    splits = _splits(job)  # before ranks wait for one another: making a file that this node lacks may take minutes
    among = _exchange(job)
    pulse = Pulse(job.run.hang_seconds, functools.partial(_ended, job.board, among.rank))
    exchange = HeardExchange(among, pulse)
    plan = Plan(job.order, job.run.batch_size, job.run.seed, job.run.epochs)
    meta = parts_of(splits.meta, job)
    curriculum = assemble(job, splits, meta, exchange, plan.total_steps, pulse.away)
    schedule = make_schedule(
        curriculum.optimizer, job.config.student.schedule, plan.total_steps, job.config.student.warm_up
    )
    mixture = mixture_of(job, splits, meta, exchange, curriculum, plan)
    plan, take = (plan, curriculum.step) if mixture is None else (mixture.plan, mixture.step)
    directory = attempted(job.directory, exchange, job.owner)
    of = (None if each is None else each.of for each in (splits.train.domains, splits.train.groups))
    log = RunLog(directory, job.board, exchange, *of)
    checkpoints = Checkpoints(directory, exchange, job.run.keep_checkpoints, log.note, curriculum.history, log.ledger)

    kept, decay = Kept(exchange.rank), job.config.student.ema
    average = Average(curriculum.bare, decay) if decay else None
    if average is not None and curriculum.rate is not None:
        curriculum.rate.keep_beside(average.values)

    state = checkpoints.newest()
    if state is not None:
        check_same_data(state, job.data, directory, splits.train.classes)
        take_up(mixture, state.mixture)
        restore(state, curriculum, schedule, average)
        kept.load(state.kept)
    elif job.mentor_start is not None and curriculum.parts.mentor is not None:
        curriculum.parts.mentor.load(job.mentor_start)
    first, clock, device = curriculum.step_number, curriculum.clock, next(curriculum.bare.parameters()).device
    log.begin(state.log if state else None)
    if state is not None or job.run.resume:
        log.note(_goes_on(first, len(log.metrics), plan))
    del state  # as large as the student
    if exchange.rank == 0:
        directory.write_config(job.settings)  # now that it can go on: a run that is refused stays as it was
        write_names(directory, splits.train)
    wishes, reports = Wishes(job, exchange), Reports(job, directory, exchange, pulse)
    timetable = Timetable(
        job.run.checkpoint_seconds, job.run.checkpoint_steps, first, plan.total_steps, exchange, wishes.any
    )

    def save() -> None:
        with pulse.slow():
            noted = log.save(curriculum.step_number)
            shares = None if mixture is None else mixture.state(curriculum.step_number)
            now = curriculum, schedule, noted, job.data, kept.state, average, shares
            state = capture(*now) if exchange.rank == 0 else None
            checkpoints.add(curriculum.step_number, state)
            if shares is not None and exchange.rank == 0:
                write_mixture(directory, shares, splits.train.tokens)
            exchange.wait_for_all()  # nobody's next step waits for rank 0, which writes
        wishes.fulfil()

    log.post(started_row(curriculum.progress))
    _, trusted = job.augment.before(splits.train, meta.trained)
    with (
        _alone(job, curriculum, splits) if job.local else pulse.heard(),
        in_plan_order(splits.train, plan, first, exchange.rank, exchange.world_size, _spread(job, exchange)) as coming,
        trusted_beside(dataclasses.replace(meta, trained=trusted), plan, first, exchange) as with_trusted,
    ):
        train, _ = job.augment.before(coming, meta.trained)
        for epoch, rows, ends_epoch in plan.steps(first):
            step = curriculum.step_number
            with clock("reading"):
                batch = with_trusted(batch_of(train, rows, exchange, (plan.seed, TRAINED, step)), step)
            seed_generators(curriculum.generator("student", exchange.rank).initial_seed(), device)  # of dropout
            with clock("student"):
                record = take(_augmented(batch, job, curriculum, splits.meta.inputs))
            with clock("ledger"):
                log.add(epoch, record, curriculum.progress)
            if average is not None:
                average.update(curriculum.bare, curriculum.step_number)
            schedule.step()
            pulse.beat()
            if ends_epoch:
                with pulse.slow(), clock("measuring"):
                    found = measured(curriculum, splits, meta.held_out, exchange, pulse.beat, average)
                    own_trusted = functools.partial(own_parts, meta.learnt, "trusted", curriculum, exchange)
                    curriculum.end_epoch(epoch + 1, own_trusted, found.errors, log.note)
                    kept.note(epoch, found.hits, curriculum.bare)
                    if epoch == 0 and job.loss is None:
                        some = splits.meta if len(splits.meta) else splits.train
                        warning = note_on_outputs(curriculum, some, exchange)
                        if warning is not None:
                            log.note(warning)
                    log.end_epoch(epoch, curriculum, found.figures)
            if curriculum.step_number == plan.total_steps and splits.test is not None and exchange.rank == 0:
                with pulse.slow(), clock("measuring"):
                    said = kept.student_of(curriculum.bare)
                    write_predictions(directory, curriculum.bare, said, splits.test, pulse.beat)
            if timetable.due(curriculum.step_number, ready=not curriculum.meta.waits, ends_epoch=ends_epoch):
                with clock("saving"):
                    save()
            if ends_epoch:
                is_last = curriculum.step_number == plan.total_steps
                student = kept.student_of(curriculum.bare) if is_last else None
                reports(log.metrics[-1], student)
                with log.clocks_stopped(), pulse.away():
                    goes_on = passed(job.gate, epoch + 1, exchange, save)
                if not goes_on:
                    return
    log.post({"kind": "ended", "part_seconds": clock.seconds})


def _alone(job: Job, curriculum: Curriculum, splits: Splits) -> AbstractContextManager[None]:
    """In the user's own process; Ray gives its workers as many threads as they have CPUs."""
    inputs = splits.train.inputs
    return threads_for(curriculum.bare, inputs.shape, job.run.batch_size, inputs.positions)


def _goes_on(step: int, epochs: int, plan: Plan) -> str:
    """From where."""
    if not step:
        return "no checkpoint to go on from: the run starts at its first step"
    if step == plan.total_steps:
        return f"all {step} steps had been taken already"
    return f"going on after step {step} of {plan.total_steps}, in epoch {epochs + 1} of {plan.epochs}"


def _splits(job: Job) -> Splits:
    splits: Splits = job.splits if isinstance(job.splits, Splits) else ray.get(job.splits)
    splits.open()
    if not job.config.data.hold_on_device:
        return splits
    return dataclasses.replace(splits, train=on_device(splits.train, ray.train.torch.get_device()))


def _spread(job: Job, exchange: AbstractExchange) -> Spread:
    return in_threads if job.local else RayDataSpread.beside(exchange.world_size)


def _exchange(job: Job) -> AbstractExchange:
    alone = job.local or ray.train.get_context().get_world_size() == 1
    return Alone() if alone else Ranks(timedelta(seconds=job.run.hang_seconds * _WAITS))


_WAITS = 4  # hang times that ranks wait for one another: rank 0 may be waiting for the mentor, several times


def _ended(board: Board, rank: int, hangs: str) -> NoReturn:
    """Ends this process, whose training hangs."""
    board.post({"kind": "note", "text": f"worker {rank} hangs: {hangs}; its process is ended"})
    time.sleep(_LAST_WORDS)
    os._exit(1)


_LAST_WORDS = 1.0  # seconds that the note takes at most


def _augmented(batch: Batch, job: Job, curriculum: Curriculum, trusted: AbstractInputs) -> Batch:
    """The batch shown in another way, or in several, one after the other; trusted images are normalised as all are."""
    if job.augment.name == "none":
        return batch
    assert isinstance(batch.inputs, Tensor)
    draw = curriculum.generator("augment", curriculum.exchange.rank)
    shown = [job.augment(batch.inputs, trusted, draw) for _ in range(curriculum.views)]
    return batch.with_inputs(shown[0] if len(shown) == 1 else torch.cat(shown))
