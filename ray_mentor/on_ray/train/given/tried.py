"""What the method lacks is said before anything starts, rather than by every worker once Ray has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import nn

from ray_mentor.config import TrainConfig
from ray_mentor.core.influence.step_jacobian import check_optimizer
from ray_mentor.core.mentor.start import check_frozen, first_mentor, given_mentor, starts_otherwise
from ray_mentor.core.methods.pairs import check_can_be_relabelled
from ray_mentor.core.methods.table import is_in_nats, method_of, mixing_of
from ray_mentor.core.methods.trusted import check_meta_set
from ray_mentor.core.methods.weightings.group_dro import GROUPS_MISSING
from ray_mentor.core.methods.weightings.oracle import TRUTH_MISSING
from ray_mentor.core.student.pair import members_of
from ray_mentor.core.student.random_state import untouched
from ray_mentor.core.student.sync_batch_norm import synchronised
from ray_mentor.data.samples.augment import Augment
from ray_mentor.data.samples.identity import identity
from ray_mentor.data.samples.inputs import digest
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.splits.splits import Splits
from ray_mentor.data.storage.on_device import check_can_be_held
from ray_mentor.errors import UserError
from ray_mentor.run.checkpoint.resume import (
    AUGMENT_CODE,
    MENTOR,
    STUDENT_CODE,
    TEST,
    TRAINING,
    TRUSTED,
    VALIDATION,
)
from ray_mentor.run.job import Job
from ray_mentor.run.meta_set.trusted import group_sizes, parts_of
from ray_mentor.run.trained.about import code_of, name_of
from ray_mentor.students.tried import check_are_logits


def tried(job: Job, splits: Splits, config: TrainConfig, build: Callable[[], nn.Module], *, own_optimizer: bool) -> Job:
    """The job, with the mentor that it starts with if that is no fresh one.

    Args:
        config: the settings as they were given.
        build: builds the student as the user gave it.
        own_optimizer: whether the user gave one: a mentor can learn through each that settings name.

    Raises:
        UserError: naming what does not go together.
    """
    method, own_loss = method_of(config.curriculum.method), job.loss is not None
    _try_student(job, config, splits, build)
    job.augment.check(splits.train.inputs, splits.meta.inputs)
    if config.data.hold_on_device:
        check_can_be_held(splits.train)
    if method.needs_truth and splits.train.true_labels is None:
        raise UserError(TRUTH_MISSING)
    if method.needs_groups:
        _check_groups(job, splits)
    n_trusted, n_held = (0 if held is None else len(held) for held in (splits.meta, splits.validation))
    check_meta_set(config.curriculum, config.mentor, n_trusted, n_held, own_loss=own_loss)
    floats = splits.train.inputs.dtype.is_floating_point
    mixing_of(config.curriculum, config.mentor, own_loss=own_loss, floats=floats)
    if method.relabelling is not None:
        check_can_be_relabelled(config.curriculum, floats=floats)
    settings, schedule, sizes = job.mentor, job.curriculum, splits.train.class_sizes
    in_nats = is_in_nats(settings, own_loss=own_loss)
    check_frozen(schedule, settings, len(sizes), in_nats=in_nats)
    if not method.learns:
        method.weighting(config.curriculum, config.mentor, None)
        return job
    start = first_mentor(schedule, settings, len(sizes), config.run.seed, sizes, in_nats=in_nats)
    if own_optimizer:
        check_optimizer(job.optimizer([nn.Parameter(torch.ones(2, 2))]))
    return dataclasses.replace(job, mentor_start=start.state()) if starts_otherwise(schedule, settings) else job


def _check_groups(job: Job, splits: Splits) -> None:
    if splits.train.groups is None:
        raise UserError(GROUPS_MISSING)
    if group_sizes(splits.train, parts_of(splits.meta, job).trained) is None:
        raise UserError(
            f"method is {job.curriculum.method!r}, which goes by groups, but the trusted samples that are trained on "
            "have no column of them; add it, or give --meta-in-training 0"
        )


def _try_student(job: Job, config: TrainConfig, splits: Splits, build: Callable[[], nn.Module]) -> None:
    """Builds it where it is to be changed, and counts its logits where the loss is one of classes."""
    asked, of_classes = config.student, job.loss is None and splits.train.targets is None
    if not (asked.freeze or asked.sync_batch_norm or of_classes):
        return
    with untouched(torch.device("cpu")):
        built = job.student()
        if of_classes:
            _check_logits(build, next(iter(members_of(built).values()), built), splits.train)
        if asked.sync_batch_norm:
            synchronised(built)


def _check_logits(build: Callable[[], nn.Module], student: nn.Module, train: Samples) -> None:
    inputs = train.inputs.ones()
    try:
        with torch.no_grad():
            outputs = student(inputs)
    except Exception:  # it was not made for ones, or can't take such inputs: then training says so
        return
    name = name_of(build) or getattr(build, "__name__", type(build).__name__)
    check_are_logits(str(name), outputs, len(inputs), len(train.classes))


def identities(
    splits: Splits, config: TrainConfig, student: Callable[[], nn.Module], augment: Augment
) -> dict[str, str]:
    """Which samples, mentor and code of the user's own a run works with."""
    named = {TRAINING: splits.train, TRUSTED: splits.meta, VALIDATION: splits.validation, TEST: splits.test}
    found = {name: identity(samples) for name, samples in named.items() if samples is not None}
    changes = None if augment.source is None else digest(augment.source).hex()
    code = {STUDENT_CODE: code_of(student), AUGMENT_CODE: changes}
    found |= {name: made for name, made in code.items() if made is not None}
    given = given_mentor(config.mentor, config.curriculum)
    return found if given is None else {**found, MENTOR: given}
