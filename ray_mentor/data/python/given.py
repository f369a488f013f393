"""Data in whatever form a user has them in Python: torch data sets, arrays, tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
from torch import Tensor

from ray_mentor.config import DataConfig
from ray_mentor.data.python.arrays import samples_of_arrays
from ray_mentor.data.python.tables import arrow_of_frame, arrow_of_hugging_face, arrow_of_ray, samples_of_table
from ray_mentor.data.samples.samples import Samples, samples_from_dataset
from ray_mentor.errors import UserError, listed, shown


@dataclasses.dataclass(frozen=True)
class Given:
    """Samples, and what others that belong with them must have.

    Attributes:
        features: names of the columns that the model is fed, of a table without images.
    """

    samples: Samples
    features: tuple[str, ...] = ()


def given(data: Any, config: DataConfig, like: Given | None = None, *, targets: bool = False) -> Given:
    """Samples of a torch data set, of arrays (x, y), of a pandas frame, or of a data set of Hugging Face or Ray Data.

    Args:
        config: says which column is what, in a table.
        like: the training split, whose classes and features a meta set or test split has.
        targets: whether labels that aren't one class each are targets of a loss of the user's own.

    Raises:
        UserError: what can't be used, or doesn't fit ``like``.
    """
    classes = None if like is None else like.samples.classes
    if isinstance(data, Samples):
        return Given(data)
    if isinstance(data, str | PurePath):
        raise UserError(
            f"the data are {shown(str(data))}, a path or a name; what lies there is read by "
            "ray_mentor.train(TrainConfig().changed(data=...))"
        )
    if isinstance(data, Mapping):
        raise UserError(
            f"the data are a {type(data).__name__} of {listed(map(str, data), 5)}, not one data set; several splits: "
            "datasets={'train': ..., 'meta': ..., 'test': ...}; of inputs and labels: (inputs, labels)"
        )
    if isinstance(data, tuple | list) and any(isinstance(part, Tensor | np.ndarray) for part in data):
        return Given(samples_of_arrays(data, classes, targets=targets))
    of_table = next((read for home, name, read in _TABLES if is_of(data, home, name)), None)
    if of_table is None:
        return Given(samples_from_dataset(data, classes=classes, targets=targets))
    table, names = of_table(data, config)
    train = None if like is None else (like.samples, like.features)
    samples, features = samples_of_table(table, names, config, train, targets=targets)
    return Given(samples, features)


_TABLES = (
    ("pandas", "DataFrame", arrow_of_frame),
    ("datasets", "Dataset", arrow_of_hugging_face),
    ("ray", "Dataset", arrow_of_ray),
    ("ray", "MaterializedDataset", arrow_of_ray),
)
"""Kinds of tables, by the package that they come from; whoever gives one has it loaded."""


def is_of(data: Any, home: str, name: str) -> bool:
    """Whether it is of a class of that name, or of one that derives from it, without loading the package."""
    return any(kind.__name__ == name and kind.__module__.split(".")[0] == home for kind in type(data).__mro__)
