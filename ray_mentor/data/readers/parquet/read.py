"""Data sets in files of whatever format: a label column, and encoded images or numeric features."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_mentor.config import DataConfig
from ray_mentor.data.readers.formats.splits import SplitParts
from ray_mentor.data.readers.formats.which import find_all, find_parts
from ray_mentor.data.readers.parquet.columns import Columns, choose_columns, require_columns
from ray_mentor.data.readers.parquet.features import read_features
from ray_mentor.data.readers.parquet.images import read_images
from ray_mentor.data.readers.parquet.labels import encode, find_classes
from ray_mentor.data.readers.parquet.mapped import read_mapped
from ray_mentor.data.readers.parquet.roles import as_for_training, with_roles, without_columns
from ray_mentor.data.readers.parquet.said import doubtful_labels, unknown_to_training
from ray_mentor.data.readers.parquet.stored import stored_inputs
from ray_mentor.data.readers.parquet.table import Table, named_classes, open_table
from ray_mentor.data.readers.places import is_there
from ray_mentor.data.readers.raw import Raw, check_same_shape
from ray_mentor.data.readers.understood import understood
from ray_mentor.data.samples.inputs import AbstractArrayInputs, ImageInputs
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.storage.spread import Spread
from ray_mentor.errors import UserError, listed, shown

Labels = NDArray[np.int64]


def read_files(config: DataConfig, spread: Spread) -> Raw:
    """Reads the splits of a file or folder; labels are checked before any image is decoded.

    Raises:
        UserError: whatever is wrong with files, columns, labels or inputs, naming file, row and sample id.
    """
    files, config = with_roles(find_parts(config.data, config.format), config)
    schema = files.train[0].schema()
    columns = choose_columns(schema, config, files.train[0])
    tables = _open_splits(files, columns)
    columns = dataclasses.replace(columns, checked=None)  # it is read
    stored = ("train",) if config.data_backend == "ray" else ()  # the others are held in memory in the end
    classes = find_classes(tables.values(), named_classes(schema, config.label_column))
    labels = {split: _labels(table, classes) for split, table in tables.items()}
    inputs = {split: _inputs(table, columns, config) for split, table in tables.items() if split not in stored}
    inputs |= {
        split: stored_inputs(tables[split], columns, spread, config.shuffle_rows, config.data_cache) for split in stored
    }
    inputs = _in_one_colour(inputs)
    samples = {
        split: Samples(inputs[split], table.ids, *labels[split], classes, _one(table.names))
        for split, table in tables.items()
    }
    return Raw(
        samples["train"],
        samples.get("test"),
        samples.get("validation"),
        features=columns.features,
        notes=(*files.notes, *_said_of(columns), *doubtful_labels(classes), *unknown_to_training(samples)),
        checked=tables["train"].checked,
        understood=understood(config.data, files.what, config.label_column, samples),
    )


def read_trusted(config: DataConfig, raw: Raw) -> Samples:
    """Reads ``config.meta_data``, a meta set to go with data that is already read; its label column is the truth.

    Raises:
        UserError: as :func:`read_files`, or inputs that don't fit the training split's.
    """
    assert config.meta_data is not None
    if not is_there(config.meta_data):
        raise UserError(
            f"meta_data is {shown(config.meta_data)}, but there is no such file or folder; give a Parquet file"
        )
    if not raw.fit_scale:
        raise UserError(
            f"meta_data is {config.meta_data!r}, but {config.data} is not stored as 8-bit images or features to "
            "compare with; leave meta_data out and set meta_size"
        )
    found = find_all(config.meta_data, config.format)
    config = without_columns(config) if found.roles else as_for_training(config, raw.features)
    found, config = with_roles(found, config)
    files, config = found.train, dataclasses.replace(config, true_label_column=None)
    schema = files[0].schema()
    fix = "--meta-data needs the columns of --data, by the same names"
    require_columns(schema, [config.label_column, *raw.features], files[0], fix=fix)
    if config.id_column not in schema.names:
        config = dataclasses.replace(config, id_column=None)
    columns = choose_columns(schema, config, files[0])
    table = open_table(files, columns)
    labels, _ = _labels(table, raw.train.classes)
    inputs = _inputs(table, columns, config)
    if raw.train.inputs.shape[0] == 3 and isinstance(inputs, ImageInputs):
        inputs = inputs.in_colour()
    meta = Samples(inputs, table.ids, labels, None, raw.train.classes, _one(table.names))
    check_same_shape(meta, raw.train, f"meta_data {config.meta_data!r}")
    return meta


def _said_of(columns: Columns) -> list[str]:
    """What the model is fed, where that is not plain from the settings."""
    if columns.image is not None:
        return []
    count = len(columns.features)
    return [f"{count} feature{'' if count == 1 else 's'}: {listed(columns.features)}"]


def _one(names: pa.ChunkedArray | None) -> pa.LargeStringArray | None:
    return None if names is None else names.combine_chunks()


def _open_splits(files: SplitParts, columns: Columns) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    for split in ("train", "validation", "test"):
        if part := getattr(files, split):
            tables[split] = open_table(part, columns, first_id=sum(map(len, tables.values())))
            columns = dataclasses.replace(columns, checked=None)  # the trusted set is of the training split
    return tables


def _labels(table: Table, classes: tuple[str, ...]) -> tuple[Labels, Labels | None]:
    given = encode(table, table.labels, classes, "label")
    truth = table.true_labels
    return given, None if truth is None else encode(table, truth, classes, "true label")


def _inputs(table: Table, columns: Columns, config: DataConfig) -> AbstractArrayInputs:
    if config.data_backend == "arrow":
        return read_mapped(table, columns, config.data_cache)
    if columns.image is not None:
        return read_images(table, columns.image)
    return read_features(table, columns.features)


def _in_one_colour(inputs: dict[str, AbstractArrayInputs]) -> dict[str, AbstractArrayInputs]:
    """Grey splits get 3 channels if another split has colour."""
    images = {split: value for split, value in inputs.items() if isinstance(value, ImageInputs)}
    if any(value.shape[0] == 3 for value in images.values()):
        return {split: value.in_colour() for split, value in images.items()}
    return inputs
