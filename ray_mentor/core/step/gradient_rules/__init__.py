"""Gradient rules: train gradient (and meta gradient, if the rule asks for it) to the gradient that is applied."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ray_mentor.core.step.gradient_rules.base import AbstractGradientRule, Identity
from ray_mentor.core.step.gradient_rules.gradient_vaccine import GradientVaccine, PCGrad

GRADIENT_RULES: Mapping[str, Callable[[], AbstractGradientRule]] = {
    "none": Identity,
    "pcgrad": PCGrad,
    "gradient-vaccine": GradientVaccine,
}

__all__ = ["GRADIENT_RULES", "AbstractGradientRule", "GradientVaccine", "Identity", "PCGrad"]
