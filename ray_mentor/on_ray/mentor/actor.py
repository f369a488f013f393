"""The mentor as an actor: one per run, shared by all workers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ray_mentor.config import MentorConfig
from ray_mentor.core.mentor.learner import MentorLearner, MentorState, MetaUpdate
from ray_mentor.core.mentor.trial import mentor_of
from ray_mentor.core.step.features import Features
from ray_mentor.errors import UserError
from ray_mentor.on_ray.mentor.calls import CallRules


@dataclass(frozen=True)
class ScoreReply:
    """Sample weights under ``version``; None if that is not the version that was asked for."""

    version: int
    sample_weights: NDArray[np.float32] | None


@dataclass(frozen=True)
class LearnReply:
    """The mentor after the update; None if the actor does not hold the version that the update is for."""

    version: int
    state: MentorState | None


class MentorActor:
    """Owns mentor, optimizer and version; holds nothing of the student.

    Every call names the version it expects. An actor that was restarted is back at its start, version 0, answers
    "not that version", is handed the latest state, and is asked again. An update is applied once per
    update id, whoever repeats it.

    A call that can't be served raises a UserError, which reaches the caller, and leaves the mentor as it was.
    """

    _learner: MentorLearner
    _state: MentorState

    def __init__(self, config: MentorConfig, n_classes: int, seed: int, start: MentorState | None = None) -> None:
        """Takes what the mentor is made with, and what it is before its first update; None: fresh."""
        self._made_with = (config, n_classes, seed)
        self._rules = CallRules(config, n_classes)
        self._take(MentorLearner(config, n_classes, seed))
        if start is not None:
            self.load(start)

    def load(self, state: MentorState) -> None:
        """Becomes the mentor that ``state`` was taken of."""
        self._take(mentor_of(state, *self._made_with))

    def state(self) -> MentorState:
        """The mentor as it stands."""
        return self._state

    def score(self, version: int, features: NDArray[np.float64]) -> ScoreReply:
        """Sample weights of a global batch: a pure function of features and version."""
        self._rules.check_score(version, features)
        if version != self._learner.version:
            return ScoreReply(self._learner.version, None)
        return ScoreReply(version, self._learner.score(Features.from_matrix(features)).numpy())

    def learn(
        self,
        version: int,
        update_id: int,
        features: NDArray[np.float64],
        influence: NDArray[np.float32],
        keep: NDArray[np.bool_],
    ) -> LearnReply:
        """Applies one meta update to ``version``, or answers what applying it before has given."""
        self._rules.check_learn(version, update_id, features, influence, keep)
        if self._learner.update_id != update_id:
            if self._learner.version != version:
                return LearnReply(self._learner.version, None)
            if update_id < self._learner.update_id:
                raise UserError(
                    f"meta update {update_id} is asked for, but {self._learner.update_id} is applied already, and "
                    "they go upwards; load the mentor to go back to"
                )
            rows = Features.from_matrix(features)
            self._learn(MetaUpdate(update_id, rows, torch.from_numpy(influence.copy()), torch.from_numpy(keep.copy())))
        return LearnReply(self._learner.version, self._state)

    def _learn(self, update: MetaUpdate) -> None:
        """Applies an update, or raises and takes it back."""
        try:
            self._learner.learn(update)
        except BaseException:
            self._learner = MentorLearner(*self._made_with)
            self._learner.load(self._state)
            raise
        self._take(self._learner)

    def _take(self, learner: MentorLearner) -> None:
        self._learner = learner
        self._state = learner.state()
