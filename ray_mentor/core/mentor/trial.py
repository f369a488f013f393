"""A mentor's state from a file or another process, tried on a mentor of its own before it replaces any."""

from __future__ import annotations

import torch

from ray_mentor.config import MentorConfig
from ray_mentor.core.mentor.learner import MentorLearner, MentorState, MetaUpdate
from ray_mentor.core.plain_load import load_plain, tensors_of
from ray_mentor.core.schema import COUNT, Fields, Is, check, taking_up, whole_number
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
    with taking_up("the mentor's state", _FIX):
        _try(_loaded(state, config, n_classes, seed), config)
        return _loaded(state, config, n_classes, seed)


def check_mentor_state(state: MentorState) -> None:
    """Raises a UserError unless ``state`` is that of some mentor."""
    if not isinstance(state, MentorState):
        raise UserError(f"the mentor's state is {shown(state)}, but it must be a MentorState; give what state() gave")
    check(state, MENTOR, "the mentor's state", "give what state() gave")
    with taking_up("the mentor's state", _FIX):
        if not all(bool(tensor.isfinite().all()) for tensor in tensors_of(load_plain(state.payload))):
            raise ValueError("it holds numbers that are not finite")


MENTOR = Fields(
    version=COUNT,
    update_id=whole_number(-1),
    skipped=COUNT,
    payload=Is(lambda value: type(value) is bytes, "bytes"),
)

_FIX = "it is damaged, or of a mentor that was made with other settings"


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
    if learner.network.evidence is not None:
        learner.network.evidence.check()
    influence = torch.linspace(-1, 1, _ROWS)
    skipped = learner.skipped
    learner.learn(MetaUpdate(0, features, influence, torch.ones(_ROWS, dtype=torch.bool)))
    if learner.skipped != skipped:
        raise ValueError("a step of it is not finite")
