"""Tables in memory: pandas frames, data sets of Hugging Face and of Ray Data. All are Arrow's before they are read."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from typing_extensions import override

from ray_mentor.config import DataConfig
from ray_mentor.data.memory import require_memory
from ray_mentor.data.python.arrays import inputs_of
from ray_mentor.data.readers.formats.part import AbstractTablePart
from ray_mentor.data.readers.formats.splits import SplitParts
from ray_mentor.data.readers.pictures.form import Form
from ray_mentor.data.readers.places import File
from ray_mentor.data.readers.tables.columns import choose_columns, require_columns
from ray_mentor.data.readers.tables.images import first_sizes, whole
from ray_mentor.data.readers.tables.read import inputs_in
from ray_mentor.data.readers.tables.roles import as_for_training, with_roles, without_missing
from ray_mentor.data.readers.tables.table import Table, named_classes, open_table
from ray_mentor.data.samples.inputs import AbstractInputs, ImageInputs
from ray_mentor.data.samples.labels import class_labels, numbered_classes, targets_in
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.samples.sources.domains import Domains, domains_in
from ray_mentor.errors import UserError, listed

_INDEX = "sample_id"
_COLOURS = 3


class TablePart(AbstractTablePart):
    """A table in memory, as the readers of files take it."""

    kind = "a table in memory"

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.file: File = "the data"

    @override
    def read(self) -> pa.Table:
        return self._table

    @override
    def at(self, file: File) -> TablePart:
        return self


def samples_of_table(
    table: pa.Table,
    names: tuple[str, ...],
    config: DataConfig,
    like: tuple[Samples, tuple[str, ...]] | None,
    *,
    targets: bool = False,
) -> tuple[Samples, tuple[str, ...]]:
    """Samples of a table with a column of labels, and the features that the model is fed of it, as they are.

    What the model is fed is a column of images, a column of arrays, or all numeric columns that are left.

    Args:
        names: of the classes, where the table's own package knows them; else empty.
        like: the training split and its features.
        targets: whether labels that aren't one class each are targets of a loss of the user's own.

    Raises:
        UserError: as the readers of files, and :func:`class_labels`.
    """
    if like is not None:
        config = as_for_training(config, like[1])
        config = without_missing(config, table.schema)
    _, config = with_roles(SplitParts((TablePart(table),)), config)
    require_columns(table.schema, [config.label_column], TablePart(table), label=config.label_column)
    amounts = _targets(table[config.label_column], config.label_column) if targets else None
    if amounts is not None:
        place = table.schema.get_field_index(config.label_column)
        table = table.set_column(place, config.label_column, pa.array(np.zeros(len(table), np.int64)))
        inputs, opened, rows, features = _inputs(table, config, None if like is None else like[0].inputs)
        strings = _strings(opened, rows)
        made = Samples.of_targets(inputs, opened.ids[rows], amounts[rows], strings)
        return dataclasses.replace(made, groups=_groups(opened, rows)), features
    classes = like[0].classes if like is not None else names or named_classes(table.schema, config.label_column) or None
    labels, table = {}, table.replace_schema_metadata(None)
    for name in dict.fromkeys(filter(None, (config.label_column, config.true_label_column))):
        require_columns(table.schema, [name], TablePart(table))
        labels[name], found = class_labels(table[name], f"column {name!r}", classes)
        classes = classes or found
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(labels[name]))
    classes = classes or numbered_classes(max(int(values.max(initial=0)) for values in labels.values()))
    inputs, opened, rows, features = _inputs(table, config, None if like is None else like[0].inputs)
    truth = None if config.true_label_column is None else labels[config.true_label_column][rows]
    given = labels[config.label_column][rows]
    strings, groups = _strings(opened, rows), _groups(opened, rows)
    return Samples(inputs, opened.ids[rows], given, truth, classes, strings, groups=groups), features


def _strings(opened: Table, rows: Rows) -> pa.LargeStringArray | None:
    return None if opened.names is None else opened.names.combine_chunks().take(pa.array(rows))


def _groups(opened: Table, rows: Rows) -> Domains | None:
    return None if opened.groups is None else domains_in(opened.groups).select(rows)


def _targets(column: pa.ChunkedArray, name: str) -> NDArray[Any] | None:
    if _is_arrays(column.type):
        return targets_in(_stacked(column, name))
    return targets_in(column.to_numpy()) if pa.types.is_floating(column.type) else None


def _inputs(
    table: pa.Table, config: DataConfig, like: AbstractInputs | None
) -> tuple[AbstractInputs, Table, Rows, tuple[str, ...]]:
    """What the model is fed, what is known beside it, of which rows it is, and the features that it is made of."""
    name = _array_column(table, config)
    if name is None:
        part = TablePart(table)
        columns = choose_columns(table.schema, config, part)
        opened, form = open_table((part,), columns), Form.of(config)
        if isinstance(like, ImageInputs):
            form = form.like(like)
        elif columns.image is not None:
            form = form.fitted(first_sizes(opened, columns.image))
        inputs, flags = inputs_in(opened, columns, dataclasses.replace(config, data_backend="memory"), form)
        if isinstance(like, ImageInputs) and isinstance(inputs, ImageInputs) and like.shape[0] == _COLOURS:
            inputs = inputs.in_colour()
        return inputs, opened, whole(flags), columns.features
    place = table.schema.get_field_index(name)
    part = TablePart(table.set_column(place, name, pa.array(np.zeros(len(table), np.float32))))  # in their place
    alone = dataclasses.replace(config, feature_columns=(name,), image_column=None, ignore_columns=(), keep_columns=())
    opened = open_table((part,), choose_columns(part.schema(), alone, part))
    return inputs_of(_stacked(table[name], name)), opened, np.arange(len(table)), ()


def _array_column(table: pa.Table, config: DataConfig) -> str | None:
    """The column whose rows are arrays, if the model is to be fed one.

    Raises:
        UserError: there are others beside it, and none is named.
    """
    named = [config.image_column] if config.image_column else list(config.feature_columns)
    named_otherwise = config.label_column, config.true_label_column, config.id_column, config.group_column
    about = {*named_otherwise, _INDEX, *config.ignore_columns}
    fields = [field for field in table.schema if field.name not in about and (not named or field.name in named)]
    arrays = [field.name for field in fields if _is_arrays(field.type)]
    if arrays and len(fields) > 1:
        others = listed(field.name for field in fields if field.name != arrays[0])
        raise UserError(
            f"the data have a column of arrays, {arrays[0]!r}, beside {others}, but the model is fed one column of "
            "arrays alone; name it with image_column, or join them"
        )
    return arrays[0] if arrays else None


def _is_arrays(kind: pa.DataType) -> bool:
    plain = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return isinstance(kind, pa.BaseExtensionType) or any(is_kind(kind) for is_kind in plain)


def _stacked(column: pa.ChunkedArray, name: str) -> NDArray[Any]:
    """(N, ...)

    Raises:
        UserError: arrays of different shapes, or none of numbers.
    """
    try:
        return np.stack([np.asarray(_nested(row)) for chunk in column.chunks for row in _rows(chunk)])
    except (ValueError, TypeError) as error:
        raise UserError(
            f"column {name!r} holds arrays that can't be stacked ({error}); bring them to one shape"
        ) from error


def _rows(chunk: pa.Array) -> Any:
    if isinstance(chunk, pa.FixedShapeTensorArray):
        return chunk.to_numpy_ndarray()
    return chunk.to_numpy(zero_copy_only=False)


def _nested(row: Any) -> Any:
    """Lists of lists come as objects."""
    return [_nested(part) for part in row] if isinstance(row, np.ndarray) and row.dtype == object else row


def arrow_of_frame(frame: Any, config: DataConfig) -> tuple[pa.Table, tuple[str, ...]]:
    """Of a pandas frame; its index says what the samples are called where it can: if it is of different integers or
    strings, and no column has their ids.
    """
    frame = frame.rename(columns=str)
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError) as error:
        raise UserError(f"the data are a frame that can't be read as a table ({error}); convert its columns") from error
    index, has_ids = frame.index, _INDEX in frame.columns or config.id_column is not None
    if has_ids or index.nlevels > 1 or not index.is_unique or index.inferred_type not in ("integer", "string"):
        return table, ()
    return table.append_column(_INDEX, pa.array(index)), ()


def arrow_of_hugging_face(data: Any, config: DataConfig) -> tuple[pa.Table, tuple[str, ...]]:
    """Of a data set of Hugging Face, in its order; images that are files are read, classes have its names."""
    from datasets.table import embed_table_storage  # noqa: PLC0415 - whoever has such a data set has the package

    table = embed_table_storage(data.with_format("arrow")[:])
    names = getattr(data.features.get(config.label_column), "names", None)
    return table.replace_schema_metadata(None), tuple(names or ())


def arrow_of_ray(data: Any, config: DataConfig) -> tuple[pa.Table, tuple[str, ...]]:
    """Of a data set of Ray Data, which is brought into this process' memory.

    Raises:
        UserError: it doesn't fit.
    """
    fix = "write it as Parquet, and give its path with data_backend ray, which streams it"
    data = data.materialize()
    require_memory(data.size_bytes() or 0, "the rows of a Ray Data set", fix)
    parts = [part for part in data.iter_batches(batch_size=None, batch_format="pyarrow") if len(part)]
    if not parts:
        raise UserError("the data set is empty, but at least one sample is needed")
    return pa.concat_tables(parts), ()
