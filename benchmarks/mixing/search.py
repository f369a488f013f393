"""Static mixtures to search through: the same for some of the sources, and random shares of these."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ENGLISH = ("speeches", "scripture_en", "encyclopedia", "reviews")
LIKELY = {"A": ENGLISH, "B": ("drama", "speeches", "encyclopedia", "reviews"), "C": (*ENGLISH, "drama")}
"""Sources that whoever knows them would try first."""

BESIDE = {"A": "code", "B": "corrupted_10", "C": "code"}
"""The next best guess."""


def candidates(setting: str, names: Sequence[str]) -> list[str]:
    """Fixed mixtures, as ``MixtureConfig`` has them."""
    likely, beside = LIKELY[setting], BESIDE[setting]
    found = [dict.fromkeys(likely, 1.0), dict.fromkeys((*likely, beside), 1.0)]
    found += [{other: 4.0 if other == name else 1.0 for other in likely} for name in likely]
    draw = np.random.default_rng(0)
    found += [dict(zip(likely, draw.dirichlet(np.full(len(likely), 1.5)), strict=True)) for _ in range(8)]
    return [_fixed(names, shares) for shares in found]


def _fixed(names: Sequence[str], shares: dict[str, float]) -> str:
    whole = sum(shares.values())
    rounded = {name: round(shares.get(name, 0.0) / whole, 3) for name in names}
    return "fixed:" + ",".join(f"{name}={share:g}" for name, share in rounded.items())
