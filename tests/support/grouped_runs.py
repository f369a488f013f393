"""Tables of two classes whose easy feature says the class for most, and the contrary for a small group of each."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from small_runs import UNMIXED, make_small_splits, trainer_for

from ray_mentor.on_ray.train.trainer import CurriculumTrainer
from ray_mentor.students import MLP

GROUPS = ("north", "south")
SIZES = (108, 12)


def spurious(seed: int, sizes: tuple[int, int] = SIZES) -> pd.DataFrame:
    """In the group north the feature p says the class, in south it says the other one; q says it to all, less well."""
    draw = np.random.default_rng(seed)
    n = sum(sizes)
    label, south = np.arange(n) % 2, np.arange(n) >= sizes[0]
    sign = 2 * label - 1
    easy = np.where(south, -sign, sign) * 2.0 + 0.3 * draw.standard_normal(n)
    hard = sign * 0.7 + 0.3 * draw.standard_normal(n)
    noise = draw.standard_normal((2, n))
    columns = {"p": easy, "q": hard, "r": noise[0], "s": noise[1]}
    values = {name: np.round(value, 4) for name, value in columns.items()}
    named = {"label": np.where(label, "yes", "no"), "where": np.where(south, "south", "north")}
    return pd.DataFrame({**values, **named}).sample(frac=1, random_state=seed).reset_index(drop=True)


def grouped_trainer(storage: Path, name: str, *, workers: int = 0, **changes: Any) -> CurriculumTrainer:
    """A small trainer on such tables; ``changes`` replace its arguments."""
    arguments: dict[str, Any] = {
        "student": functools.partial(MLP, 4, 2, (16,)),
        "data": spurious(1),
        "meta": spurious(2, (40, 20)),
        "test": spurious(3, (50, 50)),
        "validation": None,
        "curriculum": UNMIXED,
        "group_column": "where",
        "clean_test": True,
    }
    return trainer_for(make_small_splits(), storage, name, workers=workers, **{**arguments, **changes})
