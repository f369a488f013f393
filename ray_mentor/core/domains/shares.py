"""From what each domain's samples did to the target loss, to the domain's share of what comes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from ray_mentor.config.groups.mixture import MixtureConfig
from ray_mentor.errors import UserError, shown

Shares = Float[NDArray[np.float64], " domains"]

MOST_CHANGE = 2.0
"""Factor by which a share grows or shrinks in one update at most."""

LEAST = 1e-9
"""Share of a source that is used up, or never helps: its logarithm is a number."""

_FURTHEST = -300.0  # of two logarithms: what lies beyond is bounded either way


@dataclass(frozen=True)
class DomainInfluence:
    """Influences of one update's probes, domain by domain.

    Attributes:
        mean: S_d = ∂M/∂p_d, the mean of s_i over d's probes; NaN of a domain that had none. Below 0: it helps.
        error: the standard error of S_d; NaN likewise.
        count: probes.
        square: the mean of s_i² over all probes.
    """

    mean: Shares
    error: Shares
    count: Int[NDArray[np.int64], " domains"]
    square: float

    @property
    def is_finite(self) -> bool:
        """Whether what is there can be learnt from."""
        some = self.count > 0
        return bool(some.any() and np.isfinite(self.mean[some]).all() and math.isfinite(self.square))

    @staticmethod
    def of_sums(sums: Shares, squares: Shares, count: Int[NDArray[np.int64], " domains"]) -> DomainInfluence:
        """From Σs, Σs² and n of each domain, over all ranks."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = sums / count
            spread = np.maximum(squares / count - mean**2, 0.0) * count / (count - 1)
            return DomainInfluence(mean, np.sqrt(spread / count), count, float(squares.sum() / count.sum()))


Needs = Literal["nothing", "influences", "alignments", "excess", "losses"]
"""What shares go by: S_d; a domain's gradient along the target's; how far its losses are above a reference's, both of
probes; its losses in the step's own batch."""


class AbstractShares(ABC):
    """Of each domain from the next window on, by one rule.

    Args:
        prior: shares that it starts at, which add up to 1.

    Attributes:
        shares: p.
        updates: how many there were.
        skipped: of those, the ones whose figures were not finite, which change nothing.
    """

    needs: ClassVar[Needs]
    """What an update must find."""
    rate: ClassVar[float] = 0.0
    """η where ``shares_rate`` is None."""

    def __init__(self, prior: Shares, settings: MixtureConfig) -> None:
        self.prior = np.asarray(prior, np.float64)
        self.shares = self.prior.copy()
        self.updates = self.skipped = 0
        self._settings = settings
        self._rate = self.rate if settings.shares_rate is None else settings.shares_rate

    def update(self, found: DomainInfluence, most: Shares | None = None) -> float | None:
        """Takes one update's figures in.

        Args:
            found: what is needed, by domain.
            most: upper bounds of the shares; None: 1. Only learned shares keep within them.

        Returns:
            Σ_d p_d·S_d − min_d S_d ≥ 0 of the domains that were probed, p before the update and of these alone: how
            far the mixture is from what the next step would want (0: nothing would gain; Frank & Wolfe 1956). None
            where the figures were not finite, and of shares that do not go by influences.
        """
        if not found.is_finite:
            self.skipped += 1
            return None
        self.updates += 1
        gap = self._gap(found) if self.needs == "influences" else None
        self.shares = self._after(found, most)
        return gap

    def _gap(self, found: DomainInfluence) -> float:
        some = found.count > 0
        own = self.shares[some] / self.shares[some].sum()
        return max(float(own @ found.mean[some] - found.mean[some].min()), 0.0)

    @abstractmethod
    def _after(self, found: DomainInfluence, most: Shares | None) -> Shares:
        """Shares after these figures, which are finite."""

    def table(self) -> dict[str, Any]:
        """Its state, in plain types."""
        kept = {name: value.tolist() for name, value in self._kept().items()}
        return {"shares": self.shares.tolist(), "updates": self.updates, "skipped": self.skipped, **kept}

    def load(self, table: Mapping[str, Any]) -> None:
        """Goes on where :meth:`table` was taken.

        Raises:
            UserError: a state of other domains or of another rule, or one that is none.
        """
        found = {}
        for name, own in {"shares": self.shares, **self._kept()}.items():
            try:
                found[name] = np.asarray(table[name], np.float64)
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(f"{name} is missing in the mixture's state, or is no numbers") from error
            if found[name].shape != own.shape or not np.isfinite(found[name]).all():
                says = f"{name} of the mixture's state is {shown(table[name])}"
                raise UserError(f"{says}, but it must be {len(own)} numbers")
        if (found["shares"] <= 0).any() or abs(found["shares"].sum() - 1) > 1e-6:
            raise UserError(f"shares of the mixture's state are {shown(table['shares'])}, but they must add up to 1")
        self.shares = found.pop("shares")
        self.updates, self.skipped = int(table["updates"]), int(table["skipped"])
        for name, value in found.items():
            self._kept()[name][...] = value

    def _kept(self) -> dict[str, Shares]:
        """What else it keeps, by name: arrays that it never replaces."""
        return {}


@final
class LearnedShares(AbstractShares):
    """p ∝ p^(1−κ) · prior^κ · exp(−η·S̃), within bounds.

    S̄ is the exponential average over updates of S in units of the root mean square of that update's samples'
    influences, which fall by orders of magnitude in a run, so that old ones don't outweigh what is known now; a domain
    that is absent keeps what it has. It counts from its mean under p, for on the simplex only differences do, and is
    shrunk by its standard error: S̃_d = τ²/(τ² + SE_d²)·(S̄_d − Σ_e p_e S̄_e), τ² the variance between domains beyond
    SE² (0: nothing moves). It is not clipped at 0: harm is seen. At rest
    p ∝ prior·exp(−η·S̃/κ), the form that sample weights have under ``entropy``.
    """

    needs = "influences"
    rate = 0.5

    def __init__(self, prior: Shares, settings: MixtureConfig) -> None:
        super().__init__(prior, settings)
        self._sum, self._weight, self._variance = (np.zeros(len(prior)) for _ in range(3))

    def _after(self, found: DomainInfluence, most: Shares | None) -> Shares:
        self._take_in(found)
        pull = self._settings.prior_pull
        wanted = (1 - pull) * np.log(self.shares) + pull * np.log(self.prior) - self._rate * self.scaled
        floor = max(self._settings.share_floor, LEAST)
        high = np.maximum(np.minimum(self.shares * MOST_CHANGE, 1.0 if most is None else most), LEAST)
        low = np.minimum(np.maximum(floor, self.shares / MOST_CHANGE), high)
        return bounded(np.exp(np.maximum(wanted - wanted.max(), _FURTHEST)), low, high)

    def _take_in(self, found: DomainInfluence) -> None:
        decay, some = self._settings.influence_decay, found.count > 0
        scale = math.sqrt(found.square) or 1.0
        mean, error = found.mean / scale, found.error / scale
        error = np.where(np.isfinite(error), error, np.abs(mean))  # of a single probe
        for kept, new, factor in (
            (self._sum, mean, decay),
            (self._weight, np.ones(len(some)), decay),
            (self._variance, error**2, decay**2),
        ):
            share = 1 - decay if factor == decay else (1 - decay) ** 2
            kept[some] = factor * kept[some] + share * new[some]

    @property
    def scaled(self) -> Shares:
        """S̃; 0 of a domain that was never seen."""
        seen = self._weight > 0
        if seen.sum() < 2:
            return np.zeros(len(self.shares))
        level = self._sum[seen] / self._weight[seen]
        variance = self._variance[seen] / self._weight[seen] ** 2
        level = level - level @ (self.shares[seen] / self.shares[seen].sum())
        between = max(float(np.var(level, ddof=1) - variance.mean()), 0.0)
        found = np.zeros(len(self.shares))
        if between > 0:
            found[seen] = level * between / (between + variance)
        return found

    def _kept(self) -> dict[str, Shares]:
        return {"sum": self._sum, "weight": self._weight, "variance": self._variance}


def bounded(wanted: Shares, low: Shares, high: Shares) -> Shares:
    """clip(c·wanted, low, high), c such that they add up to 1: the nearest shares within bounds in relative entropy.

    Where the bounds leave no room for that, the nearer of the two, scaled.
    """
    if low.sum() >= 1:
        return np.asarray(low / low.sum())
    if high.sum() <= 1:
        return np.asarray(high / high.sum())
    # Σ is piecewise linear in c and grows: between two neighbours among the places where a bound begins to hold, it
    # is solved for c
    places = np.sort(np.concatenate([low / wanted, high / wanted]))
    sums = np.array([np.clip(place * wanted, low, high).sum() for place in places])
    above = int(np.searchsorted(sums, 1.0))
    below = max(above - 1, 0)
    width = sums[above] - sums[below]
    step = (1.0 - sums[below]) / width if width > 0 else 0.0
    found = np.clip((places[below] + step * (places[above] - places[below])) * wanted, low, high)
    return np.asarray(found / found.sum())


def adding_up(weights: Sequence[float]) -> tuple[float, ...]:
    """Finite weights >= 0, of which one is above 0, as shares: also such as add up to more than a number holds."""
    _, exponent = math.frexp(max(weights))
    beside = [math.ldexp(weight, -exponent) for weight in weights]
    return tuple(weight / sum(beside) for weight in beside)


def first_shares(sizes: Sequence[int], by: str, floor: float, most: Shares | None = None) -> Shares:
    """Shares by size, or the same for all, within bounds.

    Raises:
        UserError: a floor that leaves no room.
    """
    n = len(sizes)
    if floor * n >= 1:
        raise UserError(
            f"share_floor is {floor:g}, but {n} sources of at least that share leave nothing to be learnt; give less "
            f"than {1 / n:.3g}"
        )
    wanted = np.asarray(sizes, np.float64) if by == "size" else np.ones(n)
    high = np.ones(n) if most is None else np.maximum(most, LEAST)
    return bounded(wanted / wanted.sum(), np.minimum(floor, high), high)
