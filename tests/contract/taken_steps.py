"""Real student steps, taken without a curriculum, and the influences that an estimator finds in them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ray_mentor.core.batch import Batch, MetaBatch
from ray_mentor.core.exchange import Alone
from ray_mentor.core.influence.estimators import AbstractEstimator
from ray_mentor.core.influence.meta_gradient import meta_gradient, step_direction
from ray_mentor.core.influence.taken_step import TakenStep, remember
from ray_mentor.core.losses import PerSampleLoss, cross_entropy, per_sample_losses
from ray_mentor.core.step.gradient_rules.base import Gradient
from ray_mentor.core.step.student_step import gradient_of

Samples = tuple[Tensor, Tensor]


def as_batch(samples: Samples, share: Tensor | None = None, partners: Tensor | None = None) -> Batch:
    rows = torch.arange(len(samples[1]), device=samples[1].device)
    return Batch(rows, rows, *samples, partner_labels=partners, share=share)


@dataclass
class Trainee:
    """A student in training, as it stands.

    Attributes:
        autocast: the type its forward passes run in; None for its own.
        clip: the norm that gradients are clipped to, between backward pass and step.
    """

    student: nn.Module
    optimizer: Optimizer
    loss: PerSampleLoss = cross_entropy
    autocast: torch.dtype | None = None
    clip: float | None = None
    steps: list[TakenStep] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        return next(self.student.parameters()).device

    def losses(self, batch: Batch) -> Tensor:
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            return per_sample_losses(self.student, self.loss, batch)

    def warm_up(self, batches: list[Samples]) -> None:
        for batch in batches:
            self.optimizer.zero_grad()
            self.losses(as_batch(batch)).mean().backward()
            self.optimizer.step()

    def step(self, estimator: AbstractEstimator, *micro_batches: Batch) -> TakenStep:
        """One optimizer step, of which the last micro-batch is remembered."""
        self.optimizer.zero_grad()
        for batch in micro_batches:
            with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
                heard = estimator.listen(self.student)
                whole = estimator.remembers_optimizer((self.optimizer,))
                before = remember(self.student, (self.optimizer,), whole_optimizer=whole, heard=heard)
            losses = self.losses(batch)
            weights = normalised(len(batch)).to(losses)
            (weights * losses).sum().backward()
        before.stop_listening()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.student.parameters(), self.clip)
        self.optimizer.step()
        applied = {name: gradient.clone() for name, gradient in gradient_of(self.student).items()}
        taken = TakenStep(self.student, (self.optimizer,), self.loss, self.loss, batch, weights, before, applied)
        self.steps.append(taken)
        return taken


def normalised(n: int) -> Tensor:
    """Sample weights that are not all the same, and add up to 1."""
    weights = torch.linspace(0.5, 1.5, n, dtype=torch.float64)
    return weights / weights.sum()


def influences(
    estimator: AbstractEstimator,
    trainee: Trainee,
    meta: Samples,
    chosen: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """What the estimator says of the samples of the trainee's last ``look_ahead`` steps' first.

    Args:
        weights: what each sample of the meta batch counts for.
    """
    steps = trainee.steps[-estimator.look_ahead :]
    batch = MetaBatch(*meta, len(meta[1]), weights)
    rows = torch.arange(len(steps[0].batch), device=trainee.device) if chosen is None else chosen
    return estimator(steps, batch, direction(trainee, meta, estimator.names(trainee.student), weights), rows)


def direction(
    trainee: Trainee, meta: Samples, names: Collection[str] | None = None, weights: Tensor | None = None
) -> Gradient:
    """D∇M of the trainee's last step."""
    step, batch = trainee.steps[-1], MetaBatch(*meta, len(meta[1]), weights)
    gradient, _ = meta_gradient(trainee.student, trainee.loss, batch, Alone(), step.before.precision, names)
    return step_direction(step, gradient)


def imbalance(trainee: Trainee, found: Tensor, along: Gradient) -> float:
    """|Σ_i ŵ_i s_i − ⟨D∇M, g⟩| / Σ_i |ŵ_i s_i| of the last step: 0 where s are the influences, since g = Σ_i ŵ_i ∇ℓ_i.

    Args:
        found: s.
        along: D∇M.
    """
    step = trainee.steps[-1]
    parts = step.normalised.double() * found.double()
    whole = sum(float((along[name].double() * step.applied[name].double()).sum()) for name in along)
    return abs(float(parts.sum()) - whole) / float(parts.abs().sum())


def found_by(
    estimators: dict[str, AbstractEstimator], make: Callable[[], Trainee], batch: Batch, meta: Samples
) -> dict[str, Tensor]:
    """The influences that each estimator finds in the same step."""
    found = {}
    for name, estimator in estimators.items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            trainee = make()
            trainee.step(estimator, batch)
            found[name] = influences(estimator, trainee, meta)
    return found


def relative_error(found: Tensor, truth: Tensor) -> float:
    """‖found − truth‖ / ‖truth‖."""
    found, truth = found.detach().double().cpu(), truth.detach().double().cpu()
    return float((found - truth).norm() / truth.norm())


def cosine(found: Tensor, truth: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(found.double().cpu(), truth.double().cpu(), dim=0))
