"""Trains a student on labels that can't all be trusted: a mentor weighs each sample, and learns from a trusted few."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ray_mentor.extras import needing

if TYPE_CHECKING:
    from ray_mentor.comparison.compare import CompareOutcome, compare
    from ray_mentor.config import CurriculumConfig, DataConfig, MentorConfig, RunSettings, StudentConfig, TrainConfig
    from ray_mentor.config.compare import CompareSettings
    from ray_mentor.config.groups.learned import LearnConfig
    from ray_mentor.config.groups.mixture import MixtureConfig
    from ray_mentor.config.sweep import SweepSettings
    from ray_mentor.core.losses import make_loss
    from ray_mentor.core.mentor.rule import Rule
    from ray_mentor.core.own_loop.learned_curriculum import LearnedCurriculum
    from ray_mentor.core.own_loop.learned_mixture import LearnedMixture
    from ray_mentor.data.samples.samples import Samples, samples_from_dataset
    from ray_mentor.errors import NonFiniteLossError, UserError
    from ray_mentor.on_ray.train.trainer import CurriculumTrainer
    from ray_mentor.run.audit.audit import Audit
    from ray_mentor.run.outcome import Outcome
    from ray_mentor.run.trained.student import Student
    from ray_mentor.sweep import SweepOutcome, tune_curriculum
    from ray_mentor.training import train

__version__ = "0.2.0"

_HOMES = {
    "Audit": "ray_mentor.run.audit.audit",
    "CompareOutcome": "ray_mentor.comparison.compare",
    "CompareSettings": "ray_mentor.config.compare",
    "compare": "ray_mentor.comparison.compare",
    "CurriculumConfig": "ray_mentor.config",
    "DataConfig": "ray_mentor.config",
    "MentorConfig": "ray_mentor.config",
    "RunSettings": "ray_mentor.config",
    "StudentConfig": "ray_mentor.config",
    "TrainConfig": "ray_mentor.config",
    "LearnedCurriculum": "ray_mentor.core.own_loop.learned_curriculum",
    "LearnedMixture": "ray_mentor.core.own_loop.learned_mixture",
    "LearnConfig": "ray_mentor.config.groups.learned",
    "MixtureConfig": "ray_mentor.config.groups.mixture",
    "make_loss": "ray_mentor.core.losses",
    "Rule": "ray_mentor.core.mentor.rule",
    "Samples": "ray_mentor.data.samples.samples",
    "samples_from_dataset": "ray_mentor.data.samples.samples",
    "NonFiniteLossError": "ray_mentor.errors",
    "Student": "ray_mentor.run.trained.student",
    "UserError": "ray_mentor.errors",
    "Outcome": "ray_mentor.run.outcome",
    "CurriculumTrainer": "ray_mentor.on_ray.train.trainer",
    "train": "ray_mentor.training",
    "SweepOutcome": "ray_mentor.sweep",
    "tune_curriculum": "ray_mentor.sweep",
    "SweepSettings": "ray_mentor.config.sweep",
}
"""Public name to the module it lives in. Loaded on first use: whoever wants the core alone never loads Ray,
and the process of a light actor never loads PyTorch."""

_EXTRAS = {
    "Audit": "ray",
    "Samples": "ray",
    "samples_from_dataset": "ray",
    "Outcome": "ray",
    "Student": "ray",
    "CurriculumTrainer": "ray",
    "train": "ray",
    "CompareOutcome": "tune",
    "compare": "tune",
    "SweepOutcome": "tune",
    "tune_curriculum": "tune",
}
"""Public name to the extra that it needs, of those that need more than PyTorch and NumPy."""

__all__ = [
    "Audit",
    "CompareOutcome",
    "CompareSettings",
    "CurriculumConfig",
    "CurriculumTrainer",
    "DataConfig",
    "LearnedCurriculum",
    "LearnedMixture",
    "MentorConfig",
    "LearnConfig",
    "MixtureConfig",
    "NonFiniteLossError",
    "Outcome",
    "Rule",
    "RunSettings",
    "Samples",
    "Student",
    "StudentConfig",
    "SweepOutcome",
    "SweepSettings",
    "TrainConfig",
    "UserError",
    "compare",
    "make_loss",
    "samples_from_dataset",
    "train",
    "tune_curriculum",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ray_mentor' has no attribute {name!r}; it has {', '.join(__all__)}")
    if name not in _EXTRAS:
        return getattr(importlib.import_module(_HOMES[name]), name)
    with needing(_EXTRAS[name], f"ray_mentor.{name}"):
        return getattr(importlib.import_module(_HOMES[name]), name)
