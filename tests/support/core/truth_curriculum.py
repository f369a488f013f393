"""A whole curriculum in float64, and what reached its mentor."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from truth_students import CLASSES, samples

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.batch import Batch, MetaBatch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.exchange import Alone
from ray_mentor.core.losses import cross_entropy
from ray_mentor.core.mentor.access import LocalMentor
from ray_mentor.core.mentor.learner import MentorLearner, MentorState
from ray_mentor.core.mentor.networks import AbstractMentor, make_mentor
from ray_mentor.core.mentor.networks.evidence import weight_of
from ray_mentor.core.methods.mixing import AbstractMixing, NoMixing
from ray_mentor.core.methods.parts import Parts
from ray_mentor.core.methods.table import method_of, parts_of
from ray_mentor.core.methods.weightings import AbstractWeighting, Learned
from ray_mentor.core.step.gradient_rules import AbstractGradientRule, Identity

CONFIG = MentorConfig(
    mentor_features=("loss", "loss_difference", "label", "progress"),
    mentor_hidden=(6,),
    update_interval=1,
    anchor=0.0,
    entropy=0.0,
)


@contextmanager
def double_by_default() -> Iterator[None]:
    """What is made inside has float64 params; nothing that runs later is touched."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def make_learner(config: MentorConfig, n_classes: int, seed: int = 1) -> MentorLearner:
    """A float64 mentor that no longer gives every sample the same weight, by its params or by class."""
    with double_by_default():
        learner = MentorLearner(config, n_classes, seed)
    draw = torch.Generator().manual_seed(seed)
    payload = torch.load(io.BytesIO(learner.state().payload), weights_only=True)
    for value in payload["mentor"].values():
        value.add_(torch.randn(value.shape, generator=draw, dtype=value.dtype), alpha=0.7)
    if "evidence.counts" in payload["mentor"]:
        payload["mentor"]["evidence.counts"].abs_()
    buffer = io.BytesIO()
    torch.save(payload, buffer)
    learner.load(MentorState(0, -1, buffer.getvalue()))
    return learner


def mentor_of(state: MentorState, config: MentorConfig, n_classes: int) -> AbstractMentor:
    """A mentor with the params that a state holds."""
    with double_by_default():
        mentor = make_mentor(
            config.mentor,
            features=config.mentor_features,
            hidden=config.mentor_hidden,
            n_classes=n_classes,
            history_length=config.history_length,
            initial_sample_weight=config.initial_sample_weight,
            seed=0,
            class_evidence=weight_of(config.class_evidence),
        )
    mentor.load_state_dict(torch.load(io.BytesIO(state.payload), weights_only=True)["mentor"])
    return mentor


def gradient_that_arrived(state: MentorState) -> list[Tensor]:
    """The gradient of a mentor's first update, read off its optimizer: m = (1 − β1)·g."""
    table = torch.load(io.BytesIO(state.payload), weights_only=True)["optimizer"]
    beta1, _ = table["param_groups"][0]["betas"]
    return [table["state"][index]["exp_avg"] / (1 - beta1) for index in table["param_groups"][0]["params"]]


def make_curriculum(
    student: nn.Module,
    optimizer: torch.optim.Optimizer,
    meta: tuple[Tensor, Tensor],
    *,
    config: MentorConfig = CONFIG,
    curriculum: CurriculumConfig | None = None,
    access: LocalMentor | None = None,
    weighting: AbstractWeighting | None = None,
    mixing: AbstractMixing | None = None,
    gradient_rule: AbstractGradientRule | None = None,
    total_steps: int = 10,
    burn_in: float = 0.0,
    clip: float = 0.0,
) -> Curriculum:
    if weighting is None:
        assert access is not None
        weighting = Learned(access)
    parts = Parts(
        loss=cross_entropy,
        meta_loss=cross_entropy,
        weighting=weighting,
        mixing=mixing or NoMixing(),
        gradient_rule=gradient_rule or Identity(),
        mentor=access,
        meta_batch=lambda _: MetaBatch(*meta, size=len(meta[1])),
        burn_in=burn_in,
    )
    return Curriculum(
        student,
        optimizer,
        parts,
        Alone(),
        curriculum or CurriculumConfig(),
        config,
        total_steps=total_steps,
        n_samples=100,
        seed=0,
        clip=clip,
    )


def curriculum_of_settings(
    student: nn.Module,
    schedule: CurriculumConfig,
    config: MentorConfig,
    *,
    n_samples: int = 20,
    total_steps: int = 20,
) -> Curriculum:
    """Of the parts that the settings name, on six meta samples of the mlp."""
    access = LocalMentor(make_learner(config, CLASSES)) if method_of(schedule.method).learns else None
    meta = MetaBatch(*samples("mlp", 6, 9), size=6)
    return Curriculum(
        student,
        torch.optim.SGD(student.parameters(), 0.1),
        parts_of(schedule, config, access, None, lambda _: meta),
        Alone(),
        schedule,
        config,
        total_steps=total_steps,
        n_samples=n_samples,
        seed=0,
        n_classes=CLASSES,
    )


def as_batch(samples: tuple[Tensor, Tensor]) -> Batch:
    rows = torch.arange(len(samples[1]))
    return Batch(rows=rows, ids=rows + 1000, inputs=samples[0], labels=samples[1])


def relative_error(found: Tensor, truth: Tensor) -> float:
    """‖found − truth‖ / ‖truth‖."""
    return float((found.double() - truth).norm() / truth.norm())


def changed(config: MentorConfig = CONFIG, **values: object) -> MentorConfig:
    return dataclasses.replace(config, **values)  # type: ignore[arg-type]
