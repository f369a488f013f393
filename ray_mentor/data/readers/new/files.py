"""New inputs in files of any format: a stretch of rows is read a few at a time, whatever the size of the files."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from typing_extensions import override

from ray_mentor.config import DataConfig
from ray_mentor.data.readers.formats.folder import IMAGES, KIND, test_images
from ray_mentor.data.readers.formats.hugging_face import HUB, ArrowPart
from ray_mentor.data.readers.formats.listed import ListedImages
from ray_mentor.data.readers.formats.part import AbstractPart
from ray_mentor.data.readers.formats.pictures import named_beside_bytes, with_pictures
from ray_mentor.data.readers.formats.splits import Parts, SplitParts
from ray_mentor.data.readers.formats.text import JsonPart, TextPart
from ray_mentor.data.readers.formats.which import find_parts, holds_images_alone
from ray_mentor.data.readers.new.known import AbstractSource, Known, New, Values, places_of
from ray_mentor.data.readers.parquet.columns import Columns, check_types, choose_columns, require_columns
from ray_mentor.data.readers.parquet.features import feature_parts
from ray_mentor.data.readers.parquet.images import image_parts, image_shape
from ray_mentor.data.readers.parquet.roles import with_roles, without_columns
from ray_mentor.data.readers.parquet.table import Table, named_classes, open_table
from ray_mentor.data.readers.pictures.decode import Pixels
from ray_mentor.data.readers.pictures.form import Form
from ray_mentor.data.readers.places import Listing, is_uri
from ray_mentor.data.samples.inputs import middle
from ray_mentor.errors import UserError

_IMAGES, _FEATURES = 256, 4096  # rows that are read at a time
_ID, _IMAGE = "sample_id", "image"


def read_new_files(config: DataConfig, known: Known, *, labelled: bool) -> New:
    """Finds parts, columns and labels; no input is read yet, but the head of the first image.

    Args:
        config: where they are, and which columns.
        labelled: whether labels are wanted; what labels there are is passed over otherwise.

    Raises:
        UserError: whatever is wrong with files, columns or labels, or inputs that don't fit the student.
    """
    found, config = _found(config, known, labelled=labelled)
    parts = found.train
    schema = parts[0].schema()
    columns = _columns(schema, config, known, parts[0], labelled=labelled)
    table = _opened(parts, columns)
    if known.are_images:
        _check_size(table, columns, known, config.data)
    labels = _labels(table, schema, config, known) if labelled else None
    places = tuple(part.absolute() for part in parts)
    bare = dataclasses.replace(table, files=places, labels=table.labels.slice(0, 0), true_labels=None)
    names = None if table.names is None else table.names.combine_chunks()
    return New(Rows(bare, columns, known), table.ids, names, labels, found.notes)


def _found(config: DataConfig, known: Known, *, labelled: bool) -> tuple[SplitParts, DataConfig]:
    """The parts as one split, and the settings by which their columns are found."""
    if known.are_images and not labelled and not config.data.startswith(HUB):
        listing = Listing.of(config.data)
        if not listing.is_file and holds_images_alone(listing):
            test = test_images(listing)
            notes = (_of_splits(config.data),) if test else ()
            part = _images(listing, test or listing.ending(*IMAGES))
            return SplitParts((part,), notes=notes), _of_images(config)
    found = _split(config)
    if found.roles is not None:
        found, config = with_roles(found, without_columns(config), labelled=labelled)
    elif labelled:
        found, config = with_roles(found, config)
    elif known.are_images and isinstance(found.train[0], TextPart | JsonPart):
        found, config = with_pictures(found, config)
    elif known.are_images and isinstance(found.train[0], ArrowPart) and found.train[0].cached:
        found, config = named_beside_bytes(found, config)
    return found, config


def _split(config: DataConfig) -> SplitParts:
    """The test split of what is sorted into splits; else all of it."""
    try:
        splits = find_parts(config.data, config.format)
    except UserError:
        return find_parts(
            config.data, config.format, whole=True
        )  # no training split is needed here; it says what else is wrong
    if not splits.test:
        return find_parts(config.data, config.format, whole=True)
    return dataclasses.replace(splits, train=splits.test, validation=(), test=(), notes=(_of_splits(config.data),))


def _of_splits(location: str) -> str:
    return f"{location} has splits, of which its test split is read; name a file or folder in it for another"


def _images(listing: Listing, names: Sequence[str]) -> ListedImages:
    """However they lie; their ids are their paths."""
    paths = pa.array(names, pa.large_string())
    place = listing.location if is_uri(listing.location) else Path(listing.location)
    return ListedImages(place, pa.table({_ID: paths}), place, paths, _IMAGE, KIND, alone=True)


def _of_images(config: DataConfig) -> DataConfig:
    return dataclasses.replace(without_columns(config), image_column=_IMAGE, id_column=_ID)


def _columns(schema: pa.Schema, config: DataConfig, known: Known, file: AbstractPart, *, labelled: bool) -> Columns:
    identity = config.id_column if config.id_column in schema.names else None
    identity = identity or (_ID if _ID in schema.names else None)
    label = config.label_column if labelled else None
    if not known.are_images and known.features:
        fix = f"the student was trained on {len(known.features)} features, which are found by name"
        require_columns(schema, known.features, file, fix=fix)
        columns = Columns(label, None, identity, None, known.features)
        check_types(schema, columns, file)
        return columns
    return _unnamed(schema, config, known, file, label, identity)


def _unnamed(
    schema: pa.Schema, config: DataConfig, known: Known, file: AbstractPart, label: str | None, identity: str | None
) -> Columns:
    """Images, or features by their number alone."""
    has_label = config.label_column in schema.names
    guess = dataclasses.replace(config, id_column=identity, true_label_column=None)
    if not has_label and label is None:  # whatever a training needs labels for, this does not
        schema_with = schema.append(pa.field(config.label_column, pa.int64()))
        columns = choose_columns(schema_with, guess, file)
    else:
        columns = choose_columns(schema, guess, file)
    if (columns.image is not None) != known.are_images:
        there = f"images in column {columns.image!r}" if columns.image else f"{len(columns.features)} features"
        raise UserError(f"{file} holds {there}, but the student was trained on {known}")
    if not known.are_images and len(columns.features) != known.shape[0]:
        raise UserError(
            f"{file} has {len(columns.features)} features, but the student was trained on {known.shape[0]}, which have "
            "no names; bring the file's columns to those, in their order"
        )
    return dataclasses.replace(columns, label=label)


def _opened(parts: Parts, columns: Columns) -> Table:
    if columns.about:
        return open_table(parts, columns)
    counts = [len(part) for part in parts]
    if sum(counts) == 0:
        raise UserError(f"{', '.join(map(str, parts))}: no rows, but at least one sample is needed")
    for part in parts:
        check_types(part.schema(), columns, part)
    starts = np.cumsum([0, *counts[:-1]])
    return Table(parts, starts, np.arange(sum(counts)), pa.chunked_array([], pa.int64()), None)


def _check_size(table: Table, columns: Columns, known: Known, location: str) -> None:
    assert columns.image is not None
    height, width, channels = image_shape(table, columns.image, _form(known))
    if known.resize is None and (height, width) != known.shape[1:]:
        found = Known(known.classes, (channels, height, width))
        raise UserError(f"{location} holds {found}, but the student was trained on {known}; bring them to that")


def _form(known: Known) -> Form:
    side = None if known.resize is None else known.shape[1]
    return Form(side, known.resize, is_settled=True)


def _labels(table: Table, schema: pa.Schema, config: DataConfig, known: Known) -> NDArray[np.int64]:
    """Strings, and numbers that the file names, by name; other numbers as the class of that number, where classes are
    called by numbers, else as the training's numbers.
    """
    what = f"{config.data} (column {config.label_column!r})"
    stored = table.labels
    if pa.types.is_dictionary(stored.type):
        return places_of(stored.cast(pa.large_string()).to_pylist(), known, what)
    numbers: NDArray[np.int64] = stored.to_numpy()
    own = named_classes(schema, config.label_column)
    names = dict(enumerate(own)) if own else _by_number(known.classes)
    distinct, inverse = np.unique(numbers, return_inverse=True)
    called = np.array([names.get(number) or _unknown(number, known) for number in distinct.tolist()])
    return places_of(called[inverse.reshape(-1)], known, what)


def _unknown(number: int, known: Known) -> str:
    return f"number {number}" if str(number) in known.classes else str(number)


def _by_number(classes: tuple[str, ...]) -> dict[int, str]:
    """Number of a class to its name: 7 is "7" or "07" where all are called so, else what stands in that place."""
    called = {int(name): name for name in classes if _WHOLE.fullmatch(name)}
    return called if len(called) == len(classes) else dict(enumerate(classes))


_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")


@dataclass(frozen=True, eq=False)
class Rows(AbstractSource):
    """Rows of a table, read as they come.

    Attributes:
        table: without its labels.
        columns: of the inputs.
        known: what the student takes.
    """

    table: Table
    columns: Columns
    known: Known

    @override
    def values(self, start: int, stop: int) -> Iterator[Values]:
        rows = _FEATURES if self.columns.image is None else _IMAGES
        stretch = _Stretch(self.table, start, stop, rows)
        if self.columns.image is None:
            yield from feature_parts(stretch, self.columns.features)
            return
        channels, height, width = self.known.shape
        square = (height, width) if self.known.resize is None else (self.known.resize, self.known.resize)
        row = start
        for part in image_parts(stretch, self.columns.image, (*square, channels), _form(self.known)):
            pixels = middle(part.pixels, height, width)
            if pixels.shape[3] > channels:
                pixels = self._grey(pixels, row)
            row += len(pixels)
            yield np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:3], channels)))

    def _grey(self, pixels: Pixels, first: int) -> Pixels:
        """One channel of images whose three are equal: a file in colour of what is grey."""
        coloured = (pixels != pixels[..., :1]).any(axis=(1, 2, 3))
        if coloured.any():
            place = self.table.place(first + int(coloured.argmax()))
            raise UserError(
                f"the image in {place} is in colour, but the student was trained on {self.known}; make it grey first, "
                "or train on images in colour"
            )
        return pixels[..., :1]


@dataclass(frozen=True, eq=False)
class _Stretch:
    """Rows [start, stop) of a table, in order, ``rows`` at a time; errors name them as the table does."""

    table: Table
    start: int
    stop: int
    rows: int

    def place(self, row: int) -> str:
        return self.table.place(self.start + row)

    def batches(self, columns: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        done = 0
        for place, part in enumerate(self.table.files):
            first = int(self.table.starts[place])
            after = int(self.table.starts[place + 1]) if place + 1 < len(self.table.files) else len(self.table)
            start, stop = max(self.start, first) - first, min(self.stop, after) - first
            if stop > start:
                for batch in part.between(start, stop, columns, self.rows):
                    yield done, batch
                    done += len(batch)
        if done < self.stop - self.start:
            raise UserError(
                f"{self.table.files[0]} and what follows it end {self.stop - self.start - done} rows early: they were "
                "changed meanwhile; start again"
            )
