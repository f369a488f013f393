"""Which format data are in, from what is there or as the user says, and their parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

from ray_mentor.data.readers.formats import hugging_face, npz, webdataset
from ray_mentor.data.readers.formats.folder import IMAGES, has_classes, image_folder, sorted_by_class
from ray_mentor.data.readers.formats.hugging_face import HUB, hub_dataset, is_saved, saved_dataset
from ray_mentor.data.readers.formats.npz import npz_files
from ray_mentor.data.readers.formats.parquet import ParquetPart
from ray_mentor.data.readers.formats.part import AbstractPart, reading
from ray_mentor.data.readers.formats.pictures import path_column
from ray_mentor.data.readers.formats.splits import SplitParts, by_name
from ray_mentor.data.readers.formats.text import CSV, JSONL, JsonPart, TextPart
from ray_mentor.data.readers.formats.webdataset import tar_files
from ray_mentor.data.readers.places import File, Listing, is_there, opened
from ray_mentor.errors import UserError, listed
from ray_mentor.wording import counted

_ENDINGS = {
    "parquet": (".parquet",),
    "csv": CSV,
    "jsonl": JSONL,
    "npz": (npz.ENDING,),
    "hf": (hugging_face.ENDING,),
    "webdataset": (webdataset.ENDING,),
    "images": IMAGES,
}
_WORDS = {
    "parquet": "Parquet",
    "csv": "CSV or TSV",
    "jsonl": "JSONL",
    "npz": ".npz",
    "hf": "Arrow",
    "webdataset": ".tar",
    "images": "images in folders",
}


def is_data(location: str) -> bool:
    """Whether there is something of this path or URI, or it is a name on the Hub.

    Raises:
        UserError: a URI whose file system can't be reached.
    """
    return location.startswith(HUB) or is_there(location)


def find_parts(location: str, kind: str = "auto", *, whole: bool = False) -> SplitParts:
    """The parts of each split at a path or URI.

    Args:
        kind: the format, or "auto".
        whole: all of it is one split, whatever the names; and ``kind`` holds only where more than one format is there.

    Raises:
        UserError: nothing there that can be read, or more than one format.
    """
    if location.startswith(HUB):
        return hub_dataset(location, whole=whole)
    listing = Listing.of(location)
    there = _there(listing)
    if kind == "auto" or (whole and len(there) == 1):
        kind = _only(listing, there)
    found = _FORMATS[kind](listing, whole=whole)
    return dataclasses.replace(found, notes=(*found.notes, *links_to_nothing(listing)))


def links_to_nothing(listing: Listing) -> list[str]:
    """What to say of them."""
    links = listing.nowhere
    return [f"left out {counted(len(links), 'link')} to what is not there: {listed(links, _SHOWN)}"] if links else []


_SHOWN = 5


def holds_images_alone(listing: Listing) -> bool:
    """Whether there are images, and nothing of another format."""
    return {kind for kind, endings in _ENDINGS.items() if listing.ending(*endings)} == {"images"}


def _there(listing: Listing) -> dict[str, int]:
    """How many files there are of each format that the data may be in."""
    if is_saved(listing):
        return {"hf": len(listing.ending(hugging_face.ENDING))}
    there = {kind: len(found) for kind, endings in _ENDINGS.items() if (found := listing.ending(*endings))}
    if len(there) > 1:
        there.pop("hf", None)  # beside data, and without the notes of save_to_disk, Arrow files are a run's data_cache
    beside = len(there) > 1 and not has_classes(listing)
    if "images" in there and (beside or (not sorted_by_class(listing) and _lists_them(listing))):
        del there["images"]  # a picture beside a table, or what a table lists
    return there


def _only(listing: Listing, there: dict[str, int]) -> str:
    if listing.is_file and "images" in there:
        raise UserError(
            f"{listing.location!r} is one image, but data are many; name the folder that holds a folder for each class"
        )
    if listing.is_file and not there:
        _refuse_foreign(listing)
        return "jsonl" if listing.ending(".json") else _without_an_ending(listing)
    if not there:
        raise UserError(
            f"no data at {listing.location!r}; name a file, or a folder that holds *.parquet, *.csv, *.tsv, *.jsonl, "
            "*.npz or *.tar files, a data set that save_to_disk has written, or a folder of images for each class"
        )
    if len(there) > 1:
        found = " and ".join(f"{count} files of {_WORDS[kind]}" for kind, count in there.items())
        fix = " or ".join(f"--format {kind}" for kind in there)
        raise UserError(f"{listing.location!r} holds {found}; say which are the data: {fix}")
    return next(iter(there))


_MENDS = {
    "pandas.read_excel(FILE).to_csv(...) makes a CSV file of it": (".xlsx", ".xls", ".ods"),
    "unpack it, and name the folder": (".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z"),
    "numpy.savez(FILE, inputs=..., labels=...) stores inputs and labels together": (".npy",),
    "it is never loaded, since it could run code; write Parquet or .npz of it": (".pkl", ".pickle", ".pt", ".pth"),
    "pandas.read_hdf or h5py reads it; write Parquet or .npz of it": (".h5", ".hdf5"),
}
"""What else people have, and what makes data of it."""


def _refuse_foreign(listing: Listing) -> None:
    for mend, endings in _MENDS.items():
        if listing.ending(*endings):
            raise UserError(f"{listing.location!r} is of none of the formats that data can be in; {mend}")


def _without_an_ending(listing: Listing) -> str:
    """Parquet, by how the file begins: its name says nothing.

    Raises:
        UserError: anything else.
    """
    with reading(listing.location, "a file"), opened(listing.file(listing.names[0])) as file:
        begins = file.read(len(_PARQUET))
    if begins != _PARQUET:
        raise UserError(
            f"{listing.location!r} is of no format that its name tells, and no Parquet; if it is text, say which: "
            "--format csv (also TSV), --format jsonl, or --format text, plain text whose next bytes are learnt"
        )
    return "parquet"


_PARQUET = b"PAR1"


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
    "npz": npz_files,
    "hf": saved_dataset,
    "webdataset": tar_files,
}
