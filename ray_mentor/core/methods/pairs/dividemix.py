"""DivideMix (Li et al. 2020): two students tell each other which labels to believe, and relabel the rest together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ray_mentor.core.batch import Arguments
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.losses import mean_of_views, passed_through
from ray_mentor.core.methods.mixing.base import own_share
from ray_mentor.core.methods.pairs.co_divide import CoDivide
from ray_mentor.core.methods.relabelling import AbstractRelabelling
from ray_mentor.core.step.record import Weighed
from ray_mentor.core.step.student_step import weighted_loss

BELIEVED = 0.5
"""Sample weight above which a given label is believed."""


@dataclass(frozen=True)
class DivideMix(AbstractRelabelling):
    """Believed labels are refined, the others guessed, all mixed. Of two students, the sum over k of

        L_k = 1/n Σ_believed CE(z_i, q_i) + λ(t)/m Σ_others ‖softmax z_i − q_i‖²/C + KL(1/C ‖ mean_i softmax z_i) .

    With p_ik what student k says of sample i, a mean over views, and w_ik how far its given label y_i is believed:

        q_ik ∝ (w_ik·y_i + (1 − w_ik)·p_ik)^(1/T)  where w_ik > ½ ,     q_i ∝ (½ Σ_k p_ik)^(1/T)  elsewhere.

    Then x_i ← l·x_i + (1 − l)·x_j and q_i likewise, with l ~ Beta(α, α), at least ½, and a permutation j of all views
    of a rank's samples. λ rises from 0 over the first epochs after the warm-up. n, m and the mean in KL's second place
    are of the global batch, l and j of each rank.

    Published, the two are trained in turn, an epoch each, on 64 believed samples and 64 others a step; here both at
    every step, on a batch as it comes. Where nothing is augmented there is one view, since two would be the same. The
    warm-up is plain cross-entropy: the entropy term that is published for asymmetric noise alone is left out.

    Args:
        divide: says what is believed.
        unlabelled_weight: λ >= 0; published 25, but 0 at 20 % and for asymmetric noise, 150 for hard CIFAR-100.
        alpha: α > 0.
        temperature: T > 0.
        rise: epochs in which λ rises.
    """

    divide: CoDivide
    unlabelled_weight: float
    alpha: float = 4.0
    temperature: float = 0.5
    rise: float = 16.0

    views = 2

    @property
    def is_due(self) -> bool:
        """After the warm-up, which ends when there is something to divide by."""
        return self.divide.state is not None

    def __call__(
        self, looked: Weighed, student: nn.Module, exchange: AbstractExchange, generator: torch.Generator
    ) -> Weighed:
        seen, inputs, size = looked.seen, looked.seen.batch.inputs, len(looked.seen.batch)
        assert not isinstance(inputs, Arguments), "a trainer's batch has one tensor of inputs"
        believed = looked.sample_weights > BELIEVED
        own = believed[seen.own].to(inputs.device)
        share, partner = own_share(self.alpha, generator), torch.randperm(len(inputs), generator=generator)
        partner, views = partner.to(inputs.device), len(inputs) // size
        targets = self.targets(looked, own).repeat(views, 1, 1)
        targets = share * targets + (1 - share) * targets[partner]
        shown = seen.batch.with_inputs(share * inputs + (1 - share) * inputs[partner])
        logits = passed_through(student, shown)
        of_views = self._losses(logits, targets, own.repeat(views, 1), seen.epochs)
        losses = mean_of_views(of_views, size)
        normalised = shares(believed)[seen.own].to(losses)
        loss = weighted_loss(losses, normalised, exchange.world_size)
        loss = loss + exchange.world_size * balance(logits, views * len(believed), exchange)
        seen = dataclasses.replace(seen, losses=losses)
        return dataclasses.replace(looked, seen=seen, normalised=normalised, loss=loss)

    def targets(self, looked: Weighed, believed: Bool[Tensor, "own 2"]) -> Float[Tensor, "own 2 classes"]:
        """q, of this rank's samples and each student."""
        seen = looked.seen
        assert seen.outputs is not None, "what is relabelled was looked at"
        said = mean_of_views(torch.softmax(seen.outputs, dim=2), len(seen.batch))
        given = nn.functional.one_hot(seen.batch.labels, said.shape[2])[:, None].to(said)
        weight = looked.sample_weights[seen.own].to(said)[:, :, None]
        refined, guessed = weight * given + (1 - weight) * said, said.mean(dim=1, keepdim=True)
        sharp = torch.where(believed[:, :, None], refined, guessed) ** (1 / self.temperature)
        return sharp / sharp.sum(dim=2, keepdim=True)

    def strength(self, epochs: float) -> float:
        """λ(t), t passes over the data."""
        rising = (epochs - self.divide.began) / self.rise
        return self.unlabelled_weight * min(max(rising, 0.0), 1.0)

    def _losses(
        self,
        logits: Float[Tensor, "rows 2 classes"],
        targets: Float[Tensor, "rows 2 classes"],
        believed: Bool[Tensor, "rows 2"],
        epochs: float,
    ) -> Float[Tensor, "rows 2"]:
        entropy = -(targets * torch.log_softmax(logits, dim=2)).sum(dim=2)
        squares = (torch.softmax(logits, dim=2) - targets).square().mean(dim=2)
        return torch.where(believed, entropy, self.strength(epochs) * squares)


def shares(believed: Bool[Tensor, "batch 2"]) -> Float[Tensor, "batch 2"]:
    """1/n for each of n samples that a student believes, 1/m for each of the m others, of the global batch."""
    count = believed.double().sum(dim=0)
    return torch.where(believed, 1 / count.clamp(min=1), 1 / (len(believed) - count).clamp(min=1))


def balance(logits: Float[Tensor, "rows 2 classes"], count: int, exchange: AbstractExchange) -> Float[Tensor, ""]:
    """This rank's part of KL(1/C ‖ p̄), p̄ the mean of softmax z over the rows of all ranks, but for a constant.

    Its slope −1/(C·p̄_c) is exact over ranks: p̄ is summed on the device, once, without a graph.

    Args:
        count: rows over all ranks.
    """
    own = torch.softmax(logits, dim=2).sum(dim=0) / count
    (mean,) = exchange.sum_of([own.detach()])
    return -(own / mean.clamp(min=torch.finfo(mean.dtype).tiny)).mean(dim=1).sum()
