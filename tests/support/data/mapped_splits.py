"""Splits of features, as they are with their inputs in mapped Arrow files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ray_mentor.config import DataConfig
from ray_mentor.data import FeatureInputs, Samples, Splits
from ray_mentor.data.readers import read
from ray_mentor.data.storage.mapped import MappedArray


def mapped_splits(splits: Splits, folder: Path) -> Splits:
    """The same splits; their Parquet and Arrow files lie in ``folder``."""
    parts = {name: getattr(splits, name) for name in ("train", "validation", "meta", "test")}
    return dataclasses.replace(splits, **{name: _mapped(part, folder / name) for name, part in parts.items()})


def _mapped(samples: Samples, folder: Path) -> Samples:
    folder.mkdir()
    assert isinstance(samples.inputs, FeatureInputs)
    columns = {f"x{place}": column for place, column in enumerate(samples.inputs.values[:].T)}
    pq.write_table(pa.table({**columns, "label": samples.labels}), folder / "train.parquet")
    config = DataConfig(data=str(folder), data_backend="arrow", data_cache=str(folder / "cache"))
    inputs = read(config).train.inputs
    assert isinstance(inputs, FeatureInputs)
    assert isinstance(inputs.values, MappedArray)
    return samples.with_inputs(inputs.scaled(samples.inputs.scale))
