"""What is compared: each method as settings over those of a regime, with the same means where its name says so.

``+trusted``: the trusted samples that are not held out are trained on, too, as the mentor's student is. ``+mixup``:
each batch is mixed. ``+mentormix``: mixed as the mentor mixes, by sample weight, in as many steps as the student
memorises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ray_mentor.config.compared import Compared

_TRUSTED = {"meta_in_training": 1.0}


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


METHODS: dict[str, Method] = {
    "uniform": Method("plain training", {"method": "uniform", "meta_in_training": 0.0}),
    "uniform+trusted": Method("plain training, trusted samples in it", {"method": "uniform", **_TRUSTED}),
    "uniform+trusted+mixup": Method(
        "MixUp, trusted samples in it", {"method": "uniform", "mixing": "mixup", **_TRUSTED}
    ),
    "uniform+trusted+mentormix": Method(
        "plain training, mixed as often as the mentor mixes, trusted samples in it",
        {"method": "uniform", "mixing": "mentormix", **_TRUSTED},
    ),
    "trusted-only": Method(
        "the trusted samples alone, for as many steps", {"method": "uniform", "meta_in_training": 0.0}, data="trusted"
    ),
    "pruned+trusted": Method(
        "cross-validated pruning, trusted samples in it",
        {"method": "uniform", **_TRUSTED},
        data="pruned",
    ),
    "pruned+trusted+mixup": Method(
        "cross-validated pruning, then MixUp, trusted samples in it",
        {"method": "uniform", "mixing": "mixup", **_TRUSTED},
        data="pruned",
    ),
    "pruned+trusted+mentormix": Method(
        "cross-validated pruning, then mixed as often as the mentor mixes, trusted samples in it",
        {"method": "uniform", "mixing": "mentormix", **_TRUSTED},
        data="pruned",
    ),
    "self-paced+trusted": Method("self-paced, trusted samples in it", {"method": "self-paced", **_TRUSTED}),
    "self-paced+trusted+mentormix": Method(
        "self-paced, mixed as the mentor mixes, trusted samples in it",
        {"method": "self-paced", "mixing": "mentormix", **_TRUSTED},
    ),
    "mentornet-unmixed": Method("the mentor, nothing mixed", {"method": "mentornet", "mixing": "none", **_TRUSTED}),
    "mentornet": Method("the mentor", {"method": "mentornet", "mixing": "mentormix", **_TRUSTED}),
    "oracle+trusted": Method("told which labels are right", {"method": "oracle", **_TRUSTED}),
    "oracle+trusted+mentormix": Method(
        "told which labels are right, mixed as the mentor mixes",
        {"method": "oracle", "mixing": "mentormix", **_TRUSTED},
    ),
}
"""By name, in the order of the tables."""

MENTOR, BASELINE, ORACLE = "mentornet", "uniform+trusted+mentormix", "oracle+trusted+mentormix"
"""Between the last two, which have all of the mentor's means but the mentor, lies the gap that it can close."""
