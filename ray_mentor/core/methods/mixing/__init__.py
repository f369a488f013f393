"""Mixing: batch to batch."""

from __future__ import annotations

from collections.abc import Callable

from ray_mentor.core.methods.mixing.base import AbstractMixing, NoMixing, require_floats
from ray_mentor.core.methods.mixing.mentormix import MentorMix
from ray_mentor.core.methods.mixing.mixup import MixUp
from ray_mentor.core.methods.mixing.published import PublishedMentorMix


def make_mixing(name: str, alpha: float) -> AbstractMixing:
    """The mixing of this name.

    Args:
        name: one of :data:`~ray_mentor.config.MIXINGS`.
        alpha: α of Beta(α, α).
    """
    return NoMixing() if name == "none" else _MIXINGS[name](alpha)


_MIXINGS: dict[str, Callable[[float], AbstractMixing]] = {
    "mixup": MixUp,
    "mentormix": MentorMix,
    "mentormix-published": PublishedMentorMix,
}

__all__ = ["AbstractMixing", "MentorMix", "MixUp", "NoMixing", "PublishedMentorMix", "make_mixing", "require_floats"]
