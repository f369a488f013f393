"""Tables that name images by their paths."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ray_mentor.config import DataConfig
from ray_mentor.data.readers.formats.listed import ListedImages, require_images
from ray_mentor.data.readers.formats.part import AbstractPart
from ray_mentor.data.readers.formats.splits import SplitParts
from ray_mentor.data.readers.places import folder_of
from ray_mentor.errors import UserError, listed

_PATHS = re.compile(
    r"(image|img|picture|photo)s?|((image|img|file|picture|photo)[ _-]?)(path|name)|file|path", re.IGNORECASE
)


def path_column(names: Sequence[str]) -> str | None:
    """The column of paths of images, by name; None without one.

    Raises:
        UserError: there are several.
    """
    found = [name for name in names if _PATHS.fullmatch(name)]
    if len(found) > 1:
        raise UserError(
            f"columns {listed(map(repr, found))} could each name the images; say which does with --image-column"
        )
    return found[0] if found else None


def with_pictures(found: SplitParts, config: DataConfig) -> tuple[SplitParts, DataConfig]:
    """The parts with the images that they name by path, and the settings that say so; as they are where they name none.

    Raises:
        UserError: images that are not there.
    """
    texts = [field.name for field in found.train[0].schema() if _may_name(field.type)]
    column = config.image_column
    if column is None and not config.feature_columns:
        ignored = {part for name in config.ignore_columns for part in (name, *name.split(","))}
        others = {config.label_column, config.true_label_column, config.meta_column, config.group_column, *ignored}
        column = path_column([name for name in texts if name not in others])
    if column is None or column not in texts:
        return found, config
    name = f"image of {column}"

    return found.each(lambda part: _listing(part, column, name)), dataclasses.replace(config, image_column=name)


def named_beside_bytes(found: SplitParts, config: DataConfig) -> tuple[SplitParts, DataConfig]:
    """The same of Hugging Face's images, {bytes, path}, where they are paths alone; as they are where there are bytes.

    Raises:
        UserError: images that are not there.
    """
    table = found.train[0].about(found.train[0].schema().names, [])
    alone = [field.name for field in table.schema if _has_path(field.type) and not _any_bytes(table[field.name])]
    return with_pictures(found, dataclasses.replace(config, image_column=alone[0])) if alone else (found, config)


def _may_name(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or _has_path(kind))


def _has_path(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind) and {"bytes", "path"} == {kind.field(i).name for i in range(kind.num_fields)})


def _any_bytes(column: pa.ChunkedArray) -> bool:
    return any(pc.struct_field(chunk, "bytes").null_count < len(chunk) for chunk in column.chunks)


def _listing(part: AbstractPart, column: str, name: str) -> AbstractPart:
    if column not in part.schema().names:
        return part  # which is said where the other columns are looked for
    table = part.about(part.schema().names, [])
    stored = table[column]
    if pa.types.is_struct(stored.type):
        table, stored = table.drop_columns([column]), pc.struct_field(stored, "path")
    paths = stored.cast(pa.large_string())
    if paths.null_count:
        row = pc.index(paths.is_null(), True).as_py()
        raise UserError(
            f"column {column!r} is empty in row {row} of {part}, but every sample needs an image; fill it in or leave "
            f"the row out ({paths.null_count} such)"
        )
    whole = paths.combine_chunks()
    images = ListedImages(part.file, table, folder_of(part.file), whole, name, part.kind)
    return require_images(images, column)
