"""Other ways to shares than by influences: given ones, and those of published rules, to compare with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import final

import numpy as np

from ray_mentor.config.groups.mixture import FIXED, MixtureConfig, fixed_shares
from ray_mentor.core.domains.shares import (
    LEAST,
    AbstractShares,
    DomainInfluence,
    LearnedShares,
    Shares,
    first_shares,
)
from ray_mentor.errors import UserError, listed


@final
class FixedShares(AbstractShares):
    """Shares that stay."""

    needs = "nothing"

    def _after(self, found: DomainInfluence, most: Shares | None) -> Shares:
        return self.shares


@final
class OdmShares(AbstractShares):
    """The highest loss has the largest share: R_d ← 0.9·R_d + 0.1·e^L_d, p_d = (1 − Kε)·R_d/ΣR + ε.

    ε = min(1/K, √(ln K/(K·t))), t the steps so far, L_d the mean loss of d's samples in the step; R is 0 at first, and
    stays for a domain that is absent (Albalak et al. 2023, arXiv 2312.02406; the update of their code). No target takes
    part: of two sources that are worth nothing, the one that can't be learnt has most.
    """

    needs = "losses"

    def __init__(self, prior: Shares, settings: MixtureConfig) -> None:
        super().__init__(prior, settings)
        self._rewards = np.zeros(len(prior))

    def _after(self, found: DomainInfluence, most: Shares | None) -> Shares:
        some, n = found.count > 0, len(self.shares)
        with np.errstate(over="ignore"):
            new = np.minimum(np.exp(found.mean[some]), _LARGEST)
        self._rewards[some] = 0.9 * self._rewards[some] + 0.1 * new
        steps = self.updates * self._settings.shares_interval
        explored = min(1 / n, math.sqrt(math.log(n) / (n * steps)))
        whole = self._rewards.sum()
        shares = (1 - n * explored) * self._rewards / whole + explored if whole > 0 else self.prior
        return np.asarray(np.maximum(shares, LEAST) / np.maximum(shares, LEAST).sum())

    def _kept(self) -> dict[str, Shares]:
        return {"rewards": self._rewards}


@final
class DogeShares(AbstractShares):
    """p ∝ p·exp(η·score), score_d = lr·⟨∇L_d, ∇M⟩/mean ‖∇L‖ within [0, 5·lr], η = 1/μ = 20.

    Both gradients are of the params as they stand, the optimizer's D is left out, and harm counts as nothing (Fan,
    Pagliardini & Jaggi 2023, arXiv 2310.15393; μ 0.05 of their code). A domain that is absent scores 0.
    """

    needs = "alignments"
    rate = 20.0

    def _after(self, found: DomainInfluence, most: Shares | None) -> Shares:
        score = np.where(found.count > 0, np.maximum(-found.mean, 0.0), 0.0)
        return _turned(self.shares, self._rate * score)


@final
class DoremiShares(AbstractShares):
    """p ∝ p·exp(η·λ), then p ← (1 − ε)·p + ε/K, λ_d the mean of max(ℓ − ℓ_ref, 0) over d's tokens, η 1, ε 1e-3.

    ℓ_ref are the losses of a reference model that trained on the prior's shares. What comes of it is the average of p
    over the updates, fixed shares for a third run (Xie et al. 2023, arXiv 2305.10429; ε of their script).
    """

    needs = "excess"
    rate = 1.0

    def _after(self, found: DomainInfluence, most: Shares | None) -> Shares:
        shares = _turned(self.shares, self._rate * np.where(found.count > 0, found.mean, 0.0))
        return (1 - _SMOOTHED) * shares + _SMOOTHED / len(shares)


_SMOOTHED = 1e-3
_LARGEST = 1e30  # of e^loss

RULES: Mapping[str, type[AbstractShares]] = MappingProxyType(
    {"learned": LearnedShares, "odm": OdmShares, "doge": DogeShares, "doremi": DoremiShares}
)
"""Those that learn, by the name that ``mixture`` has for them."""


def shares_of(names: Sequence[str], sizes: Sequence[int], settings: MixtureConfig) -> AbstractShares:
    """What ``settings.mixture`` says, at its start.

    Args:
        names: of the domains.
        sizes: their samples.

    Raises:
        UserError: fixed shares of other names, or a floor that leaves no room.
    """
    kind = settings.policy
    if kind.startswith(FIXED):
        given = fixed_shares(kind)
        if set(given) != set(names):
            raise UserError(
                f"mixture {kind!r} names {listed(given)}, but the sources are {listed(names)}; give each its share "
                "(0: none)"
            )
        shares = np.maximum([given[name] for name in names], LEAST)
        return FixedShares(shares / shares.sum(), settings)
    if kind not in RULES:
        return FixedShares(first_shares(sizes, kind, 0.0), settings)
    floor = settings.share_floor if kind == "learned" else 0.0
    return RULES[kind](first_shares(sizes, settings.prior, floor), settings)


def _turned(shares: Shares, by: Shares) -> Shares:
    """∝ p·exp(by)."""
    found = np.maximum(np.log(shares) + by - np.max(np.log(shares) + by), math.log(LEAST))
    return np.asarray(np.exp(found) / np.exp(found).sum())
