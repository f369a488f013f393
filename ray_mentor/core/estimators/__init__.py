"""Estimators of the influences s_i = ⟨D∇M(θ'), ∇ℓ_i(θ)⟩."""

from __future__ import annotations

from ray_mentor.core.estimators.base import AbstractEstimator
from ray_mentor.core.estimators.jvp import ForwardMode
from ray_mentor.errors import one_of

ESTIMATORS: dict[str, type[AbstractEstimator]] = {"jvp": ForwardMode}


def make_estimator(name: str) -> AbstractEstimator:
    """The estimator of this name."""
    return ESTIMATORS[one_of(name, ESTIMATORS, "estimator")]()


__all__ = ["ESTIMATORS", "AbstractEstimator", "ForwardMode", "make_estimator"]
