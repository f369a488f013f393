"""Sweeps of small runs: what makes their trainers, in a form that trials' processes can load."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accidents
import ray
import ray.train
import same_values
import small_runs
from small_runs import make_small_splits, trainer_for

from ray_mentor.config import CurriculumConfig, MentorConfig, RunSettings, TrainConfig
from ray_mentor.on_ray.train.trainer import CurriculumTrainer
from ray_mentor.on_ray.tune.objective import Objective
from ray_mentor.on_ray.tune.trial import Plan

for module in (accidents, same_values, small_runs, sys.modules[__name__]):
    ray.cloudpickle.register_pickle_by_value(module)  # type: ignore[attr-defined]

EPOCHS = 4
BASE = TrainConfig(
    mentor=MentorConfig(update_interval=2, meta_batch_size=20, mentor_hidden=(8,), mentor_learning_rate=0.025),
    curriculum=CurriculumConfig(burn_in=0.0),
    run=RunSettings(workers=0, epochs=EPOCHS, batch_size=32, checkpoint_steps=5, max_failures=1),
)


@dataclass(frozen=True)
class MakeSmall:
    """Makes the trainer of a trial; the student's optimizer is that of ``optimizer``, if it is given."""

    optimizer: Any = None

    def __call__(self, config: TrainConfig, *, test: bool) -> CurriculumTrainer:
        run = config.run
        splits = make_small_splits()
        splits = dataclasses.replace(splits, test=splits.test if test else None)
        changes = {} if self.optimizer is None else {"optimizer": self.optimizer(config)}
        return trainer_for(
            splits,
            Path(run.storage_path),
            str(run.run_name),
            workers=run.workers,
            mentor=config.mentor,
            curriculum=config.curriculum,
            epochs=run.epochs,
            seed=run.seed,
            resume=run.resume,
            checkpoint_steps=run.checkpoint_steps,
            max_failures=0,
            record=config.flat(),
            **changes,
        )


def plan_for(storage: Path, **changes: Any) -> Plan:
    plan = Plan(BASE, MakeSmall(), Objective("accuracy", EPOCHS), str(storage))
    return dataclasses.replace(plan, **changes)


def makers(configs: Any, *, test: bool) -> MakeSmall:
    """Of a study of such runs."""
    return MakeSmall()


def having(config: TrainConfig, **run: Any) -> TrainConfig:
    """With these run settings."""
    return dataclasses.replace(config, run=dataclasses.replace(config.run, **run))
