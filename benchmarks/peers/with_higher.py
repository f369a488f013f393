"""higher 0.2.1: https://github.com/facebookresearch/higher."""

from __future__ import annotations

import higher
import torch

from peers.contender import Every
from peers.problem import losses_of


class Higher(Every):
    """``innerloop_ctx``; its step is kept as the real one, which spares it the second forward and backward pass."""

    name = "higher"
    memory_format = torch.contiguous_format
    note = "its step copied back as the real one"

    def meta_step(self) -> None:
        problem = self.problem
        with higher.innerloop_ctx(problem.student, problem.optimizer) as (fast, optimizer):
            losses = losses_of(fast, problem.batch())
            optimizer.step((problem.normalised_weights(losses) * losses).sum())
            problem.learn(problem.hypergradient_of(losses_of(fast, problem.meta).mean()))
            self._keep(fast, optimizer)

    @torch.no_grad()
    def _keep(self, fast: torch.nn.Module, optimizer: higher.optim.DifferentiableOptimizer) -> None:
        student = self.problem.student
        for i, (param, moved) in enumerate(zip(student.parameters(), fast.fast_params, strict=True)):
            param.copy_(moved)
            self.problem.optimizer.state[param]["momentum_buffer"].copy_(optimizer.state[0][i]["momentum_buffer"])
        for buffer, moved in zip(student.buffers(), fast.buffers(), strict=True):
            buffer.copy_(moved)
