"""What is the user's own in the place of settings: student, optimizer, loss."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from ray_mentor.config import DataConfig, TrainConfig, names_of
from ray_mentor.core.losses import PerSampleLoss
from ray_mentor.core.methods.pairs import check_goes_with_two
from ray_mentor.core.methods.table import meta_loss_of, method_of
from ray_mentor.core.student.pair import pair_of
from ray_mentor.core.student.random_state import untouched
from ray_mentor.core.student.trained import frozen
from ray_mentor.data.samples.inputs import AbstractInputs
from ray_mentor.errors import UserError
from ray_mentor.students.weights import Start, check_can_differ, start_of


def check_factories(student: object, optimizer: object) -> None:
    """Refuses what is made already, and by one call for all workers.

    Raises:
        UserError: a student or an optimizer, where what builds one is due.
    """
    if isinstance(student, nn.Module):
        raise UserError("student is a module, but it must be a callable that builds one; e.g. lambda: MyModel()")
    if isinstance(optimizer, torch.optim.Optimizer):
        kind = type(optimizer).__name__
        raise UserError(
            f"optimizer is {kind}(...), but it must be a callable that makes one of the student's params; e.g. "
            f"lambda params: {kind}(params, lr=1e-3)"
        )


def check_head(config: TrainConfig, *, own_optimizer: bool) -> None:
    """Refuses a rate of the last layer's own beside an optimizer of the user's own.

    Raises:
        UserError: naming the setting.
    """
    if own_optimizer and config.student.learning_rate_head is not None:
        raise UserError(
            f"learning_rate_head is {config.student.learning_rate_head:g}, but the optimizer is your own; give the "
            "last layer a group of its own there, or leave one of the two out"
        )


def first_params(path: str | None, build: Callable[[], nn.Module], inputs: AbstractInputs) -> Start | None:
    """What a student begins with that the setting ``student_weights`` names; None: as it is built.

    Args:
        inputs: that it is fed.
    """
    if path is None:
        return None
    with untouched(torch.device("cpu")):
        return start_of(path, build(), inputs.ones())


def student_of(
    build: Callable[[], nn.Module], start: Start | None, config: TrainConfig, *, own_loss: PerSampleLoss | None
) -> Callable[[], nn.Module]:
    """Builds what is trained: the user's student, with what stays as it is, and twice for a method of two."""
    if config.student.freeze:
        build = functools.partial(frozen, build, config.student.freeze)
    if method_of(config.curriculum.method).students == 1:
        return build
    check_goes_with_two(config.curriculum, own_loss)
    check_can_differ(config.curriculum.method, start)
    return functools.partial(pair_of, build)


_OF_GIVEN_DATA = {"augment", "clean_test", "hold_on_device", "group_column", "meta_balance"}
"""What is said of data that are given in Python, too."""

_OPTIMIZER_SETTINGS = ("optimizer", "learning_rate", "learning_rate_head", "momentum", "nesterov", "weight_decay")
"""What an optimizer of the user's own says by itself."""


def recorded(
    config: TrainConfig, asked: Mapping[str, Any] | None, *, own_optimizer: bool, own_loss: bool
) -> dict[str, Any]:
    """Settings for the run's config file.

    Args:
        asked: what the user wants in it; None: the settings that mean something where data and student are given.
        own_optimizer: whether the user gave one, which says by itself what some settings say.
        own_loss: likewise.
    """
    elsewhere = {"resume", "resume_or_start"}
    if asked is None:
        elsewhere |= set(names_of(DataConfig)) - _OF_GIVEN_DATA | {"student"}
        elsewhere |= set(_OPTIMIZER_SETTINGS if own_optimizer else ())
    asks = config.flat() if asked is None else asked
    record = {name: value for name, value in asks.items() if name not in elsewhere}
    record["workers"] = config.run.workers
    if own_loss:
        record.pop("loss", None)  # a name is none of its own
        record["meta_loss"] = meta_loss_of(config.mentor, own_loss=True)
    return record
