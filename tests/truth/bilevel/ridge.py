"""Weighted ridge regression, whose bilevel problem has a closed form; and the project's own engine on it, in float64.

ℓ_i(θ) = ½(x_iᵀθ − y_i)², θ*(w) = H⁻¹ Σ ŵ_i x_i y_i, H = Σ ŵ_i x_i x_iᵀ + ρI, M(θ) = mean of ½(xᵀθ − y)² over the meta
set, F(w) = M(θ*(w)). The mentor is one logit a group of samples: w_i = σ(z_g). Nothing of the closed forms comes from
the package.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from truth_curriculum import as_batch, changed, double_by_default

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.batch import Batch, MetaBatch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.exchange import Alone
from ray_mentor.core.mentor.access import AbstractMentorAccess, LocalMentor
from ray_mentor.core.mentor.learner import MentorLearner, MetaUpdate
from ray_mentor.core.methods.mixing import NoMixing
from ray_mentor.core.methods.parts import Parts
from ray_mentor.core.methods.weightings import AbstractWeighting, Learned
from ray_mentor.core.step.features import Features
from ray_mentor.core.step.gradient_rules import Identity

D = torch.float64

CONFIG = changed(
    mentor_features=("label",), mentor_hidden=(), anchor=0.0, entropy=0.0, min_effective_share=0.0, min_class_share=0.0
)


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, of: torch.Generator) -> Tensor:
    return torch.randn(*shape, generator=of, dtype=D)


def spectrum(largest_over_smallest: float, d: int, of: torch.Generator) -> Tensor:
    """A matrix with eigenvalues from 1 down to 1/κ, evenly in their logarithms, turned at random."""
    turned = torch.linalg.qr(normal(d, d, of=of))[0]
    return turned @ torch.diag(torch.logspace(0, -math.log10(largest_over_smallest), d, dtype=D)) @ turned.T


@dataclass(frozen=True)
class Problem:
    """Samples in groups, a trusted set, and ρ."""

    x: Tensor
    y: Tensor
    group: Tensor
    meta_x: Tensor
    meta_y: Tensor
    ridge: float = 0.0

    @property
    def groups(self) -> int:
        return int(self.group.max()) + 1

    @property
    def batch(self) -> Batch:
        return as_batch((torch.cat([self.x, self.y[:, None]], dim=1), self.group))

    @property
    def meta(self) -> MetaBatch:
        inputs = torch.cat([self.meta_x, self.meta_y[:, None]], dim=1)
        return MetaBatch(inputs, torch.zeros(len(inputs), dtype=torch.long), size=len(inputs))

    def shares(self, weight_of_group: Tensor) -> Tensor:
        """ŵ of each sample."""
        w = weight_of_group[self.group]
        return w / w.sum()

    def hessian(self, shares: Tensor) -> Tensor:
        eye = torch.eye(self.x.shape[1], dtype=D)
        return self.x.T @ (shares[:, None] * self.x) + self.ridge * eye

    def solution(self, shares: Tensor) -> Tensor:
        return torch.linalg.solve(self.hessian(shares), self.x.T @ (shares * self.y))

    def gradients(self, theta: Tensor) -> Tensor:
        """∇ℓ_i(θ), a row a sample."""
        return (self.x @ theta - self.y)[:, None] * self.x

    def meta_loss(self, theta: Tensor) -> float:
        return float((self.meta_x @ theta - self.meta_y).square().mean() / 2)

    def meta_gradient(self, theta: Tensor) -> Tensor:
        return self.meta_x.T @ (self.meta_x @ theta - self.meta_y) / len(self.meta_x)

    def outer_loss(self, weight_of_group: Tensor) -> float:
        """F(w)."""
        return self.meta_loss(self.solution(self.shares(weight_of_group)))

    def bilevel(self, shares: Tensor) -> Tensor:
        """∂F/∂ŵ_i = −∇M(θ*)ᵀ H⁻¹ ∇ℓ_i(θ*)."""
        theta = self.solution(shares)
        return -self.gradients(theta) @ torch.linalg.solve(self.hessian(shares), self.meta_gradient(theta))

    def in_logits(self, weight_of_group: Tensor, per_share: Tensor) -> Tensor:
        """Σ_i s_i ∂ŵ_i/∂z_g, of w = σ(z)."""
        z = torch.logit(weight_of_group).requires_grad_()
        (found,) = torch.autograd.grad((per_share * self.shares(torch.sigmoid(z))).sum(), z)
        return found


def problem_of(
    hessians: list[Tensor], optima: list[Tensor], wanted: Tensor, meta_hessian: Tensor, ridge: float = 0.0
) -> Problem:
    """Groups of d samples each whose mean x xᵀ is H_g and whose labels are those of θ_g; and the trusted set."""
    rows = [(len(h) ** 0.5) * torch.linalg.cholesky(h).T for h in hessians]
    meta = (len(meta_hessian) ** 0.5) * torch.linalg.cholesky(meta_hessian).T
    return Problem(
        torch.cat(rows),
        torch.cat([x @ theta for x, theta in zip(rows, optima, strict=True)]),
        torch.arange(len(rows)).repeat_interleave(len(rows[0])),
        meta,
        meta @ wanted,
        ridge,
    )


class Ridge(nn.Module):
    """xᵀθ − y of rows (x, y)."""

    def __init__(self, theta: Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(theta.clone())

    def forward(self, rows: Tensor) -> Tensor:
        return rows[:, :-1] @ self.theta - rows[:, -1]


def half_square(outputs: Tensor, labels: Tensor) -> Tensor:
    return outputs.square() / 2


def learner_at(weight_of_group: Tensor, config: MentorConfig = CONFIG) -> MentorLearner:
    """The project's own mentor, giving each group this sample weight."""
    with double_by_default():
        learner = MentorLearner(config, len(weight_of_group), seed=0)
    params = {name: value.clone() for name, value in learner.network.state_dict().items()}
    params["head.weight"] = (torch.logit(weight_of_group) - params["logit_offset"])[None]
    learner.begin_as(params)
    return learner


class Watched(LocalMentor):
    """The mentor in this process: its last update is kept, and its learning rate can be set anew."""

    last: MetaUpdate

    def learn(self, update: MetaUpdate) -> None:
        self.last = update
        super().learn(update)

    def learn_at(self, rate: float) -> None:
        config, groups, seed = self._learner.made_with
        with double_by_default():
            learner = MentorLearner(dataclasses.replace(config, mentor_learning_rate=rate), groups, seed)
        learner.load(self.state)
        self._learner = learner

    @property
    def weight_of_group(self) -> Tensor:
        return self.score(features_of(self._learner.made_with[1]))


def features_of(groups: int) -> Features:
    """A sample of each group."""
    zero = torch.zeros(groups, dtype=D)
    return Features(zero, zero, torch.arange(groups), zero, torch.zeros(groups, 0, dtype=D))


def curriculum_on(
    problem: Problem,
    theta: Tensor,
    access: AbstractMentorAccess | None,
    *,
    rate: float,
    config: MentorConfig = CONFIG,
    weighting: AbstractWeighting | None = None,
    meta_batch: Callable[[int], MetaBatch] | None = None,
) -> Curriculum:
    """The engine as it runs everywhere else: a student of plain SGD with weight decay ρ, and the mentor."""
    student = Ridge(theta)
    if weighting is None:
        assert access is not None
        weighting = Learned(access)
    parts = Parts(
        loss=half_square,
        meta_loss=half_square,
        weighting=weighting,
        mixing=NoMixing(),
        gradient_rule=Identity(),
        mentor=access,
        meta_batch=meta_batch or (lambda _: problem.meta),
    )
    return Curriculum(
        student,
        torch.optim.SGD(student.parameters(), lr=rate, weight_decay=problem.ridge),
        parts,
        Alone(),
        CurriculumConfig(),
        config,
        total_steps=10**9,
        n_samples=len(problem.y),
        seed=0,
    )


def theta_of(curriculum: Curriculum) -> Tensor:
    return curriculum.bare.theta.detach().clone()  # type: ignore[union-attr, operator]
