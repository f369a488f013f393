"""Meta-Weight-Net's own algorithm in plain PyTorch (Shu et al., NeurIPS 2019)."""

from __future__ import annotations

import torch

from peers.contender import Every
from peers.problem import RATE, losses_with


class DoubleBackward(Every):
    """Virtual step on a functional copy → meta loss → mentor → real step with the mentor that has just learned."""

    name = "double backward"
    memory_format = torch.contiguous_format
    note = "as Meta-Weight-Net: virtual step, plain SGD; then the real one"

    def meta_step(self) -> None:
        problem, batch = self.problem, self.problem.peek()
        student, params = problem.student, dict(problem.student.named_parameters())
        buffers = {name: buffer.clone() for name, buffer in student.named_buffers()}
        losses = losses_with(student, {**params, **buffers}, batch)
        loss = (problem.normalised_weights(losses) * losses).sum()
        gradients = torch.autograd.grad(loss, list(params.values()), create_graph=True)
        moved = {name: p - RATE * g for (name, p), g in zip(params.items(), gradients, strict=True)}
        problem.learn(problem.hypergradient_of(losses_with(student, {**moved, **buffers}, problem.meta).mean()))
        del losses, loss, gradients, moved  # the graph of the virtual step
        self.weighted_step()
