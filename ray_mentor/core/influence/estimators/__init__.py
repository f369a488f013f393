"""Estimators of the influences s_i = ⟨D∇M(θ'), ∇ℓ_i(θ)⟩."""

from __future__ import annotations

from ray_mentor.core.influence.estimators.base import AbstractEstimator
from ray_mentor.core.influence.estimators.finite_difference import FiniteDifference
from ray_mentor.core.influence.estimators.jvp import ForwardMode
from ray_mentor.core.influence.estimators.last_layer import LastLayer
from ray_mentor.core.influence.estimators.unrolled import Unrolled
from ray_mentor.errors import one_of

ESTIMATORS: dict[str, type[AbstractEstimator]] = {
    "jvp": ForwardMode,
    "finite_difference": FiniteDifference,
    "last_layer": LastLayer,
    "unrolled": Unrolled,
}


def make_estimator(name: str, look_ahead: int = 1) -> AbstractEstimator:
    """The estimator of this name.

    Args:
        look_ahead: student steps between a batch's weights and the meta loss.
    """
    return ESTIMATORS[one_of(name, ESTIMATORS, "estimator")](look_ahead)


__all__ = [
    "ESTIMATORS",
    "AbstractEstimator",
    "FiniteDifference",
    "ForwardMode",
    "LastLayer",
    "Unrolled",
    "make_estimator",
]
