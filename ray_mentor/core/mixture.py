"""Two kinds of samples told apart by one number each: a mixture of two Gaussians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

ROUNDS, TOLERANCE, LEAST_VARIANCE = 10, 1e-2, 5e-4
"""As DivideMix has them: rounds at most, gain of the mean log-likelihood below which it ends, what is added to each
variance of losses that are normalised to [0, 1]."""


@dataclass(frozen=True)
class Mixture:
    """p(x) = Σ_k π_k·N(x; μ_k, σ_k²), k of two, of losses normalised to x = (ℓ − low)/(high − low).

    Attributes:
        shares: π, the component of the smaller mean first, as below.
        means: μ.
        variances: σ².
        low: smallest loss that it was fitted to.
        high: the largest.
    """

    shares: tuple[float, float]
    means: tuple[float, float]
    variances: tuple[float, float]
    low: float
    high: float

    def low_component(self, losses: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """P(k = 1 | ℓ): how likely it is that a sample is of the component of small losses, in float64.

        As published it is no falling function of ℓ where σ_1 < σ_2: far below μ_1 the wider component takes over.
        """
        x = (losses.double().cpu().numpy() - self.low) / (self.high - self.low)
        joint = _log_joint(x, np.array(self.shares), np.array(self.means), np.array(self.variances))
        return torch.from_numpy(np.exp(joint[0] - np.logaddexp(*joint)))

    def numbers(self) -> list[float]:
        """The inverse of :meth:`of_numbers`."""
        return [*self.shares, *self.means, *self.variances, self.low, self.high]

    @staticmethod
    def of_numbers(numbers: list[float]) -> Mixture:
        """A mixture from its :data:`NUMBERS` numbers."""
        a, b, c, d, e, f, low, high = map(float, numbers)
        return Mixture((a, b), (c, d), (e, f), low, high)

    @staticmethod
    def could_be(numbers: list[float]) -> bool:
        """Whether these could be a mixture's :meth:`numbers`."""
        shares, variances, (low, high) = numbers[:2], numbers[4:6], numbers[6:]
        return all(0 < share <= 1 for share in shares) and all(v > 0 for v in variances) and low < high


NUMBERS = 8
"""That a mixture is made of."""


def fitted(losses: Float[Tensor, " n"]) -> Mixture | None:
    """The mixture of these losses, NaN left out, by expectation-maximisation; None where there are no two different.

    It begins with the two halves of the line that have the least squares within, found exactly, and so depends on no
    random state.
    """
    values = losses.double().cpu().numpy()
    values = values[~np.isnan(values)]
    if len(values) < 2 or not values.min() < values.max():
        return None
    low, high = float(values.min()), float(values.max())
    x = (values - low) / (high - low)
    shares, means, variances = _maximised(x, _halves(x))
    before = -np.inf
    for _ in range(ROUNDS):
        joint = _log_joint(x, shares, means, variances)
        density = np.logaddexp(*joint)
        shares, means, variances = _maximised(x, np.exp(joint - density))
        gain, before = density.mean() - before, density.mean()
        if abs(gain) < TOLERANCE:
            break
    order = np.argsort(means, kind="stable")
    return Mixture.of_numbers([*shares[order], *means[order], *variances[order], low, high])


Numbers = NDArray[np.float64]


def _log_joint(x: Numbers, shares: Numbers, means: Numbers, variances: Numbers) -> Numbers:
    """Log π_k·N(x; μ_k, σ_k²), a row a component."""
    squares = (x - means[:, None]) ** 2 / variances[:, None]
    factors: Numbers = np.log(shares) - 0.5 * np.log(2 * np.pi * variances)
    return factors[:, None] - 0.5 * squares


def _maximised(x: Numbers, belongs: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Shares, means and variances that make the likelihood largest where each x belongs so far to each component."""
    counts = belongs.sum(axis=1) + 10 * np.finfo(float).eps
    means = (belongs * x).sum(axis=1) / counts  # in one order, however many threads there are
    variances = (belongs * (x - means[:, None]) ** 2).sum(axis=1) / counts + LEAST_VARIANCE
    return counts / counts.sum(), means, variances


def _halves(x: Numbers) -> Numbers:
    """Which of two groups each x belongs to, so that the squares within are least: those up to a point, and the rest.

    Σ of squares within = Σx² − s²/n − S²/N, with s, S the groups' sums and n, N their sizes.
    """
    order = np.argsort(x, kind="stable")
    sums, sizes = np.cumsum(x[order])[:-1], np.arange(1, len(x))
    between = sums**2 / sizes + (x.sum() - sums) ** 2 / (len(x) - sizes)
    lower = np.zeros(len(x))
    lower[order[: int(between.argmax()) + 1]] = 1.0
    return np.stack([lower, 1 - lower])
