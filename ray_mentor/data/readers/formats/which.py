"""Which format data are in, from what is there or as the user says, and their parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

from ray_mentor.data.readers.formats.folder import IMAGES, has_classes, image_folder
from ray_mentor.data.readers.formats.parquet import ParquetPart
from ray_mentor.data.readers.formats.part import AbstractPart
from ray_mentor.data.readers.formats.pictures import path_column
from ray_mentor.data.readers.formats.splits import SplitParts, by_name
from ray_mentor.data.readers.formats.text import CSV, JSONL, JsonPart, TextPart
from ray_mentor.data.readers.places import File, Listing
from ray_mentor.errors import UserError

_ENDINGS = {"parquet": (".parquet",), "csv": CSV, "jsonl": JSONL, "images": IMAGES}
_WORDS = {"parquet": "Parquet", "csv": "CSV or TSV", "jsonl": "JSONL", "images": "images in folders"}


def find_parts(location: str, kind: str = "auto") -> SplitParts:
    """The parts of each split at a path or URI.

    Args:
        kind: the format, or "auto".

    Raises:
        UserError: nothing there that can be read, or more than one format.
    """
    listing = Listing.of(location)
    return _FORMATS[_guessed(listing) if kind == "auto" else kind](listing, whole=False)


def find_all(location: str, kind: str = "auto") -> SplitParts:
    """All parts at a path or URI as one split, whatever their names.

    Args:
        kind: the format that holds where there are several.

    Raises:
        UserError: as :func:`find_parts`.
    """
    listing = Listing.of(location)
    try:
        which = _guessed(listing)
    except UserError:
        if kind == "auto":
            raise
        which = kind
    return _FORMATS[which](listing, whole=True)


def _guessed(listing: Listing) -> str:
    if listing.is_file:
        ends = [kind for kind, endings in _ENDINGS.items() if listing.ending(*endings)]
        if ends == ["images"]:
            raise UserError(
                f"{listing.location!r} is one image, but data are many; name the folder that holds a folder for each "
                "class"
            )
        return ends[0] if ends else "parquet"
    there = {kind: len(found) for kind, endings in _ENDINGS.items() if (found := listing.ending(*endings))}
    if "images" in there and (not has_classes(listing) or _lists_them(listing)):
        del there["images"]  # a picture beside a table, or what a table lists
    if not there:
        loose = listing.ending(*IMAGES)
        if loose:
            return "images"  # which says what is missing
        raise UserError(
            f"no data at {listing.location!r}; name a file, or a folder that holds *.parquet, *.csv, *.tsv or *.jsonl "
            "files, or a folder of images for each class"
        )
    if len(there) > 1:
        words = " and ".join(f"{count} files of {_WORDS[kind]}" for kind, count in there.items())
        fix = " or ".join(f"--format {kind}" for kind in there)
        raise UserError(f"{listing.location!r} holds {words}; say which are the data: {fix}")
    return next(iter(there))


def _lists_them(listing: Listing) -> bool:
    """Whether a table beside images names paths."""
    tables = [*listing.ending(*CSV), *listing.ending(*JSONL)]
    if not tables:
        return False
    first = listing.file(tables[0])
    table: TextPart | JsonPart = TextPart(first) if listing.ending(*CSV) else JsonPart(first)
    return path_column(table.columns()) is not None


class _Find(Protocol):
    def __call__(self, listing: Listing, *, whole: bool) -> SplitParts: ...


def _tables(kind: str, make: Callable[[File], AbstractPart]) -> _Find:
    def parts(listing: Listing, *, whole: bool) -> SplitParts:
        names = listing.names if listing.is_file else tuple(listing.ending(*_ENDINGS[kind]))
        if not names:
            endings = " or ".join(f"*{ending}" for ending in _ENDINGS[kind])
            raise UserError(
                f"no {_WORDS[kind]} file at {listing.location!r}; name a file, or a folder that holds {endings} files"
            )
        found = by_name(listing, names, lambda name: make(listing.file(name)), whole=whole)
        count = len(found.all)
        return dataclasses.replace(found, what=f"{found.train[0].kind}, {count} file{'s' * (count != 1)}")

    return parts


_FORMATS: dict[str, _Find] = {
    "parquet": _tables("parquet", ParquetPart),
    "csv": _tables("csv", TextPart),
    "jsonl": _tables("jsonl", JsonPart),
    "images": image_folder,
}
