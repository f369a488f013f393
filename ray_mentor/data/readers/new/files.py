"""New inputs in files of any format: a stretch of rows is read a few at a time, whatever the size of the files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from typing_extensions import override

from ray_mentor.config import DataConfig
from ray_mentor.data.readers.formats.folder import IMAGES, KIND, no_images, test_images
from ray_mentor.data.readers.formats.hugging_face import HUB, ArrowPart
from ray_mentor.data.readers.formats.listed import ListedImages
from ray_mentor.data.readers.formats.part import AbstractPart
from ray_mentor.data.readers.formats.pictures import named_beside_bytes, with_pictures
from ray_mentor.data.readers.formats.splits import Parts, SplitParts
from ray_mentor.data.readers.formats.text import JsonPart, TextPart, names_as_written
from ray_mentor.data.readers.formats.which import find_parts, holds_images_alone, links_to_nothing
from ray_mentor.data.readers.new.known import AbstractSource, Known, New, Part, places_of
from ray_mentor.data.readers.pictures.decode import Pixels
from ray_mentor.data.readers.pictures.form import Form
from ray_mentor.data.readers.places import Listing, folder_of, is_uri
from ray_mentor.data.readers.tables.columns import Columns, check_types, guess_image, require_columns, some_of
from ray_mentor.data.readers.tables.features import feature_parts
from ray_mentor.data.readers.tables.images import image_parts, image_shape, whole
from ray_mentor.data.readers.tables.kinds import is_numeric
from ray_mentor.data.readers.tables.labels import by_name
from ray_mentor.data.readers.tables.roles import LABELS, id_columns, with_roles, without_columns
from ray_mentor.data.readers.tables.table import Table, named_classes, open_table
from ray_mentor.data.readers.texts.mapped import tokenised_parts
from ray_mentor.data.samples.inputs import middle
from ray_mentor.data.samples.texts.ragged import Ragged
from ray_mentor.errors import UserError, listed
from ray_mentor.wording import counted

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
    form = Form.settled(known.shape[1] if known.resize else None, known.resize, config)
    if columns.image is None and columns.text is None and config.skip_broken:
        raise UserError(
            f"skip_broken is True, but the student was trained on {known}, not on images or texts; leave it out"
        )
    if columns.image is not None:
        _check_size(table, columns.image, known, form, config.data)
    labels = _labels(table, schema, config, known) if labelled else None
    places = tuple(part.absolute() for part in parts)
    bare = dataclasses.replace(table, files=places, labels=table.labels.slice(0, 0), true_labels=None)
    names = None if table.names is None else table.names.combine_chunks()
    return New(Rows(bare, columns, known, form), table.ids, names, labels, found.notes)


def _found(config: DataConfig, known: Known, *, labelled: bool) -> tuple[SplitParts, DataConfig]:
    """The parts as one split, and the settings by which their columns are found."""
    if not (known.are_images and labelled) and not config.data.startswith(HUB):
        listing = Listing.of(config.data)
        if holds_images_alone(listing):
            if not known.are_images:
                takes = f"takes the columns {some_of(known.features)}" if known.features else f"was trained on {known}"
                raise UserError(
                    f"{config.data} holds images, but the student {takes}, not pictures; name another run, or data"
                )
            test = [] if listing.is_file else test_images(listing)
            told = (*([_of_splits(config.data)] if test else []), *no_images(listing), *links_to_nothing(listing))
            part = _images(listing, test or listing.ending(*IMAGES))
            return SplitParts((part,), notes=told), _of_images(config)
    found = _split(config)
    if found.roles is not None:
        found, config = with_roles(found, without_columns(config), labelled=labelled)
    elif labelled:
        found, config = with_roles(found, config)
    elif isinstance(found.train[0], TextPart | JsonPart):
        found = names_as_written(found, id_columns(config))
        found, config = with_pictures(found, config) if known.are_images else (found, config)
    elif known.are_images and isinstance(found.train[0], ArrowPart) and found.train[0].cached:
        found, config = named_beside_bytes(found, config)
    return found, config


def _split(config: DataConfig) -> SplitParts:
    """The test split of what is sorted into splits; else all of it."""
    try:
        splits = find_parts(config.data, config.format)
    except UserError:  # no training split is needed here; the second look says what else is wrong
        return find_parts(config.data, config.format, whole=True)
    if not splits.test:
        return find_parts(config.data, config.format, whole=True)
    return dataclasses.replace(splits, train=splits.test, validation=(), test=(), notes=(_of_splits(config.data),))


def _of_splits(location: str) -> str:
    return f"{location} has splits, of which its test split is read; name a file or folder in it for another"


def _images(listing: Listing, names: Sequence[str]) -> ListedImages:
    """However they lie; their ids are their paths."""
    paths = pa.array(names, pa.large_string())
    place = listing.location if is_uri(listing.location) else Path(listing.location)
    place = folder_of(place) if listing.is_file else place
    return ListedImages(place, pa.table({_ID: paths}), place, paths, _IMAGE, KIND, alone=True)


def _of_images(config: DataConfig) -> DataConfig:
    return dataclasses.replace(without_columns(config), image_column=_IMAGE, id_column=_ID)


def _columns(schema: pa.Schema, config: DataConfig, known: Known, file: AbstractPart, *, labelled: bool) -> Columns:
    identity = config.id_column if config.id_column in schema.names else None
    identity = identity or (_ID if _ID in schema.names else None)
    label = config.label_column if labelled else None
    if known.tokens is not None:
        columns = Columns(label, None, identity, None, (), text=config.text_column)
        check_types(schema, columns, file)
        return columns
    if not known.are_images and known.features:
        fix = f"the student was trained on {len(known.features)} features, which are found by name"
        require_columns(schema, known.features, file, fix=fix)
        columns = Columns(label, None, identity, None, known.features)
        check_types(schema, columns, file)
        return columns
    if not known.are_images:
        return Columns(label, None, identity, None, _in_order(schema, config, known, file, label, identity))
    image = config.image_column or guess_image(schema)
    if image is None:
        raise UserError(
            f"{file} has no column of images (its columns are {some_of(schema.names)}), but the student was trained "
            f"on {known}; name it with --image-column"
        )
    columns = Columns(label, None, identity, image, ())
    check_types(schema, columns, file)
    return columns


def _in_order(
    schema: pa.Schema, config: DataConfig, known: Known, file: AbstractPart, label: str | None, identity: str | None
) -> tuple[str, ...]:
    """Features of a student that knows no names of them: all columns in their order, but for ids and labels.

    Raises:
        UserError: another number of them, or some that are no numbers.
    """
    (count,) = known.shape
    names = tuple(name for name in schema.names if name not in (label or config.label_column, identity))
    if len(names) > count:
        names = tuple(name for name in names if name.lower() not in LABELS)
    texts = [name for name in names if not is_numeric(schema, name)]
    if len(names) != count or texts:
        what = f", of which {listed(map(repr, texts), 5)} hold no numbers" if texts else ""
        raise UserError(
            f"{file} has {counted(len(names), 'column')} beside labels and ids ({listed(names, 20)}){what}, but the "
            f"student was trained on {count} features without names; bring the file to those columns, in their order"
        )
    require_columns(schema, names, file)
    return names


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


def _check_size(table: Table, column: str, known: Known, form: Form, location: str) -> None:
    height, width, channels = image_shape(table, column, form)
    if known.resize is None and (height, width) != known.shape[1:]:
        found = Known(known.classes, (channels, height, width))
        raise UserError(f"{location} holds {found}, but the student was trained on {known}; bring them to that")


def _labels(table: Table, schema: pa.Schema, config: DataConfig, known: Known) -> NDArray[np.int64]:
    """Strings, and numbers that the file names, by name; other numbers as the class of that number, where classes are
    called by numbers, else as the training's numbers.
    """
    what = f"{config.data} (column {config.label_column!r})"
    named = by_name(table.labels, named_classes(schema, config.label_column), known.classes)
    return places_of(named.cast(pa.large_string()).to_pylist(), known, what)


@dataclass(frozen=True, eq=False)
class Rows(AbstractSource):
    """Rows of a table, read as they come.

    Attributes:
        table: without its labels.
        columns: of the inputs.
        known: what the student takes.
        form: what images are brought to.
    """

    table: Table
    columns: Columns
    known: Known
    form: Form

    @override
    def place(self, row: int) -> str:
        return self.table.place(row)

    @override
    def parts(self, start: int, stop: int) -> Iterator[Part]:
        if self.columns.image is not None:
            yield from self._images(_Stretch(self.table, start, stop, _IMAGES), self.columns.image)
            return
        if self.columns.text is not None:
            yield from self._texts(_Stretch(self.table, start, stop, _IMAGES), self.columns.text)
            return
        first = start
        for values in feature_parts(_Stretch(self.table, start, stop, _FEATURES), self.columns.features):
            yield Part(np.arange(first, first + len(values)), values, values)
            first += len(values)

    def _images(self, stretch: _Stretch, column: str) -> Iterator[Part]:
        channels, height, width = self.known.shape
        square = (height, width) if self.known.resize is None else (self.known.resize, self.known.resize)
        first = stretch.start
        for part in image_parts(stretch, column, (*square, channels), self.form):
            there = whole(part.flags)
            rows, stored = first + there, part.pixels[there]
            first += len(part.pixels)
            pixels = middle(stored, height, width)
            if pixels.shape[3] > channels:
                pixels = self._grey(pixels, rows)
            shown = np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:3], channels)))
            yield Part(rows, shown, stored)

    def _texts(self, stretch: _Stretch, column: str) -> Iterator[Part]:
        tokens, cut = self.known.tokens, list[int]()
        assert tokens is not None
        first = stretch.start
        empty: list[int] | None = [] if self.form.skip_broken else None
        for some in tokenised_parts(stretch, column, tokens, cut, empty):
            ragged = Ragged([some])
            there = np.setdiff1d(np.arange(len(some)), np.array(empty or [], np.int64) + stretch.start - first)
            for rows in np.split(there, range(_IMAGES, len(there), _IMAGES)):
                ids = ragged.padded(rows, tokens.pad)
                yield Part(first + rows, ids, ids, sum(cut))
                cut.clear()
            first += len(some)

    def _grey(self, pixels: Pixels, rows: NDArray[np.int64]) -> Pixels:
        """One channel of images whose three are equal: a file in colour of what is grey."""
        coloured = (pixels != pixels[..., :1]).any(axis=(1, 2, 3))
        if coloured.any():
            place = self.table.place(int(rows[coloured.argmax()]))
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
