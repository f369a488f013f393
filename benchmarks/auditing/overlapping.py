"""A table that nobody could tell more than 69 % of: four classes whose clouds of points overlap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from protocol.people import write
from protocol.regimes import Regime

from ray_mentor import DataConfig, TrainConfig

NOISES = ("symmetric:0.25", "asymmetric:0.25", "none")
"""A quarter, since of half the labels of a class nobody could say which is right."""

_ROWS, _CLASSES, _FEATURES, _APART = 3_000, 4, 8, 0.65


def overlapping(folder: Path) -> Regime:
    """3,000 rows, 30 % of them to test on, 200 trusted; the defaults of ``ray-mentor train``.

    x = μ_y + ε, ε ~ N(0, 1) and μ_y ~ N(0, 0.65²) in each of 8 features, the same for all seeds of runs.
    """
    draw = np.random.default_rng(0)
    middles = _APART * draw.normal(size=(_CLASSES, _FEATURES))
    labels = draw.integers(_CLASSES, size=_ROWS)
    x = middles[labels] + draw.normal(size=(_ROWS, _FEATURES))
    path = folder / "overlapping.parquet"
    write(pa.table({**{f"x{n}": column for n, column in enumerate(x.T)}, "label": labels}), path)
    data = DataConfig(data=str(path), meta_size=200, test_share=0.3)
    return Regime(TrainConfig(data=data), rates=())
