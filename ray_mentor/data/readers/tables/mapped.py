"""Inputs of a table, decoded once into an Arrow file that is mapped from then on."""

from __future__ import annotations

import json
import logging
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from typing_extensions import override

from ray_mentor.data.readers.formats.part import digest
from ray_mentor.data.readers.formats.splits import Parts
from ray_mentor.data.readers.pictures.form import AS_THEY_ARE, Form
from ray_mentor.data.readers.tables.columns import Columns
from ray_mentor.data.readers.tables.decoded import FORMAT, check_inputs, flags_of, row_bytes, write_inputs
from ray_mentor.data.readers.tables.images import Flags, made_by, whole
from ray_mentor.data.readers.tables.table import Table, open_table
from ray_mentor.data.samples.inputs import AbstractArrayInputs, FeatureInputs, ImageInputs
from ray_mentor.data.storage.arrow_file import ArrowFile
from ray_mentor.data.storage.cache import if_whole, make, unusable
from ray_mentor.data.storage.mapped import AbstractSource, MappedArray
from ray_mentor.errors import UserError

_log = logging.getLogger(__name__)
_LONGEST = 40  # characters of a file's name, of up to four bytes each; a file system takes 255 bytes


def read_mapped(
    table: Table, columns: Columns, cache: str, form: Form = AS_THEY_ARE
) -> tuple[AbstractArrayInputs, Flags]:
    """The inputs of a table, in a file of the folder ``cache`` that is made if it is not there.

    Returns:
        The inputs, broken images left out; and flags of all rows, those of the ones that were left out too.

    Raises:
        UserError: whatever is wrong with the inputs; a folder that can't be written, or a full disk.
    """
    folder = str(Path(cache).expanduser().absolute())
    files = tuple(file.at(file.file) for file in table.files)
    source = TableSource(files, columns, form, len(table), folder, _identity(files, columns, form))
    file = source.there() or source.made(table)
    values = MappedArray.of(source, file)
    if columns.image is None:
        return FeatureInputs(values), np.zeros(len(table), np.uint8)
    flags = flags_of(file)
    return ImageInputs(values.select(whole(flags)), side=form.side), flags


@dataclass(frozen=True)
class TableSource(AbstractSource):
    """An Arrow file, and the table that it is made of.

    Attributes:
        files: of the split.
        columns: what is what in them.
        form: of images.
        rows: how many.
        cache: absolute path of the folder of Arrow files.
        identity: of the files when the run began.
    """

    files: Parts
    columns: Columns
    form: Form
    rows: int
    cache: str
    identity: str

    @property
    def path(self) -> Path:
        """Of the Arrow file."""
        return Path(self.cache) / f"{Path(str(self.files[0])).stem[:_LONGEST]}-{digest(self.identity.encode())}.arrow"

    @override
    def open(self) -> ArrowFile:
        return self.there() or self.made(self._table())

    def there(self) -> ArrowFile | None:
        """The file, if it is there and whole."""
        return if_whole(self.path, self._whole, self.cache)

    def _whole(self) -> ArrowFile:
        file = ArrowFile(self.path, self.identity)
        check_inputs(file, self.columns, self.rows)
        return file

    def made(self, table: Table) -> ArrowFile:
        """The file, made of its table, by this process or by another that was first."""
        try:
            make(self.path, lambda: self.there() is not None, lambda file: self._write(file, table))
            return ArrowFile(self.path, self.identity)
        except OSError as error:
            raise unusable(self.cache, error) from error

    def _write(self, file: BinaryIO, table: Table) -> None:
        _require_disk(self, row_bytes(table, self.columns, self.form))
        _log.warning("decoding %s rows of %s into %s, this once", f"{self.rows:,}", _named(self.files), self.path)
        write_inputs(file, table, self.columns, self.form, self.identity)
        if _identity(self.files, self.columns, self.form) != self.identity:
            raise UserError(f"{_named(self.files)} changed while being read; start again")

    def _table(self) -> Table:
        """The table as this machine has it."""
        try:
            unchanged = _identity(self.files, self.columns, self.form) == self.identity
        except OSError as error:
            raise self._elsewhere(str(error)) from error
        if not unchanged:
            raise self._elsewhere(f"{_named(self.files)} differ from those that the run began with")
        return open_table(self.files, self.columns)

    def _elsewhere(self, reason: str) -> UserError:
        return UserError(
            f"{self.path} is not on {socket.gethostname()} and can't be made there ({reason}); "
            "name a folder that all nodes share with --data-cache"
        )


def _require_disk(source: TableSource, row_bytes: int) -> None:
    size, free = source.rows * row_bytes, shutil.disk_usage(source.cache).free
    if size > free:
        raise UserError(
            f"data_cache {source.cache!r} has {free / 2**30:,.1f} GiB free, but {source.rows:,} rows of "
            f"{_named(source.files)} take {size / 2**30:,.1f} GiB; free some, or name another --data-cache"
        )


def _named(files: Parts) -> str:
    return f"{files[0]}{f' and {len(files) - 1} more' if len(files) > 1 else ''}"


def _identity(files: Parts, columns: Columns, form: Form) -> str:
    """What an Arrow file is made of, as text: its files, which columns, and what decodes them."""
    decoder = {} if columns.image is None else made_by(form)
    sources = [file.fingerprint() for file in files]
    return json.dumps({"format": FORMAT, "columns": columns.inputs, "files": sources, **decoder})
