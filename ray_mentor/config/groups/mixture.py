"""Which share of training each source has, and how that is learnt."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ray_mentor.config.values import require
from ray_mentor.errors import UserError, one_of, shown

FIXED = "fixed:"
MIXTURES = ("learned", "uniform", "size", "odm", "doge", "doremi")


@dataclass(frozen=True)
class MixtureConfig:
    """Which share of training each source has, and how that is learnt."""

    mixture: str | None = None
    """Shares of several sources: learned; the same for all (uniform), by the number of samples (size), or given
    (fixed:wiki=0.7,code=0.3); or by a published rule: odm, doge, doremi. None: learned where there are several."""
    reference: str | None = None
    """doremi: a student like this one that was trained on the prior's shares: another run's folder, or a file of its
    params."""
    prior: Literal["size", "uniform"] = "size"
    """Shares that a mixture which learns starts at; to these a learned one is pulled."""
    prior_pull: float = 0.05
    """Pull κ to the prior at each update, in [0, 1): at rest p ∝ prior·exp(−η·S̃/κ). 0: none, and what is not best
    ends at the floor."""
    shares_rate: float | None = None
    """Rate η, >= 0: of learned shares a step's along the influences, in units of a sample's root mean square one; of
    doge 1/μ; of doremi its η. None: 0.5 of learned shares, and what is published: 20 of doge, 1 of doremi."""
    shares_interval: int = 20
    """Steps of a window, in which shares stay as they are; an update looks back on the first of them, and holds from
    the next window on, so that readers know of each window's samples one window before."""
    shares_burn_in: float = 0.05
    """Share of the steps before the first update, in [0, 1)."""
    share_floor: float = 0.01
    """Least share of a source, >= 0, and below one over their number."""
    influence_decay: float = 0.9
    """Decay of the average of the influences per update, in [0, 1)."""
    probes: int = 16
    """Samples of each source whose influence an update computes, >= 2, over all ranks."""
    max_repeats: float = 0.0
    """How often a sample may come at most, in the mean over its source; 0: as often as its share wants."""
    target_batch: int = 64
    """Samples of the target that an update looks at, of each target, over all ranks."""
    horizon: int = 0
    """Further steps h that an update looks ahead, >= 0: v ← D∇M + (I + D·H)·v, h times, two more backward passes over
    the probes each. 0: the next step alone, which ill-conditioned problems mislead."""

    def __post_init__(self) -> None:
        if self.policy.startswith(FIXED):
            fixed_shares(self.policy)
        elif self.policy not in MIXTURES:
            raise UserError(
                f"unknown mixture {shown(self.mixture)}; valid: {', '.join(MIXTURES)}, or shares such as "
                f"{FIXED}wiki=0.7,code=0.3"
            )
        one_of(self.prior, ("size", "uniform"), "prior")
        for name in ("prior_pull", "shares_burn_in", "influence_decay", "share_floor"):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), "it must lie in [0, 1)")
        for name, least in (("shares_interval", 1), ("probes", 2), ("target_batch", 1), ("horizon", 0)):
            value = getattr(self, name)
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            require(is_whole and value >= least, name, value, f"it must be a whole number, and at least {least}")
        rate = self.shares_rate
        require(rate is None or rate >= 0, "shares_rate", rate, "it must be at least 0")
        require(
            self.max_repeats == 0 or self.max_repeats >= 1,
            "max_repeats",
            self.max_repeats,
            "it must be at least 1, or 0 for no limit",
        )

    @property
    def needs_target(self) -> bool:
        """Whether shares come from what samples do to a target."""
        return self.policy in ("learned", "doge")

    @property
    def looks_back(self) -> bool:
        """Whether an update looks back on a step of the student."""
        return self.policy in ("learned", "doge", "doremi")

    @property
    def policy(self) -> str:
        """How shares come about, with None resolved."""
        return self.mixture or "learned"


def fixed_shares(mixture: str) -> dict[str, float]:
    """The shares that ``fixed:wiki=0.7,code=0.3`` gives, by name.

    Raises:
        UserError: none that are shares, a name twice, or shares that do not add up to 1 within 0.01.
    """
    found: dict[str, float] = {}
    for pair in mixture.removeprefix(FIXED).split(","):
        name, _, text = pair.rpartition("=")
        share = _number(text)
        if not name.strip() or not 0 <= share <= 1:
            raise UserError(
                f"mixture is {shown(mixture)}, but {shown(pair)} is no source with a share in [0, 1]; give e.g. "
                f"{FIXED}wiki=0.7,code=0.3"
            )
        if name.strip() in found:
            raise UserError(f"mixture is {shown(mixture)}, but it names {shown(name.strip())} twice; name it once")
        found[name.strip()] = share
    total = sum(found.values())
    if abs(total - 1) > _ROUNDING:
        raise UserError(f"mixture is {shown(mixture)}, but its shares add up to {total:.4g}; they must add up to 1")
    return {name: share / total for name, share in found.items()}


_ROUNDING = 0.01 + 1e-9  # three times 0.33


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
