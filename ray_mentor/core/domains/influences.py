"""What a domain's samples do to the target loss: all domains from one meta gradient and one forward-mode pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ray_mentor.core.batch import MetaBatch
from ray_mentor.core.domains.shares import DomainInfluence, Shares
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.influence.estimators.jvp import ForwardMode
from ray_mentor.core.influence.meta_gradient import meta_gradient, step_direction
from ray_mentor.core.influence.taken_step import TakenStep
from ray_mentor.core.losses import PerSampleLoss
from ray_mentor.core.step.gradient_rules.base import Gradient
from ray_mentor.core.student.copies import named_copies
from ray_mentor.core.student.random_state import untouched
from ray_mentor.core.student.stateless import called_with


@dataclasses.dataclass(frozen=True)
class Target:
    """One of the things that training is for: M = Σ_t weight_t · (mean loss on t's meta batch).

    Attributes:
        batch: this rank's share of its meta batch.
        weight: of it.
    """

    batch: MetaBatch
    weight: float


class DomainProbe:
    """Looks back on a step, and says what a sample more of each domain in it would have done to M(θ').

    s_i = ∂M(θ')/∂ŵ_i = ⟨D∇M(θ'), ∇ℓ_i(θ)⟩ of each probe, D the optimizer's real step
    (:class:`~ray_mentor.core.influence.estimators.base.AbstractEstimator`), and S_d their mean over domain d: with a
    batch gradient Σ_d p_d g_d, S_d = ∂M/∂p_d. As many passes for 64 domains as for 4.

    With a horizon h, v₀ = D∇M, v ← D∇M + v + D·H·v, and s_i = ⟨v, ∇ℓ_i⟩, v = Σ_{k≤h}(I + D·H)^k D∇M: what a change of
    the shares that is kept over h + 1 such steps does to M, H the Hessian of the probes' loss under the shares, by
    difference of two gradients.

    Args:
        loss: per-sample, of the training and of the target.
        horizon: h >= 0.
    """

    def __init__(self, loss: PerSampleLoss, exchange: AbstractExchange, horizon: int = 0) -> None:
        self._loss = loss
        self._exchange = exchange
        self._horizon = horizon
        self._forward = ForwardMode()

    def __call__(
        self,
        taken: TakenStep,
        targets: Sequence[Target],
        domains: Int[NDArray[np.int64], " own"],
        shares: Shares,
    ) -> tuple[DomainInfluence, float]:
        """S by domain, and M. A collective call.

        Args:
            taken: the step, with this rank's probes for a batch.
            domains: of which domain each probe is.
            shares: p, which the horizon's Hessian is weighed by.
        """
        gradient, total = target_gradient(taken, self._loss, targets, self._exchange)
        direction = step_direction(taken, gradient)
        if self._horizon:
            direction = self._ahead(taken, direction, domains, shares)
        rows = torch.arange(len(taken.batch), device=taken.batch.labels.device)
        found = self._forward((taken,), targets[0].batch, direction, rows)
        influence = found.detach().double().cpu().numpy()
        values = np.stack([influence, influence**2, np.ones(len(influence))])
        sums, squares, count = domain_sums(values, domains, len(shares), self._exchange, found.device)
        return DomainInfluence.of_sums(sums, squares, count.astype(np.int64)), total

    def _ahead(
        self, taken: TakenStep, direction: Gradient, domains: Int[NDArray[np.int64], " own"], shares: Shares
    ) -> Gradient:
        weights = self._weights(domains, shares, taken.batch.labels.device)
        v = direction
        for _ in range(self._horizon):
            turned = step_direction(taken, _hessian_times(taken, self._loss, weights, v, self._exchange))
            v = {name: part + v[name] + turned[name] for name, part in direction.items()}
        return v

    def _weights(
        self, domains: Int[NDArray[np.int64], " own"], shares: Shares, device: torch.device
    ) -> Float[Tensor, " own"]:
        """Of this rank's probes in the mean loss Σ_d p_d·L_d over all ranks."""
        (whole,) = domain_sums(np.ones((1, len(domains))), domains, len(shares), self._exchange, device)
        return torch.from_numpy(shares[domains] / whole[domains]).to(device)


def target_gradient(
    taken: TakenStep, loss: PerSampleLoss, targets: Sequence[Target], exchange: AbstractExchange
) -> tuple[Gradient, float]:
    """∇M at the student's params as they stand, and M = Σ_t weight_t · (mean loss on t's meta batch)."""
    whole: Gradient = {}
    total = 0.0
    for target in targets:
        gradient, share = meta_gradient(taken.student, loss, target.batch, exchange, taken.before.precision)
        total += target.weight * exchange.total(float(share))
        for name, part in gradient.items():
            whole[name] = target.weight * part + whole[name] if name in whole else target.weight * part
    return whole, total


def domain_sums(
    values: Float[NDArray[np.float64], "kinds own"],
    domains: Int[NDArray[np.int64], " own"],
    n: int,
    exchange: AbstractExchange,
    device: torch.device,
) -> Float[NDArray[np.float64], "kinds domains"]:
    """Of each kind of value of this rank's samples, the sums by domain over all ranks, which talk on ``device``."""
    own = np.stack([np.bincount(domains, weights=each, minlength=n) for each in values])
    return exchange.sum_of([torch.from_numpy(own).to(device)])[0].cpu().numpy()


def _hessian_times(
    taken: TakenStep, loss: PerSampleLoss, weights: Float[Tensor, " own"], v: Gradient, exchange: AbstractExchange
) -> Gradient:
    """H·v ≈ (∇L(θ + εv) − ∇L(θ − εv)) / 2ε, L = Σ_i weights_i·ℓ_i, ε = 1e-3 of ‖θ‖ over ‖v‖ (float64: 1e-5)."""
    params = {name: taken.before.params[name] for name in v}
    wide = all(param.dtype == torch.float64 for param in params.values())
    size = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(v.values())))))
    theta = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(params.values())))))
    if size == 0:
        return {name: torch.zeros_like(part) for name, part in v.items()}
    step = (1e-5 if wide else 1e-3) * max(theta, 1.0) / size
    ends = []
    for sign in (1.0, -1.0):
        moved = {name: (param + sign * step * v[name]).requires_grad_() for name, param in params.items()}
        ends.append(_gradient_at(taken, loss, weights, moved))
    pieces = [(plus - minus) / (2 * step) for plus, minus in zip(*ends, strict=True)]
    return dict(zip(v, exchange.sum_of(pieces), strict=True))


def _gradient_at(
    taken: TakenStep, loss: PerSampleLoss, weights: Float[Tensor, " own"], moved: dict[str, Tensor]
) -> tuple[Tensor, ...]:
    device = taken.batch.labels.device
    buffers = named_copies(taken.before.buffers)
    with untouched(device), torch.enable_grad(), taken.before.precision.again():
        taken.before.random_state.put_back()
        outputs = called_with(taken.student, {**taken.before.params, **moved, **buffers}, taken.batch.inputs)
        losses = loss(outputs, taken.batch.labels)
        return torch.autograd.grad((weights.to(losses) * losses).sum(), list(moved.values()))
