"""Runs of seconds whose samples come from three sources, one of which is junk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from small_runs import UNMIXED, make_small_splits, trainer_for

from ray_mentor.config.groups.mixture import MixtureConfig
from ray_mentor.data import FeatureInputs, Samples
from ray_mentor.on_ray.train.trainer import CurriculumTrainer

CLASSES = ("a", "b", "c")
SETTINGS = MixtureConfig(shares_interval=4, shares_burn_in=0.1, prior="uniform", probes=12, target_batch=30)
STEPS, EPOCHS, BATCH = 80, 8, 32  # 300 samples in ⌈300 / 32⌉ batches of 30


def blobs(n: int, seed: int, *, junk: bool = False) -> Samples:
    """Three clusters and their numbers, or any numbers."""
    centres = 2.0 * np.random.default_rng(0).standard_normal((3, 8))
    draw = np.random.default_rng(seed)
    labels = draw.integers(3, size=n)
    values = (centres[labels] + draw.standard_normal((n, 8))).astype(np.float32)
    return Samples(FeatureInputs(values), np.arange(n), draw.integers(3, size=n) if junk else labels, None, CLASSES)


def sources() -> dict[str, Samples]:
    return {"good": blobs(120, 1), "junk": blobs(130, 2, junk=True), "more": blobs(50, 3)}


def mixed_trainer(storage: Path, name: str, *, workers: int = 0, **changes: Any) -> CurriculumTrainer:
    """A small trainer on three sources; ``changes`` replace its arguments."""
    arguments: dict[str, Any] = {
        "data": sources(),
        "meta": blobs(60, 4),
        "test": blobs(90, 5),
        "validation": None,
        "curriculum": UNMIXED,
        "mixture": SETTINGS,
        "epochs": EPOCHS,
    }
    return trainer_for(make_small_splits(), storage, name, workers=workers, **{**arguments, **changes})
