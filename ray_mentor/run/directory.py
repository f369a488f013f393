"""The files of a run, local or on any file system that pyarrow knows (s3://, gs://)."""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet

from ray_mentor.errors import UserError

CONFIG, RESULT, METRICS, LEDGER, CHECKPOINTS = "config.toml", "result.json", "metrics.csv", "ledger", "checkpoints"
HISTORY = f"{CHECKPOINTS}/history"


class RunDirectory:
    """Where a run writes; each file is whole or not there.

    Args:
        path: a folder, or a URI of one.
        files: the file system that ``path`` is a folder of, without a scheme; None: what it says.
    """

    def __init__(self, path: str, files: pyarrow.fs.FileSystem | None = None) -> None:
        self.path = path if "://" in path or files is not None else str(Path(path).expanduser().absolute())
        self._files: Any = files
        self._root = path
        if files is None:
            with _usable(self.path):
                self._files, self._root = pyarrow.fs.FileSystem.from_uri(self.path)

    @classmethod
    def within(cls, storage: str, name: str, files: pyarrow.fs.FileSystem | None = None) -> RunDirectory:
        """The folder of this name in another; where that is a URI with a query, the name goes before it."""
        place, mark, query = storage.partition("?") if "://" in storage else (storage, "", "")
        return cls(f"{place.removesuffix('/')}/{name}{mark}{query}", files)

    def exists(self) -> bool:
        """Whether there is something at this path already.

        Folders without a file are nothing: a run that is killed when it has just begun leaves them.
        """
        with _usable(self.path):
            found, config = self._files.get_file_info([self._root, posixpath.join(self._root, CONFIG)])
            if found.type != pyarrow.fs.FileType.Directory or config.is_file:
                return bool(found.type != pyarrow.fs.FileType.NotFound)
            within = self._files.get_file_info(pyarrow.fs.FileSelector(self._root, recursive=True))
        return any(info.is_file and not info.base_name.startswith(".") for info in within)

    def create(self, folders: Sequence[str] = (LEDGER, CHECKPOINTS)) -> None:
        """Makes the folder, and those in it."""
        with _usable(self.path):
            for name in folders:
                self._files.create_dir(posixpath.join(self._root, name), recursive=True)

    def write(self, name: str, data: bytes) -> None:
        """Writes one file through a temporary name.

        Raises:
            UserError: a full or read-only disk, a folder that is gone; what was there before is untouched.
        """
        self._write(name, lambda sink: sink.write(data))

    def read(self, name: str, at_most: int | None = None) -> bytes | None:
        """The content of a file, or its first bytes; None if it is not there."""
        try:
            with self._files.open_input_stream(posixpath.join(self._root, name)) as source:
                return bytes(source.read(at_most))
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""
        path = posixpath.join(self._root, name)
        if self._files.get_file_info(path).is_file:
            self._files.delete_file(path)

    def write_metrics(self, rows: Sequence[Mapping[str, float | None]]) -> None:
        """Writes the metrics, a row an epoch."""
        table = pa.Table.from_pylist([dict(row) for row in rows])
        self._write(METRICS, lambda sink: pyarrow.csv.write_csv(table, sink))

    def append_ledger(self, rows: pa.Table, rank: int, first_step: int) -> None:
        """Writes a rank's ledger rows since ``first_step``; the same rank and step replaces what was there."""
        if len(rows):
            name = f"{LEDGER}/step-{first_step:09d}-rank-{rank:04d}.parquet"
            self._write(name, lambda sink: pyarrow.parquet.write_table(rows, sink))

    def cut_ledger(self, step: int) -> None:
        """Removes what a run wrote past the checkpoint that it now goes on from, and what it left half written."""
        for name in self.names(LEDGER):
            if _first_step(name) >= step or name.startswith("."):
                self._files.delete_file(posixpath.join(self._root, LEDGER, name))

    def names(self, folder: str) -> list[str]:
        """The files in one of the run's folders, sorted; none if the folder is not there."""
        selector = pyarrow.fs.FileSelector(posixpath.join(self._root, folder), allow_not_found=True)
        with _usable(self.path):
            return sorted(info.base_name for info in self._files.get_file_info(selector) if info.is_file)

    def ledger(self, epoch: int | None = None) -> pa.Table:
        """All ledger rows written so far; those of one epoch alone, if it is named."""
        folder = posixpath.join(self._root, LEDGER)
        rows = pyarrow.dataset.dataset(folder, filesystem=self._files, format="parquet")
        return rows.to_table(filter=None if epoch is None else pyarrow.dataset.field("epoch") == epoch)

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Writes the result: the last file of a run, so that its presence says that the run is done."""
        self.write(RESULT, (json.dumps(result, indent=2) + "\n").encode())

    def _write(self, name: str, fill: Any) -> None:
        target = posixpath.join(self._root, name)
        partial = posixpath.join(posixpath.dirname(target), f".{posixpath.basename(target)}.partial")
        try:
            with self._files.open_output_stream(partial) as sink:
                fill(sink)
            if isinstance(self._files, pyarrow.fs.LocalFileSystem):
                _flush(partial)
            self._files.move(partial, target)
        except OSError as error:
            with suppress(OSError):
                self._files.delete_file(partial)
            raise UserError(
                f"{self.path}/{name} cannot be written ({error}); the checkpoints in {self.path}/{CHECKPOINTS} are as "
                "they were: mend it, and go on with --resume"
            ) from error


@contextmanager
def _usable(path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"the run directory {path} cannot be used ({error}); check --storage-path") from error


def _flush(path: str) -> None:
    """Waits until the disk has a file's content: a name must not outlive a power cut that its content did not."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _first_step(name: str) -> int:
    """The step in a ledger file's name; -1 for other files."""
    parts = name.split("-")
    return int(parts[1]) if name.startswith("step-") and parts[1].isdigit() else -1
