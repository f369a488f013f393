"""Data sets that Hugging Face's ``datasets`` has written: Arrow streams, which need no ``datasets`` to be read."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from typing_extensions import override

from ray_mentor.data.readers.formats.parquet import runs
from ray_mentor.data.readers.formats.part import AbstractTablePart, Rows, reading
from ray_mentor.data.readers.formats.splits import SplitParts, by_name
from ray_mentor.data.readers.places import File, Listing, contents
from ray_mentor.errors import UserError, shown
from ray_mentor.extras import needing

HUB = "hf:"
"""What a name on the Hub begins with."""

ENDING = ".arrow"
_KIND = "a Hugging Face data set"
_DICTIONARY, _STATE = "dataset_dict.json", "state.json"
_NAMED = re.compile(r"hf:(?P<path>[^:]+)(:(?P<config>[^:]+))?")


@dataclass(frozen=True)
class ArrowPart(AbstractTablePart):
    """A file of Arrow's stream format; on a disk it is mapped.

    Attributes:
        cached: whether ``datasets`` itself has made it, on this machine: of images that lie there it stores the paths
            alone. Those beside images of any other file are not followed.
    """

    kind = "an Arrow stream"
    file: File
    cached: bool = False

    @override
    def at(self, file: File) -> ArrowPart:
        return dataclasses.replace(self, file=file)

    @override
    def read(self) -> pa.Table:
        with reading(self, self.kind):
            far = not isinstance(self.file, Path)
            source = pa.BufferReader(contents([self.file])[0]) if far else pa.memory_map(str(self.file))
            with source, pa.ipc.open_stream(source) as stream:
                return stream.read_all()

    @override
    def group_sizes(self) -> list[int]:
        if isinstance(self.file, str):
            return super().group_sizes()
        return [len(batch) for batch in self.content.to_batches()]

    @override
    def take(self, rows: Rows, columns: list[str]) -> pa.Table:
        batches = self.content.select(columns).to_batches()
        firsts = np.cumsum([0, *map(len, batches)])
        group = np.searchsorted(firsts, rows, side="right") - 1
        by_group = np.argsort(group, kind="stable")
        parts = [
            pa.Table.from_batches([batches[group[places[0]]].take(pa.array(rows[places] - firsts[group[places[0]]]))])
            for places in runs(group, by_group)
        ]
        return pa.concat_tables(parts).take(pa.array(np.argsort(by_group, kind="stable")))


def is_saved(listing: Listing) -> bool:
    """Whether a folder is one that ``save_to_disk`` has written."""
    return not listing.is_file and (_DICTIONARY in listing.names or _STATE in listing.names)


def saved_dataset(listing: Listing, *, whole: bool) -> SplitParts:
    """The splits of a folder that ``save_to_disk`` has written, or of Arrow files by their names.

    Raises:
        UserError: files that are missing, or no training split.
    """
    if _DICTIONARY in listing.names:
        splits = _texts(_json(listing, _DICTIONARY).get("splits"), listing, _DICTIONARY)
        names = [name for split in splits for name in _data_files(listing, f"{split}/")]
    elif _STATE in listing.names:
        names = _data_files(listing, "")
    else:
        names = list(listing.names) if listing.is_file else listing.ending(ENDING)
    if not names:
        raise UserError(
            f"no {_KIND} at {listing.location!r}; name a folder that save_to_disk has written, or *{ENDING} files"
        )
    found = by_name(listing, names, lambda name: ArrowPart(listing.file(name)), whole=whole)
    return dataclasses.replace(found, what=_what(found))


def hub_dataset(name: str, *, whole: bool = False) -> SplitParts:
    """The splits of a data set on the Hub, by the extra ``hf``; ``hf:NAME``, or ``hf:NAME:CONFIGURATION``.

    Raises:
        UserError: the extra is not installed, or the data set can't be had.
    """
    named = _NAMED.fullmatch(name)
    if not named:
        raise UserError(f"data is {shown(name)}, but a data set on the Hub is hf:NAME or hf:NAME:CONFIGURATION")
    with needing("hf", f"--data {name}"):
        import datasets  # noqa: PLC0415  an extra
    try:
        loaded: Any = datasets.load_dataset(named["path"], named["config"])
    except Exception as error:  # whatever its loaders and the network raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{name} can't be loaded ({reason}); check the name and the network, or load it elsewhere, save it with "
            "save_to_disk and name that folder"
        ) from error
    splits = loaded if isinstance(loaded, Mapping) else {"train": loaded}
    files = {
        f"{split}/{place}": file for split, data in splits.items() for place, file in enumerate(_cached(name, data))
    }
    found = by_name(
        Listing(name, tuple(files)), list(files), lambda key: ArrowPart(files[key], cached=True), whole=whole
    )
    return dataclasses.replace(found, what=_what(found))


def _what(found: SplitParts) -> str:
    return f"{_KIND}, {len(found.all)} file{'s' * (len(found.all) != 1)}"


def _cached(name: str, data: Any) -> Iterator[Path]:
    files = [Path(file["filename"]) for file in data.cache_files]
    if sum(len(ArrowPart(file)) for file in files) != len(data):
        raise UserError(
            f"{name} is not stored as it is loaded; save it with save_to_disk, and name that folder instead of {name}"
        )
    return iter(files)


def _data_files(listing: Listing, folder: str) -> list[str]:
    state = _json(listing, f"{folder}{_STATE}")
    entries = state.get("_data_files")
    names = [each.get("filename") if isinstance(each, dict) else None for each in entries or ()]
    return [f"{folder}{name}" for name in _texts(names, listing, f"{folder}{_STATE}")]


def _texts(values: object, listing: Listing, name: str) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _broken(listing, name)
    return values


def _json(listing: Listing, name: str) -> dict[str, Any]:
    try:
        value = json.loads(contents([listing.file(name)])[0])
    except (OSError, ValueError, RecursionError) as error:
        raise _broken(listing, name) from error
    if not isinstance(value, dict):
        raise _broken(listing, name)
    return value


def _broken(listing: Listing, name: str) -> UserError:
    return UserError(f"{listing.file(name)} is not there, or not what save_to_disk writes; save the data set anew")
