"""What published rules go by, beside influences: gradients that point the same way, and losses above a reference's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, final

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ray_mentor.core.batch import MetaBatch, outputs_of
from ray_mentor.core.domains.influences import Target, domain_sums, target_gradient
from ray_mentor.core.domains.shares import DomainInfluence, Shares
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.influence.meta_gradient import meta_gradient
from ray_mentor.core.influence.taken_step import TakenStep
from ray_mentor.core.losses import PerSampleLoss
from ray_mentor.core.losses.cross_entropy import PADDING, sequence_cross_entropy
from ray_mentor.core.student.kept_buffers import kept_buffers

Domains = Int[NDArray[np.int64], " own"]

MOST_ALIGNED = 5.0
"""Where DoGE cuts a score off, in units of the learning rate."""


class Measure(Protocol):
    """What an update finds out about each domain from probes, after a step."""

    def __call__(
        self, taken: TakenStep, targets: Sequence[Target], domains: Domains, shares: Shares
    ) -> tuple[DomainInfluence, float]:
        """The figure of each domain, and M where it was needed, else NaN. A collective call.

        Args:
            taken: the step, with this rank's probes for a batch.
            domains: of which domain each probe is.
            shares: p.
        """


@final
class Alignment:
    """−lr·min(⟨∇L_d, ∇M⟩/mean_d ‖∇L_d‖, 5) at the params after the step: below 0, it helps. K + 1 backward passes.

    As an influence under plain gradient descent, in units of the gradients' length; lr is the first group's.
    """

    def __init__(self, loss: PerSampleLoss, exchange: AbstractExchange) -> None:
        self._loss = loss
        self._exchange = exchange

    def __call__(
        self, taken: TakenStep, targets: Sequence[Target], domains: Domains, shares: Shares
    ) -> tuple[DomainInfluence, float]:
        """As :class:`Measure`."""
        wanted, total = target_gradient(taken, self._loss, targets, self._exchange)
        ones, device = np.ones((1, len(domains))), taken.batch.labels.device
        count = domain_sums(ones, domains, len(shares), self._exchange, device)[0].astype(np.int64)
        products, norms = np.full((2, len(shares)), np.nan)
        for domain in np.flatnonzero(count):
            own = taken.batch[torch.from_numpy(np.flatnonzero(domains == domain))]
            meta = MetaBatch(own.inputs, own.labels, int(count[domain]))
            gradient, _ = meta_gradient(taken.student, self._loss, meta, self._exchange, taken.before.precision)
            products[domain] = sum(float((part * wanted[name]).sum()) for name, part in gradient.items())
            norms[domain] = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(gradient.values())))))
        rate = float(taken.optimizers[0].param_groups[0]["lr"])
        length = float(np.nanmean(norms)) + 1e-6
        aligned = -rate * np.minimum(products / length, MOST_ALIGNED)
        return DomainInfluence(aligned, np.full(len(shares), np.nan), count, float(np.nanmean(aligned**2))), total


@final
class Excess:
    """The mean of max(ℓ − ℓ_ref, 0) over a domain's probes, of the student after the step; place by place of sequences.

    Args:
        reference: a trained model of the same inputs, on the student's device; it is only called.
        loss: per-sample; of :func:`~ray_mentor.core.losses.cross_entropy.sequence_cross_entropy` each place counts by
            itself.
    """

    def __init__(self, reference: nn.Module, loss: PerSampleLoss, exchange: AbstractExchange) -> None:
        self._reference = reference
        self._loss = loss
        self._exchange = exchange

    def __call__(
        self, taken: TakenStep, targets: Sequence[Target], domains: Domains, shares: Shares
    ) -> tuple[DomainInfluence, float]:
        """As :class:`Measure`."""
        inputs, labels = taken.batch.inputs, taken.batch.labels
        with kept_buffers(taken.student), kept_buffers(self._reference), torch.no_grad():
            with taken.before.precision.again():
                own, reference = (outputs_of(model, inputs) for model in (taken.student, self._reference))
            excess = self._of(own, reference, labels)
        return domain_means(excess, domains, len(shares), self._exchange), float("nan")

    def _of(self, own: Any, reference: Any, labels: Tensor) -> Float[Tensor, " own"]:
        if self._loss is not sequence_cross_entropy:
            return (self._loss(own, labels) - self._loss(reference, labels)).clamp(min=0.0)
        flat = labels.flatten()
        a, b = (functional.cross_entropy(out.flatten(0, -2), flat, reduction="none") for out in (own, reference))
        places = (labels != PADDING).view(len(labels), -1).sum(dim=1).clamp(min=1)
        return (a - b).clamp(min=0.0).view(len(labels), -1).sum(dim=1) / places


def domain_means(
    values: Float[Tensor, " own"], domains: Domains, n: int, exchange: AbstractExchange
) -> DomainInfluence:
    """Mean and standard error by domain of a value for each of this rank's samples, over all ranks."""
    own = values.detach().double().cpu().numpy()
    sums, squares, count = domain_sums(np.stack([own, own**2, np.ones(len(own))]), domains, n, exchange, values.device)
    return DomainInfluence.of_sums(sums, squares, count.astype(np.int64))
