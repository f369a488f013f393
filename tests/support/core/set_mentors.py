"""Mentors whose params are set by hand, so that what they say of a batch is known."""

from __future__ import annotations

import io
from typing import Any

import torch
from stand_ins import Spy
from tiny_run import batch_of, curriculum_of, student_of
from torch import Tensor

from ray_mentor.config import MentorConfig
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.mentor.learner import MentorLearner, MentorState
from ray_mentor.core.methods.weightings import Learned

CLASSES, SIZE = 3, 40
"""Of the student of a tiny run, and of the batches here."""


def linear(features: tuple[str, ...], weight: list[float], bias: float = 0.0, **settings: Any) -> Spy:
    """A mentor with logits weight·x + bias and no evidence of classes; the feature ``label`` is one-hot."""
    by_hand = {"update_interval": 1, "mentor_hidden": (), "class_evidence": 0.0}
    given: dict[str, Any] = {**by_hand, "mentor_features": features, **settings}
    learner = MentorLearner(MentorConfig(**given), CLASSES, seed=0)
    params = contents(learner.state())["mentor"]
    set_to = {"head.weight": [weight], "head.bias": [bias], "logit_offset": [0.0]}
    assert params.keys() == set_to.keys()
    learner.load(with_mentor(learner.state(), {name: torch.tensor(value) for name, value in set_to.items()}))
    return Spy(learner)


def run_of(mentor: Spy, student: Any = None, optimizer: Any = None, **changes: Any) -> Curriculum:
    """A curriculum with this mentor and no burn-in. What names a mentor's setting is one, the rest replaces parts."""
    names = MentorConfig.__dataclass_fields__.keys() - {"meta_loss"}
    settings = {name: changes.pop(name) for name in list(changes) if name in names}
    config = MentorConfig(**{"update_interval": 1, **settings})
    arguments = {"weighting": Learned(mentor), "mentor": mentor, "config": config, "total_steps": 100, **changes}
    return curriculum_of(student or student_of(), optimizer, **arguments)


def batch(seed: int = 0, labels: Tensor | None = None) -> Any:
    """A batch of a tiny run, large enough for the default floors."""
    made = batch_of(SIZE, seed)
    rows = torch.arange(SIZE) % 20
    return type(made)(rows, rows, made.inputs, made.labels if labels is None else labels, made.true_labels)


def contents(state: MentorState) -> dict[str, Any]:
    return torch.load(io.BytesIO(state.payload), weights_only=True)


def with_mentor(state: MentorState, params: dict[str, Tensor]) -> MentorState:
    """The state with other params."""
    buffer = io.BytesIO()
    torch.save({**contents(state), "mentor": params}, buffer)
    return MentorState(state.version, state.update_id, buffer.getvalue(), state.skipped)
