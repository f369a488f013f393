"""The mentor as the workers see it: one actor, one call per global step, made by rank 0."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import ray
import ray.exceptions
import torch
from jaxtyping import Float
from ray.actor import ActorHandle
from torch import Tensor

from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.mentor.access import AbstractMentorAccess
from ray_mentor.core.mentor.learner import MentorLearner, MentorState, MetaUpdate
from ray_mentor.core.step.features import Features
from ray_mentor.errors import MentorLostError, shown
from ray_mentor.on_ray.mentor.actor import LearnReply, MentorActor, ScoreReply

Reply = TypeVar("Reply", ScoreReply, LearnReply)


class SharedMentor(AbstractMentorAccess):
    """Access to a run's mentor actor.

    Every rank keeps the latest state, which each learn reply brings; it is what a restarted actor is
    handed, what a checkpoint holds, and what a rank that scores by itself does it with.

    Args:
        actor: of class :class:`MentorActor`; its owner is the caller of ``fit()``.
        learner: a mentor of the same make; the state of both is taken to be ``learner``'s.
        hang_seconds: how long the actor may be silent.
        waiting: makes a context for what waits for its answer.
        scored: takes the seconds that the actor took to answer, as rank 0 saw them, each time that it scored.
        scores_here: whether each rank scores every batch, with the same bits as the actor on the same kind of device.

    Raises:
        MentorLostError: by any call, when the actor cannot be brought back.
    """

    def __init__(
        self,
        actor: ActorHandle[MentorActor],
        exchange: AbstractExchange,
        learner: MentorLearner,
        hang_seconds: float,
        waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
        scored: Callable[[float], None] = lambda seconds: None,
        *,
        scores_here: bool = False,
    ) -> None:
        self._actor = actor
        self._exchange = exchange
        self._replica = learner
        self._state = learner.state()
        self._scores_here = scores_here
        self._hang_seconds = hang_seconds
        self._waiting = waiting
        self._scored = scored

    def score(self, features: Features) -> Float[Tensor, " batch"]:
        if self._scores_here:
            return self._replica.score(features)
        weights = torch.empty(len(features))
        if self._exchange.rank == 0:
            began = time.perf_counter()
            reply = self._ask(lambda version: self._actor.score.remote(version, features.matrix()))
            self._scored(time.perf_counter() - began)
            weights = torch.from_numpy(reply.sample_weights.copy())
        return self._exchange.broadcast_floats(weights)

    def learn(self, update: MetaUpdate) -> None:
        state = b""
        if self._exchange.rank == 0:
            columns = update.features.matrix()
            influence, keep = update.influence.numpy(), update.keep.numpy()
            reply = self._ask(
                lambda version: self._actor.learn.remote(version, update.update_id, columns, influence, keep)
            )
            state = packed(reply.state)
        self._adopt(unpacked(self._exchange.broadcast(state)))

    @property
    def state(self) -> MentorState:
        return self._state

    @property
    def skipped(self) -> int:
        return self._state.skipped

    def load(self, state: MentorState) -> None:
        if self._exchange.rank == 0:
            self._hear(lambda: self._actor.load.remote(state))
        self._adopt(unpacked(self._exchange.broadcast(packed(state))))

    def _adopt(self, state: MentorState) -> None:
        self._state = state
        if self._scores_here:
            self._replica.load(state)

    def _ask(self, call: Callable[[int], Any]) -> Any:
        """Asks for the version the workers hold; hands it over and asks again if the actor lacks it."""
        for _ in range(_ATTEMPTS):
            reply = self._hear(lambda: call(self._state.version))
            if not _refused(reply):
                return reply
            self._hear(lambda: self._actor.load.remote(self._state))
        raise MentorLostError(
            f"the mentor actor lost version {self._state.version} {_ATTEMPTS} times in a row: it keeps dying; look at "
            "the memory of its node"
        )

    def _hear(self, call: Callable[[], Any]) -> Any:
        """The answer of the actor; one that is silent for ``hang_seconds`` is ended, which starts it anew.

        Ray repeats a call that the actor died in; each is harmless to repeat.
        """
        for _ in range(_SILENCES):
            try:
                with self._waiting():
                    return ray.get(call(), timeout=self._hang_seconds)
            except ray.exceptions.GetTimeoutError:
                ray.kill(self._actor, no_restart=False)
            except ray.exceptions.RayActorError as error:
                raise MentorLostError(f"the mentor actor died and did not come back ({error})") from error
        raise MentorLostError(
            f"the mentor actor gave no answer in {self._hang_seconds:g} seconds, {_SILENCES} times in a row, each time "
            "started anew; raise --hang-seconds if it only is slow"
        )


_ATTEMPTS = 20
_SILENCES = 3


_NUMBERS = struct.Struct("<qqq")  # version, update id, updates skipped


def packed(state: MentorState) -> bytes:
    """A state as ranks tell it each other."""
    return _NUMBERS.pack(state.version, state.update_id, state.skipped) + state.payload


def unpacked(data: bytes) -> MentorState:
    """The state that was packed.

    Raises:
        RuntimeError: these bytes are not one.
    """
    if not isinstance(data, bytes) or len(data) < _NUMBERS.size:
        raise RuntimeError(f"what rank 0 has sent is {shown(data)}, and no mentor's state")
    version, update_id, skipped = _NUMBERS.unpack_from(data)
    return MentorState(version, update_id, data[_NUMBERS.size :], skipped)


def _refused(reply: ScoreReply | LearnReply) -> bool:
    return (reply.sample_weights if isinstance(reply, ScoreReply) else reply.state) is None
