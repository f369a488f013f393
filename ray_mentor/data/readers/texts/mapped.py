"""Token ids in an Arrow file that is mapped: made once, of texts and the tokenizer of a student."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from typing_extensions import override

from ray_mentor.data.readers.formats.part import digest
from ray_mentor.data.readers.formats.splits import Parts
from ray_mentor.data.readers.tables.table import Stream, Table
from ray_mentor.data.readers.texts.raw import is_empty, text_parts
from ray_mentor.data.samples.texts.ragged import AbstractRagged, Ragged, Some
from ray_mentor.data.samples.texts.tokens import Tokens
from ray_mentor.data.storage.arrow_file import DamagedFileError
from ray_mentor.data.storage.cache import if_whole, make, unusable
from ray_mentor.errors import UserError

_FORMAT = 1
_IDENTITY, _CUT, _IDS = b"ray_mentor", b"cut", "ids"
_PART_TEXTS = 4096  # of a record batch
_LONGEST = 40  # characters of a file's name
_log = logging.getLogger(__name__)


def tokenised_parts(
    table: Stream, column: str, tokens: Tokens, cut: list[int], empty: list[int] | None = None
) -> Iterator[Some]:
    """The token ids of a table's texts in order, some at a time.

    Args:
        cut: how many texts of each part were longer than they may be is added to it.
        empty: the rows of texts that are empty are added to it; None: there may be none.

    Raises:
        UserError: texts that are empty, or of which the tokenizer makes nothing.
    """
    waiting: list[list[int]] = []
    for first, texts in text_parts(table, column, skip=empty is not None):
        if empty is not None:
            empty += (first + place for place, text in enumerate(texts) if is_empty(text))
        ids, long = tokens.encode(texts)
        nothing = next((place for place, each in enumerate(ids) if not each and not is_empty(texts[place])), None)
        if nothing is not None:
            raise UserError(
                f"the tokenizer makes no token of the text in {table.place(first + nothing)} (column {column!r}); "
                "leave the row out"
            )
        cut.append(long)
        waiting += ids
        if len(waiting) >= _PART_TEXTS:
            yield Some.of(waiting)
            waiting = []
    if waiting:
        yield Some.of(waiting)


@dataclass(frozen=True, eq=False)
class MappedRagged(AbstractRagged):
    """Where the file is, and what it is made of. It can be pickled, and each process maps the file of its machine.

    Attributes:
        files: of the texts.
        column: of them.
        tokens: what makes ids of texts.
        rows: how many there are.
        cache: folder of such files.
        identity: of files and tokenizer when the run began.
    """

    files: Parts
    column: str
    tokens: Tokens
    rows: int
    cache: str
    identity: str = field(repr=False)

    @classmethod
    def of(cls, table: Table, column: str, tokens: Tokens, cache: str) -> tuple[MappedRagged, int]:
        """The ids of a table's texts, in a file that is made if it is not there; and how many texts were cut.

        Raises:
            UserError: a folder that can't be written; texts that can't be used.
        """
        files = tuple(file.at(file.file) for file in table.files)
        folder = str(Path(cache).expanduser().absolute())
        about = {"format": _FORMAT, "column": column, "tokenizer": tokens.digest}
        identity = json.dumps({**about, "files": [file.fingerprint() for file in files]})
        made = cls(files, column, tokens, len(table), folder, identity)
        there = made._there() or made._made(table)
        return made, there[1]

    @property
    def path(self) -> Path:
        """Of the file."""
        name = Path(str(self.files[0])).stem[:_LONGEST]
        return Path(self.cache) / f"{name}-{digest(self.identity.encode())}.tokens.arrow"

    @override
    def open(self) -> Ragged:
        return self._opened

    @cached_property
    def _opened(self) -> Ragged:
        there = self._there()
        if there is None:
            starts = np.cumsum([0, *map(len, self.files)])
            none = pa.chunked_array([], pa.int64())
            there = self._made(Table(self.files, starts[:-1], np.arange(starts[-1]), none, None))
        return there[0]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_opened"}

    def _there(self) -> tuple[Ragged, int] | None:
        return if_whole(self.path, lambda: _read(self.path, self.identity, self.rows), self.cache)

    def _made(self, table: Table) -> tuple[Ragged, int]:
        def write(file: BinaryIO) -> None:
            _log.warning("tokenising %s texts of %s into %s, this once", f"{self.rows:,}", self.files[0], self.path)
            cut: list[int] = []
            _write(file, tokenised_parts(table, self.column, self.tokens, cut, []), cut, self.identity)

        try:
            make(self.path, lambda: self._there() is not None, write)
            return _read(self.path, self.identity, self.rows)
        except OSError as error:
            raise unusable(self.cache, error) from error


def _write(file: BinaryIO, parts: Iterable[Some], cut: list[int], identity: str) -> None:
    """All parts, and behind them an empty one that says how many texts were cut."""
    schema = pa.schema([(_IDS, pa.large_list(pa.int32()))], metadata={_IDENTITY: identity})
    with pa.ipc.new_file(file, schema) as writer:
        for part in parts:
            ids = pa.LargeListArray.from_arrays(pa.array(part.ends), pa.array(part.values))
            writer.write_batch(pa.record_batch([ids], schema=schema))
        empty = pa.record_batch([pa.array([], pa.large_list(pa.int32()))], schema=schema)
        writer.write_batch(empty, custom_metadata={_CUT: str(sum(cut))})


def _read(path: Path, identity: str, rows: int) -> tuple[Ragged, int]:
    """What was written; how many texts were cut.

    Raises:
        DamagedFileError: it is something else, or cut off.
        OSError: it isn't there, or can't be read.
    """
    os.stat(path)  # says that it is not there in the system's words
    try:
        with pa.ipc.open_file(pa.memory_map(str(path))) as reader:
            if (reader.schema.metadata or {}).get(_IDENTITY) != identity.encode():
                raise DamagedFileError("it was made of other data, or by another version")
            batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
            last, about = reader.get_batch_with_custom_metadata(reader.num_record_batches - 1)
        found = Ragged(_mapped(batch.column(0)) for batch in batches)
        if len(found) != rows or len(last):
            raise DamagedFileError(f"{len(found):,} rows, where {rows:,} were written")
        return found, int(about[_CUT])
    except (pa.ArrowException, ValueError, KeyError, TypeError, IndexError) as error:
        raise DamagedFileError((str(error).splitlines() or [type(error).__name__])[0]) from error


def _mapped(column: pa.Array) -> Some:
    """Without a copy; offsets that point elsewhere are refused."""
    if column.type != pa.large_list(pa.int32()):
        raise ValueError(f"a column is {column.type}")
    column.validate(full=True)
    return Some(column.offsets.to_numpy(), column.values.to_numpy())
