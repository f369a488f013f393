"""What groups of episodes did to the trusted return: all of them from one gradient and one forward-mode pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from ray_mentor.core.batch import Batch, MetaBatch
from ray_mentor.core.exchange import Alone
from ray_mentor.core.influence.estimators.jvp import ForwardMode
from ray_mentor.core.influence.meta_gradient import meta_gradient, step_direction, unwrapped
from ray_mentor.core.influence.step_jacobian import check_optimizer, is_closed_form
from ray_mentor.core.influence.taken_step import Before, TakenStep, dense_gradient_of, remember
from ray_mentor.core.step.gradient_rules.base import Gradient
from ray_mentor.errors import UserError
from ray_mentor.tasks.rollouts import Rollouts

LogProb = Callable[[Any, Tensor], Tensor]
"""(what the policy returns, actions (rows, d)) -> log π(a|o), (rows,)."""


def categorical(outputs: Any, actions: Float[Tensor, "rows d"]) -> Float[Tensor, " rows"]:
    """Log-probability of one action of several, from logits (rows, actions), or a tuple whose first entry they are."""
    logits = outputs[0] if isinstance(outputs, tuple) else outputs
    return logits.log_softmax(dim=-1).gather(-1, actions[:, :1].long()).squeeze(-1)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Surrogate:
    """ℓ = −A·π_θ(a|o)/π_played(a|o), whose gradient where the policy still is the one that played is −A·∇log π."""

    log_prob: LogProb = categorical

    def __call__(self, outputs: Any, labels: Float[Tensor, "rows columns"]) -> Float[Tensor, " rows"]:
        """The loss of each row; of labels see :attr:`~ray_mentor.tasks.rollouts.PolicyRows.labels`."""
        advantages, played, actions = labels[:, 0], labels[:, 1], labels[:, 2:]
        return -advantages * (self.log_prob(outputs, actions) - played).exp()


@dataclass(frozen=True)
class Found:
    """An update's figures.

    Attributes:
        influence: (groups,) s = ∂J_T(θ')/∂w of each group, w its weight in the step's gradient; above 0: it helps.
        length: ‖D∇J_T‖ of the averaged trusted gradient: s/length depends on no scale of returns. 0: no trusted
            episode said anything.
    """

    influence: Float[NDArray[np.float64], " groups"]
    length: float


class TaskProbe:
    """Looks back on a step of the policy, and says what more of each group of episodes in it would have done.

    θ' = U(θ, Σ_k w_k g_k), g_k = ∇J_k, gives s_k = ∂J_T(θ')/∂w_k = ⟨D∇J_T(θ'), g_k⟩, D = ∂U/∂g of the step that was
    really taken, up to the sign of an optimizer that descends. ∇J_T is the running average, over updates, of the
    gradients of the trusted rollouts' surrogate, which is exact for rollouts at θ and θ' = θ, and PPO's to first order
    otherwise. Rows that an earlier policy played count by their probability ratio.

    Args:
        policy: on its device.
        optimizer: over its params.
        decay: of the average.
    """

    def __init__(
        self,
        policy: nn.Module,
        optimizer: torch.optim.Optimizer,
        decay: float,
        log_prob: LogProb = categorical,
    ) -> None:
        check_optimizer(optimizer)
        self._policy = unwrapped(policy)
        self._optimizer = optimizer
        self._decay = decay
        self._loss = Surrogate(log_prob)
        self._forward = ForwardMode()
        self.average: Gradient = {}
        self.weight = 0.0

    def before_step(self) -> Before:
        """The policy as it is; call it before the training forward."""
        return remember(self._policy, (self._optimizer,), whole_optimizer=not is_closed_form(self._optimizer))

    def __call__(
        self,
        before: Before,
        groups: Sequence[Rollouts],
        trusted: Sequence[Rollouts],
        weights: Float[NDArray[np.float64], " trusted"],
    ) -> Found:
        """The influence of each group of episodes.

        Args:
            before: as it was before the step.
            groups: whose influence is asked for.
            trusted: rollouts of trusted tasks, which no step was taken on.
            weights: of each in J_T = Σ_j weights_j·J_j.

        Raises:
            UserError: gradients that were cleared.
        """
        applied = dense_gradient_of(self._policy)
        if not applied:
            raise UserError("the gradients are gone; call learn after optimizer.step() and before they are cleared")
        gradient, _ = meta_gradient(self._policy, self._loss, self._meta(trusted, weights), Alone(), before.precision)
        if not all(bool(part.isfinite().all()) for part in gradient.values()):
            return Found(np.full(len(groups), np.nan), math.nan)  # which would stay in the average for good
        self.take_in(gradient)
        inputs, labels = self._joined(groups)
        rows = torch.arange(len(labels), device=labels.device)
        none = torch.zeros(len(labels), dtype=labels.dtype, device=labels.device)
        made_of = self._policy, (self._optimizer,), self._loss, self._loss, Batch(rows, rows, inputs, labels)
        taken = TakenStep(*made_of, none, before, applied)
        direction = step_direction(taken, {name: part / self.weight for name, part in self.average.items()})
        length = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(direction.values())))))
        # s of a row is ∂M/∂ŵ, M = −J_T and ℓ = −A·ratio: signs of both
        found = -self._forward((taken,), MetaBatch(inputs, labels, len(labels)), direction, rows)
        owners = np.repeat(np.arange(len(groups)), [len(group.rows) for group in groups])
        sums = np.bincount(owners, weights=found.detach().double().cpu().numpy(), minlength=len(groups))
        return Found(sums / np.array([group.rows.episodes for group in groups]), length)

    def take_in(self, gradient: Gradient) -> None:
        """One update's trusted gradient, into the average."""
        new = 1 - self._decay
        self.weight = self._decay * self.weight + new
        for name, part in gradient.items():
            old = self.average.get(name)
            self.average[name] = new * part if old is None else self._decay * old + new * part

    def _meta(self, trusted: Sequence[Rollouts], weights: Float[NDArray[np.float64], " trusted"]) -> MetaBatch:
        inputs, labels = self._joined(trusted)
        by_row = [
            np.full(len(one.rows), weight / one.rows.episodes) for one, weight in zip(trusted, weights, strict=True)
        ]
        return MetaBatch(inputs, labels, 1, torch.from_numpy(np.concatenate(by_row)).to(labels.device))

    def _joined(self, groups: Sequence[Rollouts]) -> tuple[Tensor, Tensor]:
        device = next(self._policy.parameters()).device
        inputs, labels = ([getattr(one.rows, name) for one in groups] for name in ("observations", "labels"))
        return torch.cat(inputs).to(device), torch.cat(labels).to(device)
