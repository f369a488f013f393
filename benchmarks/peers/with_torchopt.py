"""TorchOpt 0.7.3, MetaSGD: https://github.com/metaopt/torchopt."""

from __future__ import annotations

import torch
import torchopt
from torch import Tensor

from peers.contender import Every
from peers.problem import MOMENTUM, RATE, Problem, losses_of


class TorchOpt(Every):
    """``MetaSGD`` moves the student itself; once the mentor has learned, the graph is cut and the step stays.

    Between two updates the student's own optimizer steps, which is cheaper than MetaSGD: momentum is handed to and fro.
    """

    name = "TorchOpt"
    memory_format = torch.contiguous_format
    note = "MetaSGD; its step is the real one"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.optimizer = torchopt.MetaSGD(problem.student, lr=RATE, momentum=MOMENTUM)
        self._moved: tuple[dict[str, Tensor], ...] = self.optimizer.param_containers_groups[0]  # of each module
        self._own = tuple(dict(params) for params in self._moved)
        self._take_momentum()

    def meta_step(self) -> None:
        problem = self.problem
        if self.period > 1:
            self._take_momentum()
        losses = losses_of(problem.student, problem.batch())
        self.optimizer.step((problem.normalised_weights(losses) * losses).sum())
        problem.learn(problem.hypergradient_of(losses_of(problem.student, problem.meta).mean()))
        torchopt.stop_gradient(problem.student)
        torchopt.stop_gradient(self.optimizer)
        if self.period > 1:
            self._give_back()

    def _take_momentum(self) -> None:
        """Gives it the momentum of the student's optimizer; its first step adds the trace without the decay."""
        params, state = _flat(self._own), self.problem.optimizer.state
        decayed = tuple((MOMENTUM * state[param]["momentum_buffer"]).requires_grad_() for param in params)
        self.optimizer.state_groups[0] = tuple(
            part._replace(trace=decayed) if hasattr(part, "trace") else part
            for part in self.optimizer.impl.init(params)
        )

    @torch.no_grad()
    def _give_back(self) -> None:
        """Momentum and values to the student's own params, which take their places again."""
        (trace,) = (part.trace for part in self.optimizer.state_groups[0] if hasattr(part, "trace"))
        for param, moved, momentum in zip(_flat(self._own), _flat(self._moved), trace, strict=True):
            param.copy_(moved)
            self.problem.optimizer.state[param]["momentum_buffer"].copy_(momentum)
        for places, own in zip(self._moved, self._own, strict=True):
            places.update(own)


def _flat(params: tuple[dict[str, Tensor], ...]) -> tuple[Tensor, ...]:
    """In the order of its own states."""
    found: tuple[Tensor, ...] = torchopt.pytree.tree_flatten_as_tuple(params)[0]
    return found
