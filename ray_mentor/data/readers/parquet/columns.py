"""Which column of a Parquet file is what."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from ray_mentor.config import DataConfig
from ray_mentor.data.readers.parquet.files import File
from ray_mentor.errors import UserError, listed

_IMAGE_NAMES = ("image", "img")
_ID_NAME = "sample_id"
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


@dataclass(frozen=True)
class Columns:
    """Column names; either ``image`` or ``features`` is what the model is fed."""

    label: str
    true_label: str | None
    id: str | None
    image: str | None
    features: tuple[str, ...]

    @property
    def about(self) -> list[str]:
        """Everything but the inputs, each once: a column may have two meanings."""
        return list(dict.fromkeys(name for name in (self.label, self.true_label, self.id) if name is not None))

    @property
    def inputs(self) -> list[str]:
        """What the model is fed."""
        return [self.image] if self.image is not None else list(self.features)


def choose_columns(schema: pa.Schema, config: DataConfig, file: File) -> Columns:
    """Resolves the column settings against a file's schema.

    Raises:
        UserError: a missing column, one of the wrong type, or nothing to feed the model.
    """
    if config.image_column is not None and config.feature_columns:
        raise UserError(
            f"image_column is {config.image_column!r} and feature_columns is {listed(config.feature_columns)}, "
            "but the model is fed either; give one of them"
        )
    identity = config.id_column or (_ID_NAME if _ID_NAME in schema.names else None)
    about = (config.label_column, config.true_label_column, identity)
    require_columns(schema, (name for name in about if name is not None), file)
    image = None if config.feature_columns else config.image_column or _guess_image(schema)
    features = () if image is not None else config.feature_columns or _guess_features(schema, about, file)
    columns = Columns(config.label_column, config.true_label_column, identity, image, features)
    check_types(schema, columns, file)
    return columns


def check_types(schema: pa.Schema, columns: Columns, file: File) -> None:
    """Raises a UserError unless every column is there, once, and of a type that can be used."""
    require_columns(schema, [*columns.about, *columns.inputs], file)
    for name in (columns.label, columns.true_label):
        if name is not None and not (is_integer(schema, name) or is_text(schema, name)):
            raise _wrong_type(schema, name, file, "labels must be integers or strings", "cast it")
    if columns.id is not None and not is_integer(schema, columns.id):
        raise _wrong_type(schema, columns.id, file, "sample ids must be integers", "name another id_column")
    if columns.image is not None and not _is_image(schema, columns.image):
        rule = "images must be encoded bytes, or a struct that has them as `bytes`"
        raise _wrong_type(schema, columns.image, file, rule, "name another image_column")
    for name in columns.features:
        if name in columns.about or columns.features.count(name) > 1:
            what = "a label or an id" if name in columns.about else "there twice"
            raise UserError(f"feature_columns holds {name!r}, which is {what}; leave it out")
        if not _is_numeric(schema, name):
            fix = "name the numeric ones with feature_columns, or an image_column"
            raise _wrong_type(schema, name, file, "features must be numbers", fix)


def require_columns(schema: pa.Schema, names: Iterable[str], file: File) -> None:
    """Raises a UserError, with the columns there are, unless every name is a column exactly once."""
    for name in names:
        count = schema.names.count(name)
        if count != 1:
            found = "no" if count == 0 else f"{count} times the"
            raise UserError(f"{file} has {found} column {name!r}; its columns are {listed(schema.names)}")


def is_integer(schema: pa.Schema, name: str) -> bool:
    """Whether a column holds integers (or booleans, which count as 0 and 1)."""
    kind = schema.field(name).type
    return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def is_text(schema: pa.Schema, name: str) -> bool:
    """Whether a column holds strings, written out or by dictionary."""
    kind = schema.field(name).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_image(schema: pa.Schema, name: str) -> bool:
    kind = schema.field(name).type
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _is_binary(kind.field(place).type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _is_numeric(schema: pa.Schema, name: str) -> bool:
    return bool(pa.types.is_floating(schema.field(name).type)) or is_integer(schema, name)


def _guess_image(schema: pa.Schema) -> str | None:
    return next((name for name in _IMAGE_NAMES if schema.names.count(name) == 1 and _is_image(schema, name)), None)


def _guess_features(schema: pa.Schema, about: tuple[str | None, ...], file: File) -> tuple[str, ...]:
    features = tuple(name for name in schema.names if name not in about and not _PANDAS_INDEX.fullmatch(name))
    if not features:
        raise UserError(
            f"{file} has nothing to feed the model: besides labels and ids it has no column; "
            f"its columns are {listed(schema.names)}"
        )
    return features


def _wrong_type(schema: pa.Schema, name: str, file: File, rule: str, fix: str) -> UserError:
    return UserError(f"column {name!r} of {file} is {schema.field(name).type}, but {rule}; {fix}")
