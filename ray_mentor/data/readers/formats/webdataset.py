"""WebDataset: tar files in which members of one name and several endings are a sample (7.jpg and 7.cls)."""

from __future__ import annotations

import dataclasses
import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import override

from ray_mentor.data.readers.formats.folder import IMAGES
from ray_mentor.data.readers.formats.listed import AbstractListed
from ray_mentor.data.readers.formats.part import AbstractPart, Rows, reading
from ray_mentor.data.readers.formats.splits import Parts, SplitParts, by_name
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

    def called(self, shard: str) -> TarPart:
        """The same, with samples that are called by shard and key."""
        keys = pc.binary_join_element_wise(
            *(pa.scalar(shard, pa.large_string()), self.listing[_ID], pa.scalar("/", pa.large_string()))
        )
        place = self.listing.schema.get_field_index(_ID)
        return dataclasses.replace(self, listing=self.listing.set_column(place, _ID, keys))

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

    def with_names(self) -> TarPart:
        """The same with labels as names."""
        place = self.listing.schema.get_field_index(_LABEL)
        if place < 0 or not pa.types.is_integer(self.listing.schema.field(place).type):
            return self
        names = self.listing.column(place).cast(pa.string())
        return dataclasses.replace(self, listing=self.listing.set_column(place, _LABEL, names))

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
    dotted: list[str] = []
    made: dict[str, TarPart] = {}

    def make(name: str) -> TarPart:
        made[name] = _part(listing.file(name), bare, dotted)
        return made[name]

    found = by_name(listing, names, make, whole=whole)
    notes = list(found.notes)
    if _any_twice(found.all):
        notes.append("some keys occur in several shards, so sample ids are SHARD/KEY")
        found = by_name(listing, names, lambda name: made[name].called(name[: -len(ENDING)]), whole=whole)
    if any(_keeps_zeros(part) for part in found.all):
        found = found.each(lambda part: part.with_names() if isinstance(part, TarPart) else part)
    if bare:
        notes.append(f"left out {counted(len(bare), 'sample')} without an image in the file: {listed(bare, _SHOWN)}")
    if dotted:
        images = counted(len(dotted), "image")
        notes.append(f"left out {images} with a dot too many in the name: {listed(dotted, _SHOWN)}")
    return dataclasses.replace(
        found, notes=tuple(notes), what=f"{_KIND}, {len(found.all)} file{'s' * (len(found.all) != 1)}"
    )


def _keeps_zeros(part: AbstractPart) -> bool:
    """Whether labels are numbers that are names, since one begins with 0."""
    labels = part.listing[_LABEL] if isinstance(part, TarPart) and _LABEL in part.listing.schema.names else None
    if labels is None or not pa.types.is_string(labels.type):
        return False
    return all(name is not None and name.isdecimal() for name in labels.unique().to_pylist())


def _any_twice(parts: Parts) -> bool:
    keys = pa.chunked_array([chunk for part in parts for chunk in part.about([_ID], [_ID])[_ID].chunks])
    return len(keys.unique()) < len(keys)


def _part(file: File, bare: list[str], dotted: list[str]) -> TarPart:
    """The file; keys of what is no sample, though it has a label, are added to ``bare``, and to ``dotted`` the names of
    images that are none of a sample's, since what follows the first dot is no image's ending.
    """
    samples = []
    for key, sample in _samples(file, dotted):
        if _IMAGE in sample:
            samples.append((key, sample))
        elif sample:
            bare.append(key)
    if not samples:
        raise UserError(f"{file} holds no image; a sample is an image and its label, 7.jpg and 7.cls or 7.json")
    keys = [key for key, _ in samples]
    if len(set(keys)) < len(keys):
        twice = [key for key, count in Counter(keys).items() if count > 1]
        raise UserError(
            f"{file} holds {listed(map(repr, twice), _SHOWN)} more than once ({len(twice)} such), but members of one "
            "name are a sample, and lie one after the other; write the file anew, in order of names"
        )
    places = np.array([sample.pop(_IMAGE) for _, sample in samples], np.int64)
    _keep_zeros([sample for _, sample in samples])
    known = list(dict.fromkeys(name for _, sample in samples for name in sample))
    try:
        columns = {name: pa.array([sample.get(name) for _, sample in samples]) for name in known}
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise UserError(f"{file} has labels of different kinds ({error}); write them alike") from error
    table = pa.table({**columns, _ID: pa.array(keys, pa.large_string())})
    return TarPart(file, table, places[:, 0].copy(), places[:, 1].copy())


def _keep_zeros(samples: Sequence[dict[str, Any]]) -> None:
    """Makes names of all labels where one begins with 0, as 007 does."""
    if any(_LEADING_ZERO.fullmatch(str(sample.get(_LABEL))) for sample in samples):
        for sample in samples:
            if isinstance(sample.get(_LABEL), int):
                sample[_LABEL] = str(sample[_LABEL])


def _samples(file: File, dotted: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
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
                    if ending not in IMAGES and ending.endswith(IMAGES):
                        dotted.append(member.name)
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


_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_LEADING_ZERO = re.compile(r"0[0-9]+")


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
