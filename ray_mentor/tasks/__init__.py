"""Which task an agent practises next: baselines, and a mentor that goes by what helps on trusted tasks."""

from __future__ import annotations

from ray_mentor.tasks.curriculum import TaskCurriculum
from ray_mentor.tasks.rollouts import PolicyRows, Rollouts
from ray_mentor.tasks.settings import TaskSettings
from ray_mentor.tasks.task_set import TaskSet
from ray_mentor.tasks.weightings import WEIGHTINGS

__all__ = ["WEIGHTINGS", "PolicyRows", "Rollouts", "TaskCurriculum", "TaskSet", "TaskSettings"]
