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
from ray_mentor.data.readers.pictures.form import Form
from ray_mentor.data.readers.raw import Raw, check_same_shape
from ray_mentor.data.readers.tables.columns import Columns, choose_columns, require_columns
from ray_mentor.data.readers.tables.features import read_features
from ray_mentor.data.readers.tables.images import Flags, first_sizes, none_whole, read_images, said_of, whole
from ray_mentor.data.readers.tables.labels import by_name, encode, find_classes, in_names
from ray_mentor.data.readers.tables.mapped import read_mapped
from ray_mentor.data.readers.tables.roles import as_for_training, with_roles, without_columns, without_missing
from ray_mentor.data.readers.tables.said import doubtful_labels, unknown_to_training
from ray_mentor.data.readers.tables.stored import stored_inputs
from ray_mentor.data.readers.tables.table import Table, named_classes, open_table
from ray_mentor.data.readers.tables.unread import UnreadImages
from ray_mentor.data.readers.texts.raw import RawTexts
from ray_mentor.data.readers.understood import understood
from ray_mentor.data.samples.inputs import AbstractInputs, ImageInputs
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.samples.sources.domains import domains_in
from ray_mentor.data.storage.spread import Spread
from ray_mentor.errors import UserError, listed, shown
from ray_mentor.wording import counted

Labels = NDArray[np.int64]


def read_files(config: DataConfig, spread: Spread, *, images: bool = True) -> Raw:
    """Reads the splits of a file or folder; labels are checked before any image is decoded.

    Args:
        images: whether images are wanted, too: they stay unread otherwise.

    Raises:
        UserError: whatever is wrong with files, columns, labels or inputs, naming file, row and sample id.
    """
    files, config = with_roles(find_parts(config.data, config.format), config)
    schema = files.train[0].schema()
    columns = choose_columns(schema, config, files.train[0])
    _check_backend(columns, config)
    tables = _open_splits(files, columns)
    columns = dataclasses.replace(columns, checked=None)  # it is read
    stored = ("train",) if config.data_backend == "ray" else ()  # the others are held in memory in the end
    unread = columns.image is not None and not images
    form = Form.of(config) if unread else _form(tables, columns, config)
    own = named_classes(schema, config.label_column)
    classes = find_classes(tables.values(), own)
    tables = tables if own else {split: in_names(table, classes) for split, table in tables.items()}
    labels = {split: _labels(table, classes) for split, table in tables.items()}
    read = _unread(tables, str(columns.image)) if unread else {}
    read |= {
        split: stored_inputs(tables[split], columns, spread, config.shuffle_rows, config.data_cache, form)
        for split in stored
        if not unread
    }
    read |= {split: inputs_in(table, columns, config, form) for split, table in tables.items() if split not in read}
    inputs = _in_one_colour({split: found for split, (found, _) in read.items()})
    samples = {
        split: _samples(table, inputs[split], whole(read[split][1]), labels[split], classes)
        for split, table in tables.items()
    }
    checked = tables["train"].checked
    are_texts = columns.text is not None
    told = said_of(((table, read[split][1]) for split, table in tables.items()), texts=are_texts)
    return Raw(
        samples["train"],
        samples.get("test"),
        samples.get("validation"),
        features=columns.features,
        columns=tuple(schema.names),
        notes=(
            *files.notes,
            *_said_of(columns, schema),
            *told,
            *doubtful_labels(classes),
            *unknown_to_training(samples),
        ),
        checked=None if checked is None else checked[whole(read["train"][1])],
        understood="" if unread else understood(config.data, files.what, config.label_column, samples),
    )


def _unread(tables: Mapping[str, Table], column: str) -> dict[str, tuple[AbstractInputs, Flags]]:
    firsts = np.cumsum([0, *map(len, tables.values())])
    found: dict[str, tuple[AbstractInputs, Flags]] = {}
    for (split, table), first in zip(tables.items(), firsts, strict=False):
        rows = np.arange(len(table))
        found[split] = UnreadImages(first + rows, table, column, rows), np.zeros(len(rows), np.uint8)
    return found


def read_trusted_files(config: DataConfig, raw: Raw) -> tuple[Samples, Raw, list[str]]:
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
    config = without_missing(config, schema)
    columns = choose_columns(schema, config, files[0])
    table = open_table(files, columns)
    own, classes = named_classes(schema, config.label_column), raw.train.classes
    table = dataclasses.replace(table, labels=by_name(table.labels, own, classes)) if own else in_names(table, classes)
    labels, _ = _labels(table, classes)
    form = Form.of(config)
    known = raw.train.inputs
    inputs, flags = inputs_in(table, columns, config, form.like(known) if isinstance(known, ImageInputs) else form)
    told = said_of([(table, flags)], texts=columns.text is not None)
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


def _said_of(columns: Columns, schema: pa.Schema) -> list[str]:
    """What the model is fed, where that is not plain from the settings."""
    if columns.image is not None or columns.text is not None:
        return []
    flags = [name for name in columns.features if pa.types.is_boolean(schema.field(name).type)]
    as_numbers = f" (true is 1 and false 0 in {listed(flags)})" if flags else ""
    return [f"{counted(len(columns.features), 'feature')}: {listed(columns.features)}{as_numbers}"]


def _check_backend(columns: Columns, config: DataConfig) -> None:
    if columns.text is not None and config.data_backend == "ray":
        raise UserError(
            "data_backend is 'ray', which streams rows of one size, but token ids of texts are of any length; give "
            "--data-backend memory or arrow"
        )


def _form(tables: Mapping[str, Table], columns: Columns, config: DataConfig) -> Form:
    """What images are brought to: without a margin, where those that are looked at first are of the size asked for."""
    form = Form.of(config)
    if columns.image is None:
        for name in ("image_size", "skip_broken"):
            if getattr(config, name) and not (name == "skip_broken" and columns.text):
                raise UserError(
                    f"{name} is {getattr(config, name)!r}, but {config.data} has no image column: the model is fed "
                    f"{'texts' if columns.text else 'features'}; leave it out, or name the images' column with "
                    "--image-column"
                )
        return form
    return form.fitted(size for table in tables.values() for size in first_sizes(table, columns.image))


def _samples(
    table: Table,
    inputs: AbstractInputs,
    rows: Rows,
    labels: tuple[Labels, Labels | None],
    classes: tuple[str, ...],
) -> Samples:
    """Of the rows whose inputs these are."""
    if len(rows) == 0:
        raise none_whole(texts=isinstance(inputs, RawTexts))
    given, truth = labels
    names = None if table.names is None else table.names.combine_chunks().take(pa.array(rows))
    groups = None if table.groups is None else domains_in(table.groups).select(rows)
    true_labels = None if truth is None else truth[rows]
    return Samples(inputs, table.ids[rows], given[rows], true_labels, classes, names, groups=groups)


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


def inputs_in(table: Table, columns: Columns, config: DataConfig, form: Form) -> tuple[AbstractInputs, Flags]:
    """What the model is fed of a table, and what is said of each row of images.

    Raises:
        UserError: images, texts or numbers that can't be used.
    """
    if columns.text is not None:
        return RawTexts.of(table, columns.text, skip=config.skip_broken)
    if config.data_backend == "arrow":
        return read_mapped(table, columns, config.data_cache, form)
    if columns.image is not None:
        return read_images(table, columns.image, form)
    return read_features(table, columns.features), np.zeros(len(table), np.uint8)


def _in_one_colour(inputs: Mapping[str, AbstractInputs]) -> Mapping[str, AbstractInputs]:
    """Grey splits get 3 channels if another split has colour."""
    images = {split: value for split, value in inputs.items() if isinstance(value, ImageInputs)}
    if any(value.shape[0] == 3 for value in images.values()):
        return {split: value.in_colour() for split, value in images.items()}
    return inputs
