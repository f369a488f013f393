"""From a job to what a step needs: the parts of its method, wired to this rank."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NoReturn

import ray
import ray.train.torch
import torch
from torch import nn

from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.learned_rate.learner import learned_rate
from ray_mentor.core.losses import TargetLoss
from ray_mentor.core.mentor.access import AbstractMentorAccess, LocalMentor
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.methods.table import method_of, parts_of
from ray_mentor.core.student.pair import members_of
from ray_mentor.core.student.precision import in_bf16
from ray_mentor.core.student.sync_batch_norm import synchronised
from ray_mentor.core.student.trained import trained
from ray_mentor.data.memory import require_memory
from ray_mentor.data.splits.meta_parts import MetaParts
from ray_mentor.data.splits.splits import Splits
from ray_mentor.errors import UserError
from ray_mentor.on_ray.mentor.shared import SharedMentor
from ray_mentor.on_ray.session.metrics import RunMetrics
from ray_mentor.run.job import Job
from ray_mentor.run.meta_set.batches import MetaBatches
from ray_mentor.run.meta_set.pseudo_clean import PseudoClean
from ray_mentor.run.meta_set.trusted import group_sizes, trained_on
from ray_mentor.students.weights import Start


def assemble(
    job: Job,
    splits: Splits,
    parts_of_meta: MetaParts,
    exchange: AbstractExchange,
    total_steps: int,
    waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Curriculum:
    """The curriculum of ``job`` on this rank, before its first step.

    Args:
        waiting: makes a context for what waits for the mentor's answer.
    """
    n_samples = trained_on(splits.train, parts_of_meta)
    student = make_student(job, exchange)
    device = next(student.parameters()).device
    learns = method_of(job.curriculum.method).learns
    mentor = _access(job, splits, exchange, device, waiting) if learns else None
    _check_parts(parts_of_meta, len(splits.meta), job, exchange)
    meta_batches = _meta_batches(job, splits, parts_of_meta, exchange, device)
    floats = splits.train.inputs.dtype.is_floating_point
    trained_beside = None if parts_of_meta.trained is None else parts_of_meta.trained.class_sizes
    parts = parts_of(
        job.curriculum,
        job.mentor,
        mentor,
        job.loss,
        meta_batches,
        floats=floats,
        class_sizes=splits.train.class_sizes,
        trusted_sizes=trained_beside,
        meta_sizes=parts_of_meta.learnt.class_sizes if job.curriculum.meta_from == "trusted" else None,
        group_sizes=group_sizes(splits.train, parts_of_meta.trained),
    )
    beside = len(splits.train.classes) if isinstance(parts.loss, TargetLoss) else 0
    beside += parts.remembering.keeps if parts.remembering else 0
    require_memory(
        4 * (job.mentor.history_length + beside) * n_samples // exchange.world_size,
        "the samples' past losses and what is kept beside them" if beside else "the samples' past losses",
        "give a smaller --history-length, or more --workers",
    )
    optimizer = job.optimizer(trained(student, job.config.student, splits.train.inputs.ones()))
    return Curriculum(
        student,
        optimizer,
        parts,
        exchange,
        job.curriculum,
        job.mentor,
        total_steps=total_steps,
        n_samples=n_samples,
        seed=job.run.seed,
        split_history=True,
        n_classes=len(splits.train.classes),
        epochs=job.run.epochs,
        clip=job.config.student.clip,
        rate=learned_rate(job.config.learned, student, (optimizer,), total_steps),
    )


def _meta_batches(
    job: Job, splits: Splits, parts: MetaParts, exchange: AbstractExchange, device: torch.device
) -> MetaBatches:
    """Of the trusted samples that are not held out, or of what looks right in the validation split."""
    made_with = job.mentor.meta_batch_size, job.run.seed, exchange, device
    if job.curriculum.meta_from == "trusted":
        return MetaBatches(parts.learnt, *made_with)
    assert splits.validation is not None, "checked before Ray starts"
    return PseudoClean(splits.validation, *made_with)


def make_student(job: Job, exchange: AbstractExchange) -> nn.Module:
    """A fresh student, the same on every rank, on this rank's device, data-parallel where there are more."""
    torch.manual_seed(job.run.seed)
    student = job.student()
    if job.start is not None:
        start: Start = job.start if isinstance(job.start, Start) else ray.get(job.start)
        for each in members_of(student).values() or (student,):
            start.put_into(each)
    if job.config.student.sync_batch_norm:
        student = synchronised(student)
    if job.config.student.channels_last:
        student = student.to(memory_format=torch.channels_last)
    if job.config.student.precision == "bf16":
        for each in members_of(student).values() or (student,):
            in_bf16(each)
    if job.local:
        return student.to(ray.train.torch.get_device())  # the rest asks for what Ray Train refuses inside of Tune
    strategy = "ddp" if exchange.world_size > 1 else None
    prepared: nn.Module = ray.train.torch.prepare_model(student, parallel_strategy=strategy)
    return prepared


def _access(
    job: Job,
    splits: Splits,
    exchange: AbstractExchange,
    device: torch.device,
    waiting: Callable[[], AbstractContextManager[None]],
) -> AbstractMentorAccess:
    learner = MentorLearner(job.mentor, len(splits.train.classes), job.run.seed)
    if job.mentor_actor is None:
        return LocalMentor(learner)
    metrics = RunMetrics(str(job.run.run_name), lambda text: job.board.post({"kind": "note", "text": text}))
    made_with = job.run.hang_seconds, waiting, metrics.scored
    here = scores_here(job.mentor.scoring, device)
    return SharedMentor(job.mentor_actor, exchange, learner, *made_with, scores_here=here)


def scores_here(scoring: str, device: torch.device) -> bool:
    """Whether each worker scores with its copy of the mentor, of a student on ``device``: a device never waits then."""
    return scoring == "replica" or (scoring == "auto" and device.type != "cpu")


def _check_parts(parts: MetaParts, whole: int, job: Job, exchange: AbstractExchange) -> None:
    """Refuses a meta set, of so many samples, that leaves a worker nothing, or what needs held-out samples."""
    if 0 < len(parts.learnt) < exchange.world_size:
        raise UserError(
            f"meta_holdout {job.mentor.meta_holdout:g} leaves the mentor {len(parts.learnt)} of {whole} meta samples, "
            f"but each of the {exchange.world_size} workers needs one; give more, or --meta-holdout 0"
        )
    targets = parts.learnt.domains
    if targets is not None and targets.weights is not None:
        few = next(
            (name for name, size in zip(targets.names, targets.sizes, strict=True) if size < exchange.world_size), None
        )
        if few is not None:
            raise UserError(
                f"the target {few!r} has fewer samples to learn from than there are workers ({exchange.world_size}); "
                "give more, or fewer --workers"
            )
    if parts.held_out is not None or whole == 0:
        return
    if job.mentor.mentor_patience > 0 and method_of(job.curriculum.method).learns:
        _refuse(f"mentor_patience is {job.mentor.mentor_patience}", "--mentor-patience 0", whole, job)
    if job.curriculum.mixing == "mentormix" and job.curriculum.meta_from == "trusted":
        _refuse("mixing is 'mentormix'", "--mixing none", whole, job)


def _refuse(setting: str, instead: str, whole: int, job: Job) -> NoReturn:
    raise UserError(
        f"{setting}, but of {whole} meta samples none can be held out (meta_holdout {job.mentor.meta_holdout:g}, one "
        f"of each class stays); give more, or {instead}"
    )
