"""Images that are files of their own, listed with what is known of them."""

from __future__ import annotations

import dataclasses
import shlex
from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from typing_extensions import override

from ray_mentor.data.readers.formats.part import AbstractDirectPart, Identity, Rows, digest, reading
from ray_mentor.data.readers.places import File, absolute, below, contents, stamps
from ray_mentor.errors import UserError, listed


class AbstractListed(AbstractDirectPart):
    """A row an image: each may be read by itself.

    Attributes:
        listing: what else is known of each, N rows.
        column: what the images are called among the columns.
    """

    listing: pa.Table
    column: str

    @abstractmethod
    def images(self, rows: Rows) -> list[bytes]:
        """Those images, in that order.

        Raises:
            UserError: they can't be read.
        """

    @override
    def __len__(self) -> int:
        return len(self.listing)

    @override
    def schema(self) -> pa.Schema:
        return self.listing.schema.append(pa.field(self.column, pa.large_binary()))

    @override
    def about(self, columns: list[str], strings: list[str]) -> pa.Table:
        return self.listing.select(columns)

    @override
    def stretch(self, start: int, stop: int, columns: list[str]) -> pa.Table:
        return self.take(np.arange(start, stop), columns)

    @override
    def take(self, rows: Rows, columns: list[str]) -> pa.Table:
        return pa.table({name: self._column(name, rows) for name in columns})

    def _column(self, name: str, rows: Rows) -> Any:
        if name == self.column:
            return pa.array(self.images(rows), pa.large_binary())
        return self.listing[name].take(pa.array(rows))


@dataclass(frozen=True, eq=False)
class ListedImages(AbstractListed):
    """Images that are files.

    Attributes:
        file: the table that lists them, or the folder that they are in.
        listing: see :class:`AbstractListed`.
        base: the folder that the paths are relative to.
        paths: large strings (N,).
        column: see :class:`AbstractListed`.
        kind: in messages.
        alone: whether a message names an image by its path alone.
        stamp: what says whether the images are what they were, where that is known; else they are asked.
    """

    file: File
    listing: pa.Table
    base: File
    paths: pa.LargeStringArray
    column: str
    kind: str
    alone: bool = False
    stamp: str | None = None
    _kept: dict[int, bytes] = field(default_factory=dict, repr=False)
    """The first of them, of a far file system: they are looked at for their size, before all are read."""

    @override
    def images(self, rows: Rows) -> list[bytes]:
        asked, kept = rows.tolist(), dict(self._kept)
        if all(row in kept for row in asked):
            return [kept[row] for row in asked]
        with reading(self, self.kind, "put back what is missing, or start another run"):
            found = contents(self._files(rows))
        self._kept.clear()
        if isinstance(self.base, str) and asked[0] == 0 and sum(map(len, found)) <= _KEPT_BYTES:
            self._kept.update(zip(asked, found, strict=True))
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}

    @override
    def group_sizes(self) -> list[int]:
        return [1] * len(self)

    @override
    def place(self, row: int, sample: object) -> str:
        where = str(below(self.base, self.paths[row].as_py()))
        return where if self.alone else f"{where} ({super().place(row, sample)})"

    @override
    def at(self, file: File) -> ListedImages:
        return dataclasses.replace(self, file=file)

    @override
    def absolute(self) -> ListedImages:
        return dataclasses.replace(self, file=absolute(self.file), base=absolute(self.base))

    @override
    def identity(self) -> Identity:
        if self.stamp is not None:
            return [str(absolute(self.file)), self.stamp]
        files = self._files(np.arange(len(self)))
        names = [str(absolute(file)) for file in files]
        return [str(absolute(self.file)), digest(repr(list(zip(names, stamps(files), strict=True))).encode())]

    @override
    def fingerprint(self) -> Identity:
        return self.identity()

    def _files(self, rows: Rows) -> list[File]:
        return [below(self.base, path) for path in self.paths.take(pa.array(rows)).to_pylist()]


_SHOWN = 5  # files that an error names
_KEPT_BYTES = 2**26


def require_images(part: ListedImages, column: str) -> ListedImages:
    """The part, if every image is there.

    Args:
        column: of the paths, for the message.

    Raises:
        UserError: some are not; names the first, and says how many there are.
    """
    paths = part.paths.to_pylist()
    found = stamps([below(part.base, path) for path in paths])
    missing = [path for path, stamp in zip(paths, found, strict=True) if stamp is None]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(paths)} images that column {column!r} of {part} names are not there: "
            f"{listed(missing, _SHOWN)}; paths are absolute, or relative to {part.base}: mend them, or leave out the "
            f"rows; --ignore-columns {shlex.quote(column)} if it names no images"
        )
    if isinstance(part.base, Path):
        return part
    return dataclasses.replace(part, stamp=digest(repr(list(zip(paths, found, strict=True))).encode()))
