"""Betty 0.2.1, its default ``darts`` and SAMA (Choe et al., NeurIPS 2023): https://github.com/leopard-ai/betty."""

from __future__ import annotations

import logging

import torch
from betty.configs import Config, EngineConfig
from betty.engine import Engine
from betty.logging import get_logger
from betty.problems import ImplicitProblem

from peers.contender import Contender
from peers.problem import RATE, Problem, Samples, flat, losses_of


class Ours(ImplicitProblem):
    """``self.given`` is the contender's problem."""

    def patch_optimizer(self) -> None:
        """Keeps the one that is given; Betty's makes a fresh one from defaults that today's AdamW refuses."""


class Inner(Ours):
    """The student."""

    def get_batch(self) -> Samples:
        return self.given.batch()

    def training_step(self, batch: Samples) -> torch.Tensor:
        losses = losses_of(self.module, batch)
        return (self.given.normalised_weights(losses) * losses).sum()


class Outer(Ours):
    """The mentor."""

    def get_batch(self) -> Samples:
        return self.given.meta

    def training_step(self, batch: Samples) -> torch.Tensor:
        return losses_of(self.inner.module, batch).mean()

    def param_callback(self) -> None:
        """Called between the mentor's step and the end of its gradient."""
        self.hypergradient = [param.grad for param in self.trainable_parameters()]


class Betty(Contender):
    """A finite difference of the mentor's gradient, at θ' where the exact one is at θ.

    The losses that the mentor reads move with the difference too, where the exact one holds them.

    Attributes:
        direction: Betty's name of what the difference is taken along: ``darts``: ∇M(θ'); ``sama``: that times the
            optimizer's Jacobian, which for Adam is D∇M(θ') and for SGD ∇M(θ') itself.
    """

    name = "Betty, darts"
    note = "not exact: ± at θ'"
    direction = "darts"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        inner = Config(type=self.direction, unroll_steps=self.period)
        self.inner = Inner("inner", inner, problem.student, problem.optimizer)
        self.outer = Outer("outer", Config(), problem.mentor, problem.mentor_optimizer)
        for part in (self.inner, self.outer):
            part.given = problem
        links = {"u2l": {self.outer: [self.inner]}, "l2u": {self.inner: [self.outer]}}
        get_logger().setLevel(logging.WARNING)
        strategy = "gpu" if problem.setting.device == "cuda" else "cpu"
        self.engine = Engine([self.outer, self.inner], EngineConfig(strategy=strategy), links)
        self.engine.train()

    def step(self) -> None:
        self.engine.global_step += 1
        self.engine.train_step()

    def hypergradient(self) -> torch.Tensor:
        """Times the learning rate, which it leaves out for SGD."""
        self.step()
        return RATE * flat(self.outer.hypergradient)


class Sama(Betty):
    """The closest prior work: it, too, takes the meta gradient through the optimizer's Jacobian."""

    name = "Betty, sama"
    note = "not exact: ± at θ', a norm of 1 away; through Adam's Jacobian"
    direction = "sama"
