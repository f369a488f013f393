"""Inputs that are left in their files: read once for what splits and scale need, then a window at a time."""

from __future__ import annotations

import dataclasses
import json
import logging
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from typing_extensions import override

from ray_mentor.data.readers.formats.parquet import runs
from ray_mentor.data.readers.formats.part import digest
from ray_mentor.data.readers.pictures.form import AS_THEY_ARE, Form
from ray_mentor.data.readers.tables.columns import Columns
from ray_mentor.data.readers.tables.decoded import FLAGS
from ray_mentor.data.readers.tables.features import feature_parts
from ray_mentor.data.readers.tables.images import Decoded, Flags, image_parts, image_shape, made_by, whole
from ray_mentor.data.readers.tables.table import Table
from ray_mentor.data.samples.inputs import AbstractArrayInputs, FeatureInputs, ImageInputs, moments
from ray_mentor.data.samples.rows import CONTENT, MOMENTS, Rows
from ray_mentor.data.storage.arrow_file import ArrowFile, DamagedFileError, Part, as_table, write_arrow
from ray_mentor.data.storage.cache import make, unusable
from ray_mentor.data.storage.spread import Spread, Work
from ray_mentor.data.storage.stored import AbstractStorage, StoredArray
from ray_mentor.errors import UserError

_PART_ROWS = 4096  # that are described at a time, where row groups are smaller
_BATCH_ROWS = 1024
_COLOUR = 3
_CHANNELS = "channels"
_FORMAT = 2
_LONGEST = 40  # characters of a file's name, of up to four bytes each; a file system takes 255 bytes
_log = logging.getLogger(__name__)


def stored_inputs(
    table: Table, columns: Columns, spread: Spread, shuffle_rows: int, cache: str, form: Form = AS_THEY_ARE
) -> tuple[AbstractArrayInputs, Flags]:
    """The inputs of a table, left where they are; every one is read and decoded once, to know its content.

    Args:
        spread: reads them, this once.
        cache: folder of what is known of inputs.

    Returns:
        The inputs, broken images left out; and flags of all rows, of those too.

    Raises:
        UserError: an image or a feature that can't be used.
    """
    groups = Groups.of(table, columns)
    if columns.image is None:
        storage = StoredFeatures(groups, columns, (len(columns.features),))
        known = _known(storage, DescribeFeatures(storage), spread, cache)
        values = StoredArray(storage, known, np.arange(len(table)), shuffle_rows)
        return FeatureInputs(values), np.zeros(len(table), np.uint8)
    height, width, _ = image_shape(table, columns.image, form)
    colour = StoredImages(groups, columns, (height, width, _COLOUR), form)
    known = _known(colour, DescribeImages(colour), spread, cache)
    flags = known[FLAGS][:, 0]
    channels = int(known[_CHANNELS].max())
    known = {**known, MOMENTS: known[MOMENTS][:, :, :channels]}
    images = dataclasses.replace(
        colour, row_shape=(height, width, channels), form=dataclasses.replace(form, skip_broken=False)
    )
    return ImageInputs(StoredArray(images, known, whole(flags), shuffle_rows), side=form.side), flags


@dataclass(frozen=True, eq=False)
class Groups:
    """The row groups of a table's files, in order.

    Attributes:
        table: without its labels.
        firsts: int64 (G + 1,), the first row of each, and the number of rows.
        files: int64 (G,), which of the table's files each is in.
        identity: the column of sample ids, if there is one.
    """

    table: Table
    firsts: Rows
    files: Rows
    identity: str | None

    @classmethod
    def of(cls, table: Table, columns: Columns) -> Groups:
        """As the files' footers say."""
        places = tuple(file.absolute() for file in table.files)
        sizes = [file.group_sizes() for file in places]
        files = np.repeat(np.arange(len(sizes)), [len(part) for part in sizes])
        firsts = np.cumsum([0, *(size for part in sizes for size in part)])
        bare = dataclasses.replace(table, files=places, labels=pa.chunked_array([], pa.int64()), true_labels=None)
        return cls(bare, firsts, files, columns.id)

    def of_rows(self, rows: Rows) -> Rows:
        """The group of each row."""
        return np.searchsorted(self.firsts, rows, side="right") - 1

    def read(self, rows: Rows, columns: list[str]) -> pa.Table:
        """Those rows, in that order; each group is read once."""
        file = self.files[self.of_rows(rows)]
        by_file = np.argsort(file, kind="stable")
        names = list(dict.fromkeys([*columns, self.identity] if self.identity else columns))
        parts = [self._take(int(file[places[0]]), rows[places], names) for places in runs(file, by_file)]
        found = pa.concat_tables(parts).take(pa.array(np.argsort(by_file, kind="stable")))
        self._check_ids(found, rows)
        return found

    def _take(self, file: int, rows: Rows, columns: list[str]) -> pa.Table:
        return self.table.files[file].take(rows - self.table.starts[file], columns)

    def _check_ids(self, found: pa.Table, rows: Rows) -> None:
        if self.identity is None:
            return
        names = self.table.names
        if names is None:
            same = pc.equal(found[self.identity].cast(pa.int64()), pa.array(self.table.ids[rows]))
        else:
            same = pc.equal(found[self.identity].cast(names.type), names.take(pa.array(rows)))
        wrong = np.flatnonzero(~same.to_numpy())
        if len(wrong):
            raise UserError(
                f"{self.table.place(int(rows[wrong[0]]))} now holds another sample; the file was changed during the "
                "run: put it back, or start another run"
            )


@dataclass(frozen=True, eq=False)
class _Chosen:
    """Some rows of a table, as what they hold is read."""

    groups: Groups
    rows: Rows

    def place(self, row: int) -> str:
        return self.groups.table.place(int(self.rows[row]))

    def batches(self, columns: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        first = 0
        for batch in self.groups.read(self.rows, columns).select(columns).combine_chunks().to_batches(_BATCH_ROWS):
            yield first, batch
            first += len(batch)


@dataclass(frozen=True, eq=False)
class _AbstractStored(AbstractStorage):
    groups: Groups
    columns: Columns
    row_shape: tuple[int, ...]

    @override
    def groups_of(self, rows: Rows) -> Rows:
        return self.groups.of_rows(rows)

    @override
    def read(self, rows: Rows) -> NDArray[Any]:
        values = np.empty((len(rows), *self.row_shape), self.dtype)
        done = 0
        for part in self.parts(rows):
            values[done : done + len(part)] = part
            done += len(part)
        return values

    @override
    def repeated(self, repeats: int) -> AbstractStorage:
        return dataclasses.replace(self, row_shape=(*self.row_shape[:-1], self.row_shape[-1] * repeats))

    @abstractmethod
    def parts(self, rows: Rows) -> Iterator[NDArray[Any]]:
        """Those rows, in that order, some at a time."""


@dataclass(frozen=True, eq=False)
class StoredImages(_AbstractStored):
    """Encoded images that become of one size, uint8 (H, W, C)."""

    form: Form = AS_THEY_ARE
    dtype = np.dtype(np.uint8)

    @override
    def parts(self, rows: Rows) -> Iterator[NDArray[np.uint8]]:
        return (part.pixels for part in self.decoded(rows))

    def decoded(self, rows: Rows) -> Iterator[Decoded]:
        """Those rows, in that order, and what there is to say of them."""
        assert self.columns.image is not None
        height, width, channels = self.row_shape
        return image_parts(_Chosen(self.groups, rows), self.columns.image, (height, width, channels), self.form)


@dataclass(frozen=True, eq=False)
class StoredFeatures(_AbstractStored):
    """Numeric columns, float32 (F,)."""

    dtype = np.dtype(np.float32)

    @override
    def parts(self, rows: Rows) -> Iterator[NDArray[np.float32]]:
        return feature_parts(_Chosen(self.groups, rows), self.columns.features)


@dataclass(frozen=True, eq=False)
class DescribeImages:
    """What splits and scale need of some images: digest, sums of pixels and of their squares, number of channels,
    what there is to say of them.
    """

    storage: StoredImages

    def __call__(self, rows: Rows) -> pa.Table:
        return pa.concat_tables(as_table(self._described(part)) for part in self.storage.decoded(rows))

    def _described(self, decoded: Decoded) -> Part:
        pixels = decoded.pixels
        sums = np.broadcast_to(moments(pixels), (len(pixels), 2, _COLOUR))
        channels = np.full((len(pixels), 1), pixels.shape[3], np.uint8)
        content = ImageInputs(pixels).content_hashes()
        return {CONTENT: content, MOMENTS: sums, _CHANNELS: channels, FLAGS: decoded.flags[:, None]}


@dataclass(frozen=True, eq=False)
class DescribeFeatures:
    """What splits need of some rows of features: their digests."""

    storage: StoredFeatures

    def __call__(self, rows: Rows) -> pa.Table:
        return as_table({CONTENT: FeatureInputs(self.storage.read(rows)).content_hashes()})


def _known(storage: _AbstractStored, describe: Work, spread: Spread, cache: str) -> dict[str, NDArray[Any]]:
    """What is known of all rows, by name; found out once, and kept in the folder ``cache``."""
    folder = Path(cache).expanduser().absolute()
    identity = _identity(storage)
    first = str(storage.groups.table.files[0]).partition("?")[0]
    path = folder / f"{PurePath(first).stem[:_LONGEST]}-{digest(identity.encode())}.known.arrow"

    def there() -> ArrowFile | None:
        with suppress(FileNotFoundError, DamagedFileError):
            file = ArrowFile(path, identity)
            return file if len(file) == len(storage.groups.table) else None
        return None

    def write(file: BinaryIO) -> None:
        _log.warning("reading %s rows of %s ..., this once", f"{len(storage.groups.table):,}", first)
        write_arrow(file, spread(describe, _parts(storage.groups.firsts), 0), identity)

    try:
        file = there()
        if file is None:
            make(path, lambda: there() is not None, write)
            file = ArrowFile(path, identity)
    except OSError as error:
        raise unusable(folder, error) from error
    return {name: file.read(name, np.arange(len(file))) for name in file.layout}


def _identity(storage: _AbstractStored) -> str:
    """What is described, as text: the files, which columns, and what decodes them."""
    decoder = {"size": storage.row_shape, **made_by(storage.form)} if isinstance(storage, StoredImages) else {}
    files = [file.identity() for file in storage.groups.table.files]
    return json.dumps({"format": _FORMAT, "columns": storage.columns.inputs, "files": files, **decoder})


def _parts(firsts: Rows) -> Iterator[Rows]:
    """All rows in order, row groups at a time: as many as have few rows together."""
    start = 0
    for end, after in zip(firsts[1:], [*firsts[2:], np.inf], strict=True):
        if end > start and after - start > _PART_ROWS:
            yield np.arange(start, end)
            start = end
