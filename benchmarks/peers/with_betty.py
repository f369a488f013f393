"""Betty 0.1.1, its default ``darts``: https://github.com/leopard-ai/betty."""

from __future__ import annotations

import logging

import torch
from betty.configs import Config, EngineConfig
from betty.engine import Engine
from betty.logging import get_logger
from betty.problems import ImplicitProblem

from peers.contender import Contender
from peers.problem import RATE, Problem, Samples, flat, losses_of


class Inner(ImplicitProblem):
    """The student; ``self.given`` is the contender's problem."""

    def get_batch(self) -> Samples:
        return self.given.batch()

    def training_step(self, batch: Samples) -> torch.Tensor:
        losses = losses_of(self.module, batch)
        return (self.given.normalised_weights(losses) * losses).sum()


class Outer(ImplicitProblem):
    """The mentor."""

    def get_batch(self) -> Samples:
        return self.given.meta

    def training_step(self, batch: Samples) -> torch.Tensor:
        return losses_of(self.inner.module, batch).mean()

    def param_callback(self, params: list[torch.Tensor]) -> None:
        """Called between the mentor's step and the end of its gradient."""
        self.hypergradient = [param.grad for param in params]


class Betty(Contender):
    """A finite difference of the mentor's gradient along ∇M(θ'), at θ' where the exact one is at θ.

    The losses that the mentor reads move with the difference too, where the exact one holds them.
    """

    name = "Betty"
    note = "darts: not exact, ± at θ'; leaves θ' displaced (p.data.add without _)"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        device = problem.setting.device
        self.inner = Inner("inner", Config(type="darts"), problem.student, problem.optimizer, device=device)
        self.outer = Outer("outer", Config(), problem.mentor, problem.mentor_optimizer, device=device)
        for part in (self.inner, self.outer):
            part.given = problem
        links = {"u2l": {self.outer: [self.inner]}, "l2u": {self.inner: [self.outer]}}
        get_logger().setLevel(logging.WARNING)
        self.engine = Engine([self.outer, self.inner], EngineConfig(), links)
        self.engine.train()

    def step(self) -> None:
        self.engine.global_step += 1
        self.engine.train_step()

    def hypergradient(self) -> torch.Tensor:
        """Times the learning rate, which darts leaves out."""
        self.step()
        return RATE * flat(self.outer.hypergradient)
