"""The truth about influences: real steps, with a little more and a little less weight on one sample.

    s_i = ⟨∇M(θ'), (θ'(ŵ_i + h) − θ'(ŵ_i − h))/2h⟩

θ' is reached by the training loop alone (forward, backward, optimizer step) with a student of its own each time, and
∇M is an ordinary backward pass. So both gradients are what autograd says they are, stop-gradients and surrogates
included; nothing of the package takes part but the batch that is handed to the loss.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from taken_steps import Samples, Trainee, as_batch, influences, normalised
from torch import Tensor

from ray_mentor.core.batch import Batch
from ray_mentor.core.influence.estimators import make_estimator

SEED = 7


def real_influences(make: Callable[[], Trainee], batch: Samples, meta: Samples, h: float = 1e-4) -> Tensor:
    """One per sample of the batch, in float64.

    Args:
        make: a trainee that has just been made, the same each time; random numbers begin at one seed.
    """
    n = len(batch[1])
    weights = normalised(n)

    def reached(more: Tensor) -> tuple[Trainee, Tensor]:
        torch.manual_seed(SEED)
        trainee = make()
        trainee.optimizer.zero_grad()
        losses = trainee.losses(copied(batch))
        ((weights + more).to(losses) * losses).sum().backward()
        trainee.optimizer.step()
        params = [param.detach().double().flatten() for param in trainee.student.parameters()]
        return trainee, torch.cat(params)

    with torch.random.fork_rng(devices=[]):
        trainee, _ = reached(torch.zeros(n, dtype=torch.float64))
        trainee.optimizer.zero_grad()
        trainee.losses(copied(meta)).mean().backward()
        slopes = [
            (torch.zeros_like(param) if param.grad is None else param.grad).double().flatten()
            for param in trainee.student.parameters()
        ]
        each = h * torch.eye(n, dtype=torch.float64)
        moved = [(reached(one)[1] - reached(-one)[1]) / (2 * h) for one in each]
        return torch.stack(moved) @ torch.cat(slopes)


def found_influences(estimator: str, make: Callable[[], Trainee], batch: Samples, meta: Samples) -> Tensor:
    """What the estimator of this name finds in the same step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        made, trainee = make_estimator(estimator), make()
        trainee.step(made, copied(batch))
        return influences(made, trainee, (meta[0].clone(), meta[1]))


def copied(samples: Samples) -> Batch:
    """As a batch of its own, that a student may write over."""
    return as_batch((samples[0].clone(), samples[1]))
