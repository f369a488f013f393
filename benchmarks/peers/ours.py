"""ray_mentor through the core's ``Curriculum``: everything that a user pays for is in it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from peers.contender import Contender
from peers.problem import CLASSES, MENTOR_RATE, Problem, flat
from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.batch import Batch, MetaBatch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.exchange import Alone
from ray_mentor.core.mentor.access import LocalMentor
from ray_mentor.core.mentor.learner import MentorLearner, MentorState, MetaUpdate
from ray_mentor.core.mentor.pace import interval_of
from ray_mentor.core.methods.table import parts_of

SCHEDULE = CurriculumConfig(burn_in=0.0)  # no mentor learns during burn-in: what is timed is what comes after it

NOTES = {
    "jvp": "exact: one forward-mode pass",
    "finite_difference": "two forward passes",
    "last_layer": "of the last layer alone",
    "unrolled": "exact: double backward, the slow reference",
}


class Ours(Contender):
    """Batch → weights from the mentor → the student's own optimizer → influences → mentor."""

    config: MentorConfig

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        with _default_dtype(problem.setting.dtype):
            self.mentor = LocalMentor(MentorLearner(self.config, CLASSES, seed=0))
            if self.has_hypergradient:
                self.mentor.load(_as_state(problem))  # into a mentor that it makes
        self.curriculum = _curriculum(problem, self.config, self.mentor)

    def step(self) -> None:
        inputs, labels = self.problem.batch()
        rows = torch.arange(len(labels))
        self.curriculum.step(Batch(rows, rows, inputs, labels))

    def hypergradient(self) -> Tensor:
        """Σ_i s_i ∂ŵ_i/∂φ with the influences that reached the mentor."""
        updates: list[MetaUpdate] = []
        self.mentor.learn = updates.append
        self.step()
        (update,), device = updates, self.problem.setting.device
        weights = self.problem.normalised_weights(update.features.loss.to(device))
        return flat(self.problem.hypergradient_of((update.influence.to(device) * weights).sum()))


class Defaults(Ours):
    """As installed."""

    config = MentorConfig()
    period = interval_of(config)  # of a run of 1,000 learning steps or more
    name, note = "ray_mentor, defaults", f"jvp, k = {period}, a mentor of two features"
    has_hypergradient = False


def ours(estimator: str, interval: int, batch: int) -> type[Ours]:
    """One estimator, updated every so many steps.

    Args:
        batch: samples of a meta batch.
    """
    config = MentorConfig(
        estimator=estimator,
        update_interval=interval,
        meta_batch_size=batch,
        mentor_features=("loss",),
        mentor_learning_rate=MENTOR_RATE,
        meta_loss="loss",
        entropy=0.0,
        class_evidence=0.0,
    )
    name = f"ray_mentor, {estimator}, k = {interval}"
    return type(estimator, (Ours,), {"name": name, "note": NOTES[estimator], "config": config, "period": interval})


def _curriculum(problem: Problem, config: MentorConfig, mentor: LocalMentor) -> Curriculum:
    meta = MetaBatch(*problem.meta, size=len(problem.meta[1]))
    parts = parts_of(SCHEDULE, config, mentor, None, lambda _: meta)
    return Curriculum(
        problem.student,
        problem.optimizer,
        parts,
        Alone(),
        SCHEDULE,
        config,
        total_steps=10_000,
        n_samples=0,
        seed=0,
    )


def _as_state(problem: Problem) -> MentorState:
    """The problem's mentor, as bytes that a mentor of the package loads."""
    payload = io.BytesIO()
    torch.save({"mentor": problem.mentor.state_dict(), "optimizer": problem.mentor_optimizer.state_dict()}, payload)
    return MentorState(0, -1, payload.getvalue())


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
