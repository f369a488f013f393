"""WebDataset: tar files in which members of one name and several endings are a sample (7.jpg and 7.cls)."""

from __future__ import annotations

import dataclasses
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from typing_extensions import override

from ray_mentor.data.readers.formats.folder import IMAGES
from ray_mentor.data.readers.formats.listed import AbstractListed
from ray_mentor.data.readers.formats.part import AbstractPart, Rows, reading
from ray_mentor.data.readers.formats.splits import SplitParts, by_name
from ray_mentor.data.readers.places import File, Listing, opened
from ray_mentor.errors import UserError, listed
from ray_mentor.wording import counted

ENDING = ".tar"
_KIND = "WebDataset"
_GROUP = 256  # rows that are read together
_IMAGE, _ID, _LABEL = "image", "sample_id", "label"
_SHOWN = 5  # samples that a note names
_MOST_BYTES = 2**20  # of a label, or of what is known of a sample


@dataclass(frozen=True, eq=False)
class TarPart(AbstractListed):
    """A tar file whose members are known by where they lie.

    Attributes:
        offsets: int64 (N,), of the images in the file.
        sizes: int64 (N,), in bytes.
    """

    file: File
    listing: pa.Table
    offsets: Rows
    sizes: Rows
    column: str = _IMAGE
    kind: str = _KIND

    @override
    def images(self, rows: Rows) -> list[bytes]:
        found: dict[int, bytes] = {}
        with reading(self, self.kind), opened(self.file) as file:
            for row in sorted(set(rows.tolist()), key=lambda row: int(self.offsets[row])):
                file.seek(int(self.offsets[row]))
                found[row] = file.read(int(self.sizes[row]))
        return [found[row] for row in rows.tolist()]

    @override
    def group_sizes(self) -> list[int]:
        return [min(_GROUP, len(self) - first) for first in range(0, len(self), _GROUP)]

    @override
    def at(self, file: File) -> TarPart:
        return dataclasses.replace(self, file=file)


def tar_files(listing: Listing, *, whole: bool) -> SplitParts:
    """A split's shards, by their names.

    Raises:
        UserError: no tar file, or one that can't be read.
    """
    names = list(listing.names) if listing.is_file else listing.ending(ENDING)
    if not names:
        raise UserError(
            f"no {ENDING} file at {listing.location!r}; name a file, or a folder that holds *{ENDING} files"
        )
    bare: list[str] = []
    found = by_name(listing, names, lambda name: _part(listing.file(name), bare), whole=whole)
    notes = found.notes
    if bare:
        notes = (
            *notes,
            f"left out {counted(len(bare), 'sample')} without an image in the file: {listed(bare, _SHOWN)}",
        )
    return dataclasses.replace(found, notes=notes, what=f"{_KIND}, {len(found.all)} file{'s' * (len(found.all) != 1)}")


def _part(file: File, bare: list[str]) -> AbstractPart:
    """The file; keys of what is no sample, though it has a label, are added to ``bare``."""
    samples = []
    for key, sample in _samples(file):
        if _IMAGE in sample:
            samples.append((key, sample))
        elif sample:
            bare.append(key)
    if not samples:
        raise UserError(f"{file} holds no image; a sample is an image and its label, 7.jpg and 7.cls or 7.json")
    keys = [key for key, _ in samples]
    places = np.array([sample.pop(_IMAGE) for _, sample in samples], np.int64)
    known = list(dict.fromkeys(name for _, sample in samples for name in sample))
    try:
        columns = {name: pa.array([sample.get(name) for _, sample in samples]) for name in known}
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise UserError(f"{file} has labels of different kinds ({error}); write them alike") from error
    table = pa.table({**columns, _ID: pa.array(keys, pa.large_string())})
    return TarPart(file, table, places[:, 0].copy(), places[:, 1].copy())


def _samples(file: File) -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, columns) of every sample; an image is where it lies and its size."""
    with reading(file, _KIND), opened(file) as stored:
        try:
            with tarfile.open(fileobj=stored, mode="r:") as archive:
                sample: dict[str, Any] = {}
                last: str | None = None
                for member in archive:
                    if not member.isfile():
                        continue
                    key, ending = _split(member.name)
                    if key != last and last is not None:
                        yield last, sample
                    sample = sample if key == last else {}
                    last = key
                    _add(sample, archive, member, ending, file)
                if last is not None:
                    yield last, sample
        except tarfile.TarError as error:
            raise OSError(str(error)) from error


def _split(name: str) -> tuple[str, str]:
    """WebDataset's key and ending: up to the first dot of the file's name, and what follows."""
    folder, slash, base = name.rpartition("/")
    stem, dot, ending = base.partition(".")
    return f"{folder}{slash}{stem}", f"{dot}{ending}".lower()


def _add(sample: dict[str, Any], archive: tarfile.TarFile, member: tarfile.TarInfo, ending: str, file: File) -> None:
    if ending in IMAGES:
        if _IMAGE in sample:
            raise UserError(f"{file} has two images of one sample, the second is {member.name}; leave one out")
        sample[_IMAGE] = (member.offset_data, member.size)
    elif ending in (".cls", ".json"):
        content = _text(archive, member, file)
        sample.update({_LABEL: _label(content)} if ending == ".cls" else _known(content, member, file, sample))


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo, file: File) -> str:
    stored = archive.extractfile(member) if member.size <= _MOST_BYTES else None
    if stored is None:
        raise UserError(f"{member.name} of {file} has {member.size:,} bytes, which is no label; check the file")
    return stored.read().decode(errors="replace")


def _label(text: str) -> int | str:
    text = text.strip()
    return int(text) if _WHOLE.fullmatch(text) else text


_WHOLE = re.compile(r"-?[0-9]{1,18}")


def _known(text: str, member: tarfile.TarInfo, file: File, sample: dict[str, Any]) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{member.name} of {file} is no JSON ({error}); write the file anew") from error
    if isinstance(values, int | str):
        return {_LABEL: values}
    if not isinstance(values, dict):
        raise UserError(f"{member.name} of {file} is JSON, but neither a label nor an object; write the file anew")
    own = {_IMAGE, _ID, *({_LABEL} if _LABEL in sample else ())}
    return {name: value for name, value in values.items() if isinstance(value, int | float | str) and name not in own}
