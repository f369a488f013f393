"""Gradient rules: train gradient (and meta gradient, if the rule asks for it) to the gradient that is applied."""

from __future__ import annotations

from ray_mentor.core.step.gradient_rules.base import AbstractGradientRule, Identity

__all__ = ["AbstractGradientRule", "Identity"]
