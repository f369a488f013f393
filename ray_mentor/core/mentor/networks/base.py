"""The interface of every mentor: features in, one logit per sample out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ray_mentor.core.mentor.networks.evidence import ClassEvidence
from ray_mentor.core.step.features import Features
from ray_mentor.errors import UserError


class AbstractMentor(nn.Module, ABC):
    """Maps each sample's features x_i to a logit z_i; the sample weight is w_i = sigmoid(z_i + κ·E[y_i, ŷ_i]).

    Row-wise: z_i depends on row i alone, so a batch may be scored in any slices. A fresh mentor gives
    every sample the same sample weight. Everything in ``parameters()`` is trainable; what is frozen is a buffer.

    Attributes:
        logit_offset: added to every logit, shape (1,). Not trained: it holds the scale of the sample
            weights, and moves all of them together (:meth:`shift`).
        evidence: what is known by given and predicted class; None: nothing of that kind is asked.
    """

    logit_offset: Tensor
    evidence: ClassEvidence | None

    def __init__(self, initial_sample_weight: float) -> None:
        """Takes the sample weight of a fresh mentor, in (0, 1)."""
        super().__init__()
        self.register_buffer("logit_offset", torch.zeros(1) + initial_logit(initial_sample_weight))
        self.evidence = None

    @final
    @torch.no_grad()
    def shift(self, by: Float[Tensor, ""]) -> None:
        """Adds ``by`` to the logit of every sample."""
        self.logit_offset += by

    def take_sizes(self, sizes: Sequence[int]) -> None:
        """Learns how many training samples each class has, by their given labels."""

    @property
    def sees_sizes(self) -> bool:
        """Whether it must be told sizes before it is asked."""
        return False

    @abstractmethod
    def forward(self, features: Features) -> Float[Tensor, " batch"]:
        """Returns the logits z_i, unbounded, the offset among them, in the dtype of the mentor's params."""

    @final
    def logits(self, features: Features) -> Float[Tensor, " batch"]:
        """Returns z_i + κ·E[y_i, ŷ_i]: the network's, and the evidence of classes."""
        logits, evidence = self.forward(features), self.evidence
        return logits if evidence is None else logits + evidence.forward(features).to(logits)

    @final
    def sample_weights(self, features: Features) -> Float[Tensor, " batch"]:
        """Returns w_i = sigmoid(z_i + κ·E[y_i, ŷ_i]), in [0, 1]; 1 for samples of the trusted set."""
        return torch.sigmoid(self.logits(features)).masked_fill(features.trusted, 1.0)


def initial_logit(initial_sample_weight: float) -> float:
    """Returns z = log(w / (1 − w)), the logit whose sample weight is w.

    Raises:
        UserError: w outside (0, 1), where no finite logit exists.
    """
    if not 0.0 < initial_sample_weight < 1.0:
        raise UserError(
            f"initial_sample_weight is {initial_sample_weight!r}, but it must lie in (0, 1); "
            "e.g. 0.9 to start with every sample trusted"
        )
    return math.log(initial_sample_weight / (1.0 - initial_sample_weight))


def check_sizes(sizes: Sequence[int], n_classes: int) -> None:
    """Refuses sizes of another number of classes.

    Raises:
        UserError: naming both.
    """
    if len(sizes) != n_classes:
        raise UserError(
            f"there are sizes of {len(sizes)} classes, but this mentor was made for {n_classes}; give one for each"
        )
