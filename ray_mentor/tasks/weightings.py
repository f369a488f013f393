"""All weightings of tasks in one table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ray_mentor.tasks.base import AbstractWeighting
from ray_mentor.tasks.mentor import Influence, Mentor
from ray_mentor.tasks.published import (
    Availability,
    Learnability,
    LearningProgress,
    Manual,
    Replay,
    TrustedOnly,
    Uniform,
)

WEIGHTINGS: Mapping[str, type[AbstractWeighting]] = MappingProxyType(
    {
        "uniform": Uniform,
        "manual": Manual,
        "trusted-only": TrustedOnly,
        "plr": Replay,
        "learnability": Learnability,
        "learning-progress": LearningProgress,
        "sec": Availability,
        "influence": Influence,
        "mentor": Mentor,
    }
)
"""By the name that ``method`` has for them."""
