"""Weightings: features to sample weights."""

from __future__ import annotations

from ray_mentor.core.methods.weightings.base import AbstractWeighting
from ray_mentor.core.methods.weightings.learned import Learned
from ray_mentor.core.methods.weightings.oracle import Oracle
from ray_mentor.core.methods.weightings.published import Published
from ray_mentor.core.methods.weightings.self_paced import SelfPaced
from ray_mentor.core.methods.weightings.uniform import Uniform

__all__ = ["AbstractWeighting", "Learned", "Oracle", "Published", "SelfPaced", "Uniform"]
