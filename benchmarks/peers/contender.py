"""What is timed: one iteration of training, with all that its user pays for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor

from peers.problem import Problem, Setting, flat, losses_of


class Contender(ABC):
    """One way to train student and mentor.

    Attributes:
        name: of the row.
        note: what sets it apart.
        period: steps from one mentor update to the next.
        has_hypergradient: whether there is one to compare with the truth.
        memory_format: of the student's params, the faster one: double backward through convolutions has to convert
            what is channels last.
    """

    name: str
    note: str = ""
    period: int = 1
    has_hypergradient: bool = True
    memory_format: torch.memory_format = torch.channels_last

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    @classmethod
    def of(cls, setting: Setting) -> Self:
        """With a problem of its own."""
        return cls(Problem(setting, cls.memory_format))

    @classmethod
    def at(cls, interval: int) -> type[Self]:
        """The same, with an update in every so many steps; a hypergradient has that of every step to compare."""
        name = f"{cls.name}, k = {interval}"
        return type(cls.__name__, (cls,), {"name": name, "period": interval, "has_hypergradient": interval == 1})

    @abstractmethod
    def step(self) -> None:
        """One iteration on the next batch."""

    def hypergradient(self) -> Tensor:
        """∂M/∂φ of the first step, as this contender computes it."""
        self.step()
        return flat(param.grad for param in self.problem.mentor.parameters() if param.grad is not None)


class Every(Contender):
    """A peer that updates its mentor in every ``period``-th step, and in the others weighs samples alone."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self._steps = 0

    @abstractmethod
    def meta_step(self) -> None:
        """One iteration on the next batch, the mentor's update included."""

    def step(self) -> None:
        self._steps += 1
        if self._steps % self.period == 0:
            self.meta_step()
        else:
            self.weighted_step()

    def weighted_step(self) -> None:
        """The student's own step under the mentor's weights."""
        problem = self.problem
        losses = losses_of(problem.student, problem.batch())
        with torch.no_grad():
            weights = problem.normalised_weights(losses)
        problem.optimizer.zero_grad()
        (weights * losses).sum().backward()
        problem.optimizer.step()


class Plain(Contender):
    """No curriculum: the mean loss."""

    name = "plain step"
    has_hypergradient = False

    def step(self) -> None:
        problem = self.problem
        problem.optimizer.zero_grad()
        losses_of(problem.student, problem.batch()).mean().backward()
        problem.optimizer.step()
