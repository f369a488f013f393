"""Mixing: batch to batch."""

from __future__ import annotations

from ray_mentor.core.methods.mixing.base import AbstractMixing, NoMixing, require_floats
from ray_mentor.core.methods.mixing.mentormix import MentorMix
from ray_mentor.core.methods.mixing.mixup import MixUp


def make_mixing(name: str, alpha: float) -> AbstractMixing:
    """The mixing of this name.

    Args:
        name: one of :data:`~ray_mentor.config.MIXINGS`.
        alpha: α of Beta(α, α).
    """
    if name == "none":
        return NoMixing()
    return MixUp(alpha) if name == "mixup" else MentorMix(alpha)


__all__ = ["AbstractMixing", "MentorMix", "MixUp", "NoMixing", "make_mixing", "require_floats"]
