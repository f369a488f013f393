"""What is compared: the lines of `ray-mentor compare`, and baselines that need data of their own.

All but ``uniform`` have the same trusted samples in training. ``-mentormix``: mixed by the mentor's rule, by sample
weight, in as many steps as its own student memorises, which are fewer with equal weights than with a mentor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ray_mentor.config import compared
from ray_mentor.config.compared import Compared


@dataclass(frozen=True)
class Method(Compared):
    """One line of a table.

    Attributes:
        says: what it is, for a reader of the table.
        settings: over those of the regime.
        data: what it is trained on: all of the training split, the trusted samples alone, or what
            cross-validation agrees with (:mod:`~protocol.pruning`).
    """

    data: Literal["all", "trusted", "pruned"] = "all"


_MIXED = {"mixing": "mentormix"}
_BESIDE = {
    "trusted-only": Method(
        "the trusted samples alone, for as many steps", {"method": "uniform", "meta_in_training": 0.0}, data="trusted"
    ),
    "pruned": Method("cross-validated pruning", {"method": "uniform"}, data="pruned"),
    "pruned-mixup": Method(
        "cross-validated pruning, then MixUp", {"method": "uniform", "mixing": "mixup"}, data="pruned"
    ),
    "pruned-mentormix": Method(
        "cross-validated pruning, then mixed by the mentor's rule",
        {"method": "uniform", **_MIXED},
        data="pruned",
    ),
    "self-paced-mentormix": Method("self-paced, mixed by the mentor's rule", {"method": "self-paced", **_MIXED}),
    "oracle-mentormix": Method(
        "told which labels are right, mixed by the mentor's rule", {"method": "oracle", **_MIXED}
    ),
}

_COMPARED = {name: Method(line.says, line.settings) for name, line in compared.METHODS.items()}
_LAST = ("mentornet", "oracle")

METHODS: dict[str, Method] = {
    **{name: line for name, line in _COMPARED.items() if not name.startswith(_LAST)},
    **{name: line for name, line in _BESIDE.items() if not name.startswith(_LAST)},
    **{name: line for name, line in (_COMPARED | _BESIDE).items() if name.startswith(_LAST)},
}
"""By name, in the order of the tables: without a mentor, mentors, oracles."""

MENTOR, BASELINE, ORACLE = "mentornet", "mentormix-uniform", "oracle-mentormix"
"""Between the last two, which have all of the mentor's means but the mentor, lies the gap that it can close."""

MENTORS = frozenset(name for name, line in METHODS.items() if line.settings.get("method", "").startswith("mentornet"))
"""Whose samples a mentor weighs, whatever it is called."""

TWO_STUDENTS = ("co-teaching", "dividemix")
"""At twice the cost."""
