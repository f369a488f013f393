"""Data sets in files of whatever format: a label column, and encoded images or numeric features."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_mentor.config import DataConfig
from ray_mentor.data.readers.formats.splits import SplitParts
from ray_mentor.data.readers.formats.which import find_parts, is_data
from ray_mentor.data.readers.parquet.columns import Columns, choose_columns, require_columns
from ray_mentor.data.readers.parquet.features import read_features
from ray_mentor.data.readers.parquet.images import Flags, first_sizes, none_whole, read_images, said_of, whole
from ray_mentor.data.readers.parquet.labels import encode, find_classes
from ray_mentor.data.readers.parquet.mapped import read_mapped
from ray_mentor.data.readers.parquet.roles import as_for_training, with_roles, without_columns
from ray_mentor.data.readers.parquet.said import doubtful_labels, unknown_to_training
from ray_mentor.data.readers.parquet.stored import stored_inputs
from ray_mentor.data.readers.parquet.table import Table, named_classes, open_table
from ray_mentor.data.readers.pictures.form import Form
from ray_mentor.data.readers.raw import Raw, check_same_shape
from ray_mentor.data.readers.understood import understood
from ray_mentor.data.samples.inputs import AbstractArrayInputs, ImageInputs
from ray_mentor.data.samples.rows import Rows
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
    form = _form(tables, columns, config)
    classes = find_classes(tables.values(), named_classes(schema, config.label_column))
    labels = {split: _labels(table, classes) for split, table in tables.items()}
    read = {split: inputs_in(table, columns, config, form) for split, table in tables.items() if split not in stored}
    read |= {
        split: stored_inputs(tables[split], columns, spread, config.shuffle_rows, config.data_cache, form)
        for split in stored
    }
    inputs = _in_one_colour({split: found for split, (found, _) in read.items()})
    samples = {
        split: _samples(table, inputs[split], whole(read[split][1]), labels[split], classes)
        for split, table in tables.items()
    }
    checked = tables["train"].checked
    told = said_of((table, read[split][1]) for split, table in tables.items())
    return Raw(
        samples["train"],
        samples.get("test"),
        samples.get("validation"),
        features=columns.features,
        columns=tuple(schema.names),
        notes=(*files.notes, *_said_of(columns), *told, *doubtful_labels(classes), *unknown_to_training(samples)),
        checked=None if checked is None else checked[whole(read["train"][1])],
        understood=understood(config.data, files.what, config.label_column, samples),
    )


def read_trusted(config: DataConfig, raw: Raw) -> tuple[Samples, Raw, list[str]]:
    """Reads ``config.meta_data``, a meta set to go with data that is already read; its label column is the truth.

    Returns:
        The meta set; the data, in colour where the meta set is; and what the user should be told of it.

    Raises:
        UserError: as :func:`read_files`, or inputs that don't fit the training split's.
    """
    assert config.meta_data is not None
    if not is_data(config.meta_data):
        raise UserError(
            f"meta_data is {shown(config.meta_data)}, but there is no such file or folder; give a path to data"
        )
    if not raw.fit_scale:
        raise UserError(
            f"meta_data is {config.meta_data!r}, but {config.data} is not stored as 8-bit images or features to "
            "compare with; leave meta_data out and set meta_size"
        )
    found = find_parts(config.meta_data, config.format, whole=True)
    config = without_columns(config) if found.roles is not None else as_for_training(config, raw.features)
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
    form = Form.of(config)
    known = raw.train.inputs
    inputs, flags = inputs_in(table, columns, config, form.like(known) if isinstance(known, ImageInputs) else form)
    told = said_of([(table, flags)])
    if isinstance(known, ImageInputs) and isinstance(inputs, ImageInputs) and known.shape[0] != inputs.shape[0]:
        if known.shape[0] == 1:
            raw = raw.in_colour()
            told.append(
                f"{config.meta_data} has images in colour, so the grey ones of {config.data} get three channels"
            )
        inputs = inputs.in_colour()
    meta = _samples(table, inputs, whole(flags), (labels, None), raw.train.classes)
    check_same_shape(meta, raw.train, f"meta_data {config.meta_data!r}")
    return meta, raw, told


def _said_of(columns: Columns) -> list[str]:
    """What the model is fed, where that is not plain from the settings."""
    if columns.image is not None:
        return []
    count = len(columns.features)
    return [f"{count} feature{'' if count == 1 else 's'}: {listed(columns.features)}"]


def _form(tables: Mapping[str, Table], columns: Columns, config: DataConfig) -> Form:
    """What images are brought to: without a margin, where those that are looked at first are of the size asked for."""
    form = Form.of(config)
    if columns.image is None:
        for name in ("image_size", "skip_broken"):
            if getattr(config, name):
                raise UserError(
                    f"{name} is {getattr(config, name)!r}, but {config.data} has no image column: the model is fed "
                    "features; leave it out, or name the images' column with --image-column"
                )
        return form
    return form.fitted(size for table in tables.values() for size in first_sizes(table, columns.image))


def _samples(
    table: Table,
    inputs: AbstractArrayInputs,
    rows: Rows,
    labels: tuple[Labels, Labels | None],
    classes: tuple[str, ...],
) -> Samples:
    """Of the rows whose inputs these are."""
    if len(rows) == 0:
        raise none_whole()
    given, truth = labels
    names = None if table.names is None else table.names.combine_chunks().take(pa.array(rows))
    return Samples(inputs, table.ids[rows], given[rows], None if truth is None else truth[rows], classes, names)


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


def inputs_in(table: Table, columns: Columns, config: DataConfig, form: Form) -> tuple[AbstractArrayInputs, Flags]:
    """What the model is fed of a table, and what is said of each row of images.

    Raises:
        UserError: images or numbers that can't be used.
    """
    if config.data_backend == "arrow":
        return read_mapped(table, columns, config.data_cache, form)
    if columns.image is not None:
        return read_images(table, columns.image, form)
    return read_features(table, columns.features), np.zeros(len(table), np.uint8)


def _in_one_colour(inputs: dict[str, AbstractArrayInputs]) -> dict[str, AbstractArrayInputs]:
    """Grey splits get 3 channels if another split has colour."""
    images = {split: value for split, value in inputs.items() if isinstance(value, ImageInputs)}
    if any(value.shape[0] == 3 for value in images.values()):
        return {split: value.in_colour() for split, value in images.items()}
    return inputs
