"""A mentor's state from a file or another process, tried on a mentor of its own before it replaces any."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ray_mentor.config import MentorConfig
from ray_mentor.core.mentor.learner import MentorLearner, MentorState, MetaUpdate
from ray_mentor.core.plain_load import load_plain, tensors_of
from ray_mentor.core.step.features import Features
from ray_mentor.errors import UserError, shown

_ROWS = 4  # of the trial


def mentor_of(state: MentorState, config: MentorConfig, n_classes: int, seed: int) -> MentorLearner:
    """The mentor that ``state`` was taken of; a copy of it has scored and learnt, to finite numbers.

    Args:
        state: anything; what it says is believed once it is checked.
        config, n_classes, seed: as the mentor was made with.

    Raises:
        UserError: a state that is damaged, or of a mentor that was made otherwise.
    """
    check_mentor_state(state)
    with _explained():
        _try(_loaded(state, config, n_classes, seed), config)
        return _loaded(state, config, n_classes, seed)


def check_mentor_state(state: MentorState) -> None:
    """Raises a UserError unless ``state`` is that of some mentor."""
    _check_numbers(state)
    with _explained():
        _check_finite(state)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # torch raises whatever it trips over
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(
            f"the mentor's state can't be taken up ({type(error).__name__}: {reason}); it is damaged, or of a mentor "
            "that was made with other settings"
        ) from error


def _check_numbers(state: MentorState) -> None:
    if not isinstance(state, MentorState):
        raise UserError(f"the mentor's state is {shown(state)}, but it must be a MentorState; give what state() gave")
    for name, least in (("version", 0), ("update_id", -1), ("skipped", 0)):
        value = getattr(state, name)
        if type(value) is not int or not least <= value < 2**63:
            raise UserError(
                f"{name} of the mentor's state is {shown(value)}, but it must be an integer from {least} on; "
                "give what state() gave"
            )
    if type(state.payload) is not bytes:
        raise UserError(f"payload of the mentor's state is {shown(state.payload)}, but it must be bytes")


def _check_finite(state: MentorState) -> None:
    if not all(bool(tensor.isfinite().all()) for tensor in tensors_of(load_plain(state.payload))):
        raise ValueError("it holds numbers that are not finite")


def _loaded(state: MentorState, config: MentorConfig, n_classes: int, seed: int) -> MentorLearner:
    learner = MentorLearner(config, n_classes, seed)
    learner.load(state)
    return learner


def _try(learner: MentorLearner, config: MentorConfig) -> None:
    features = Features(
        loss=torch.arange(_ROWS) / 2,
        loss_difference=torch.arange(_ROWS) / 2 - 1,
        label=torch.zeros(_ROWS, dtype=torch.long),
        progress=torch.full((_ROWS,), 0.5),
        history=torch.ones(_ROWS, config.history_length),
    )
    influence = torch.linspace(-1, 1, _ROWS)
    skipped = learner.skipped
    learner.learn(MetaUpdate(0, features, influence, torch.ones(_ROWS, dtype=torch.bool)))
    if learner.skipped != skipped:
        raise ValueError("a step of it is not finite")
