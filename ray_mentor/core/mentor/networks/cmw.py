"""A mentor that is aware of how large a sample's class is: one shared layer, and a head for each scale of class sizes.

Shu et al., "CMW-Net: Learning a Class-Aware Sample Weighting Mapping for Robust Deep Learning", 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from ray_mentor.core.mentor.networks.base import AbstractMentor, check_sizes
from ray_mentor.core.mentor.networks.mentornet import glorot, zeros
from ray_mentor.core.step.features import Features

N_SHARED, N_SCALES = 100, 3


@final
class CMWMentor(AbstractMentor):
    """z = Σ_k m_{y,k} (a_k · tanh(W ℓ + b) + β_k) + logit(w_0), with a = β = 0 in a fresh mentor.

    ℓ is the loss, y the given label, and m_{y,k} 1 where class y is of scale k, else 0: K-means of the numbers of
    samples per class, with K = 3 (:func:`scales_of`). tanh as in the other mentors; published: a ReLU.
    """

    membership: Tensor

    def __init__(self, n_classes: int, initial_sample_weight: float, seed: int = 0) -> None:
        """Builds a fresh mentor that takes all classes for one scale; see :meth:`take_sizes`.

        Args:
            n_classes: C, >= 1.
            initial_sample_weight: w_0, in (0, 1).
            seed: of the shared layer's initial params; the global random state is neither read nor changed.

        Raises:
            UserError: an initial sample weight outside (0, 1).
        """
        super().__init__(initial_sample_weight)
        draw = torch.Generator().manual_seed(seed)
        self.shared_weight = nn.Parameter(glorot(1, N_SHARED, draw))
        self.shared_bias = nn.Parameter(zeros(N_SHARED).uniform_(-1, 1, generator=draw))
        self.heads = nn.Parameter(zeros(N_SHARED, N_SCALES))
        self.head_biases = nn.Parameter(zeros(N_SCALES))
        self.register_buffer("membership", _one_hot([0] * n_classes))

    sees_sizes = True

    @override
    def take_sizes(self, sizes: Sequence[int]) -> None:
        check_sizes(sizes, len(self.membership))
        self.membership.copy_(_one_hot(scales_of(sizes)))

    def forward(self, features: Features) -> Float[Tensor, " batch"]:
        """Returns the logits z_i; labels lie in 0..C-1."""
        loss = features.loss.to(self.heads.dtype)[:, None]
        of_scales = torch.tanh(loss @ self.shared_weight + self.shared_bias) @ self.heads + self.head_biases
        return (self.membership[features.label.long()] * of_scales).sum(dim=1) + self.logit_offset


def scales_of(sizes: Sequence[int], scales: int = N_SCALES) -> list[int]:
    """The scale of each class, 0 for the smallest: K-means of the sizes, exact, as one dimension allows.

    Least Σ_y (n_y − mean of its cluster)² over all ways to cut the sorted sizes; fewer clusters where there are fewer
    sizes that differ.
    """
    values, place, counts = np.unique(np.asarray(sizes, np.float64), return_inverse=True, return_counts=True)
    centred = values - values.mean()
    sums = [np.concatenate([[0.0], np.cumsum(counts * centred**power)]) for power in range(3)]

    def cost(starts: np.ndarray, end: int) -> np.ndarray:
        """Σ n² − (Σ n)²/count of the distinct sizes from each start to ``end``, which is left out."""
        count, total, squares = (each[end] - each[starts] for each in sums)
        within: np.ndarray = squares - total**2 / count
        return within

    best = np.array([np.inf, *(cost(np.array([0]), end)[0] for end in range(1, len(values) + 1))])
    cuts: list[list[int]] = []
    for _ in range(min(scales, len(values)) - 1):
        tried = [best[:end] + cost(np.arange(end), end) for end in range(1, len(values) + 1)]
        cuts.append([0, *(int(each.argmin()) for each in tried)])
        best = np.array([np.inf, *(each.min() for each in tried)])
    end, starts = len(values), []
    for cut in reversed(cuts):
        end = cut[end]
        starts.append(end)
    return [int(scale) for scale in np.searchsorted(np.sort(starts), place.ravel(), side="right")]


def _one_hot(scales: Sequence[int]) -> Float[Tensor, "classes scales"]:
    return torch.eye(N_SCALES, device="cpu")[torch.tensor(scales, dtype=torch.long, device="cpu")]
