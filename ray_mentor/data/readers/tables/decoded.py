"""What lies in the Arrow file of a table's inputs: written by decoding them, checked before it is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from ray_mentor.data.readers.pictures.form import Form
from ray_mentor.data.readers.tables.columns import Columns
from ray_mentor.data.readers.tables.features import feature_parts
from ray_mentor.data.readers.tables.images import Decoded, Flags, image_parts, image_shape
from ray_mentor.data.readers.tables.table import Table
from ray_mentor.data.samples.inputs import DIGEST_BYTES, FeatureInputs, ImageInputs, moments
from ray_mentor.data.samples.rows import CONTENT, MOMENTS, VALUES
from ray_mentor.data.storage.arrow_file import ArrowFile, DamagedFileError, as_table, write_arrow

FORMAT = 2
"""Of the columns below; a file of another format is made anew."""
FLAGS = "flags"
"""What there is to say of each image."""


def row_bytes(table: Table, columns: Columns, form: Form) -> int:
    """What a row takes at least."""
    if columns.image is None:
        return len(columns.features) * np.dtype(np.float32).itemsize + DIGEST_BYTES
    height, width, channels = image_shape(table, columns.image, form)
    return height * width * channels + DIGEST_BYTES


def write_inputs(file: BinaryIO, table: Table, columns: Columns, form: Form, identity: str) -> None:
    """Decodes a table's inputs, a few hundred at a time."""
    if columns.image is not None:
        _write_images(file, table, columns.image, form, identity)
        return
    parts = feature_parts(table, columns.features)
    stored = (as_table({VALUES: part, CONTENT: FeatureInputs(part).content_hashes()}) for part in parts)
    write_arrow(file, stored, identity)


def check_inputs(file: ArrowFile, columns: Columns, rows: int) -> None:
    """Raises a DamagedFileError unless the file has what :func:`write_inputs` writes."""
    layout = file.layout
    shape, _ = layout.get(VALUES, ((), None))
    expected: dict[str, Any] = {VALUES: (shape, np.dtype(np.float32)), CONTENT: ((), np.dtype(f"S{DIGEST_BYTES}"))}
    good = shape == (len(columns.features),)
    if columns.image is not None:
        good = len(shape) == 3 and min(shape) > 0 and shape[2] in (1, 3)
        expected[VALUES] = (shape, np.dtype(np.uint8))
        expected[MOMENTS] = ((2, *shape[2:]), np.dtype(np.int64))
        expected[FLAGS] = ((1,), np.dtype(np.uint8))
    if not good or layout != expected or len(file) != rows:
        raise DamagedFileError(f"{len(file):,} rows of {layout}, which is not what was written")


def flags_of(file: ArrowFile) -> Flags:
    """What there is to say of each image of a file of images."""
    return file.read(FLAGS, np.arange(len(file)))[:, 0]


def _write_images(file: BinaryIO, table: Table, column: str, form: Form, identity: str) -> None:
    shape = image_shape(table, column, form)

    def write(channels: int) -> None:
        parts = _with_channels(image_parts(table, column, shape, form), channels)
        write_arrow(file, map(_stored, parts), identity)

    try:
        write(shape[2])
    except _ColourFollowsGreyError:
        file.seek(0)
        file.truncate()
        write(3)


class _ColourFollowsGreyError(Exception):
    """What has been written has too few channels."""


def _with_channels(parts: Iterator[Decoded], channels: int) -> Iterator[Decoded]:
    for part in parts:
        pixels = part.pixels
        if pixels.shape[3] > channels:
            raise _ColourFollowsGreyError
        yield Decoded(np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:3], channels))), part.flags)


def _stored(part: Decoded) -> pa.Table:
    pixels = part.pixels
    content = ImageInputs(pixels).content_hashes()
    return as_table({VALUES: pixels, CONTENT: content, MOMENTS: moments(pixels), FLAGS: part.flags[:, None]})
