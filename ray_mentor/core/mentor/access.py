"""How a step reaches the mentor, wherever it lives."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.mentor.learner import MentorLearner, MentorState, MetaUpdate
from ray_mentor.core.mentor.trial import mentor_of
from ray_mentor.core.step.features import Features


class AbstractMentorAccess(ABC):
    """One mentor, shared by all ranks; every method is a collective call."""

    @abstractmethod
    def score(self, features: Features) -> Float[Tensor, " batch"]:
        """The sample weights of the global batch, the same on every rank."""

    @abstractmethod
    def learn(self, update: MetaUpdate) -> None:
        """Applies one meta update, exactly once."""

    @property
    @abstractmethod
    def state(self) -> MentorState:
        """The latest mentor."""

    @property
    @abstractmethod
    def skipped(self) -> int:
        """Of the updates so far, those that left the mentor as it was because they were not finite."""

    @abstractmethod
    def load(self, state: MentorState) -> None:
        """Puts a mentor in the place of the one that is there."""


class LocalMentor(AbstractMentorAccess):
    """The mentor in this process: for a plain training loop."""

    def __init__(self, learner: MentorLearner) -> None:
        self._learner = learner

    def score(self, features: Features) -> Float[Tensor, " batch"]:
        return self._learner.score(features)

    def learn(self, update: MetaUpdate) -> None:
        self._learner.learn(update)

    @property
    def state(self) -> MentorState:
        return self._learner.state()

    @property
    def skipped(self) -> int:
        return self._learner.skipped

    def load(self, state: MentorState) -> None:
        self._learner = mentor_of(state, *self._learner.made_with)
