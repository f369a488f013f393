"""Mixing: batch to batch, before the student sees it."""

from __future__ import annotations

from ray_mentor.config import CurriculumConfig
from ray_mentor.core.mixing.base import AbstractMixing, NoMixing
from ray_mentor.core.mixing.mixup import MixUp
from ray_mentor.errors import one_of

MIXINGS = ("none", "mixup")


def make_mixing(config: CurriculumConfig) -> AbstractMixing:
    """The mixing that ``config`` names."""
    one_of(config.mixing, MIXINGS, "mixing")
    return NoMixing() if config.mixing == "none" else MixUp(config.mixup_alpha)


__all__ = ["MIXINGS", "AbstractMixing", "MixUp", "NoMixing", "make_mixing"]
