"""TorchOpt 0.7.3, MetaSGD: https://github.com/metaopt/torchopt."""

from __future__ import annotations

import torch
import torchopt

from peers.contender import Contender
from peers.problem import MOMENTUM, RATE, Problem, losses_of


class TorchOpt(Contender):
    """``MetaSGD`` moves the student itself; once the mentor has learned, the graph is cut and the step stays."""

    name = "TorchOpt"
    memory_format = torch.contiguous_format
    note = "MetaSGD; its step is the real one"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.optimizer = torchopt.MetaSGD(problem.student, lr=RATE, momentum=MOMENTUM)
        self._continue_from(problem.optimizer)

    def step(self) -> None:
        problem = self.problem
        losses = losses_of(problem.student, problem.batch())
        self.optimizer.step((problem.normalised_weights(losses) * losses).sum())
        problem.learn(problem.hypergradient_of(losses_of(problem.student, problem.meta).mean()))
        torchopt.stop_gradient(problem.student)
        torchopt.stop_gradient(self.optimizer)

    def _continue_from(self, other: torch.optim.Optimizer) -> None:
        """Gives it the momentum that the others start with; its first step adds the trace without the decay."""
        params, _ = torchopt.pytree.tree_flatten_as_tuple(self.optimizer.param_containers_groups[0])
        decayed = tuple((MOMENTUM * other.state[param]["momentum_buffer"]).requires_grad_() for param in params)
        self.optimizer.state_groups[0] = tuple(
            part._replace(trace=decayed) if hasattr(part, "trace") else part
            for part in self.optimizer.impl.init(params)
        )
