"""The files of a run, local or on any file system that pyarrow knows (s3://, gs://)."""

from __future__ import annotations

import io
import json
import os
import posixpath
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.fs

from ray_mentor.data.stores import resolved
from ray_mentor.errors import UserError

CONFIG, RESULT, METRICS, LEDGER, CHECKPOINTS = "config.toml", "result.json", "metrics.csv", "ledger", "checkpoints"
HISTORY = f"{CHECKPOINTS}/history"

CLAIM = "attempt"
"""The file that says who may write in a run directory (:mod:`~ray_mentor.run.claim`); alone it is no run yet."""

UNKNOWN = "0" * 16
"""Stands for the attempt of a checkpoint that was brought from elsewhere."""

Fill = Callable[[Any], object]
"""Writes a file's content into what it is given, open for writing."""

_OBJECT_STORES = frozenset({"s3", "s3a", "gcs", "gs", "abfs", "abfss", "az"})


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
            with usable(self.path):
                self._files, self._root = resolved(self.path)

    @classmethod
    def within(cls, storage: str, name: str, files: pyarrow.fs.FileSystem | None = None) -> RunDirectory:
        """The folder of this name in another; where that is a URI with a query, the name goes before it.

        Raises:
            UserError: a URI, and a name that would be more than a name in it.
        """
        check_name(storage, name)
        return cls(inside(storage, name), files)

    @property
    def is_in_object_store(self) -> bool:
        """Where a file appears whole when it is closed, and giving it another name means to copy it."""
        whole = self._files
        while isinstance(whole, pyarrow.fs.SubTreeFileSystem):
            whole = whole.base_fs
        return not _OBJECT_STORES.isdisjoint(re.findall(r"[\w-]+", whole.type_name))  # py::fsspec+('s3', 's3a')

    def exists(self) -> bool:
        """Whether there is something at this path already.

        Folders without a file are nothing, nor is a claim alone: a run that is killed when it has just begun leaves
        them.
        """
        with usable(self.path):
            found, config = self._files.get_file_info([self._root, self._at(CONFIG)])
            if found.type != pyarrow.fs.FileType.Directory or config.is_file:
                return bool(found.type != pyarrow.fs.FileType.NotFound)
            within = self._files.get_file_info(pyarrow.fs.FileSelector(self._root, recursive=True))
        names = [info.base_name for info in within if info.is_file]
        return any(name != CLAIM and not name.startswith(".") for name in names)

    def create(self, folders: Sequence[str] = (LEDGER, CHECKPOINTS)) -> None:
        """Makes the folder, and those in it."""
        with usable(self.path):
            for name in folders:
                self._files.create_dir(self._at(name), recursive=True)

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Writes one file through a temporary name, or at once where there is no need of one.

        Raises:
            UserError: a full or read-only disk, a folder that is gone; what was there before is untouched.
        """
        self.fill(name, lambda sink: sink.write(data))

    def fill(self, name: str, fill: Fill) -> None:
        """The same of a file that is not in memory as a whole."""
        try:
            self._put(name, fill, self.permit)
        except OSError as error:
            self._check_still_ours()
            raise UserError(
                f"{self.path}/{name} cannot be written ({error}); the checkpoints in {self.path}/{CHECKPOINTS} are as "
                "they were: mend it, and go on with --resume"
            ) from error

    def read(self, name: str, at_most: int | None = None) -> bytes | None:
        """The content of a file, or its first bytes; None if it is not there.

        Raises:
            UserError: a pipe or the like, which would be waited for; what this user may not read, or a disk does not
                give.
        """
        try:
            found = None if self.is_in_object_store else self._files.get_file_info(self._at(name))
            if found is not None and found.type == pyarrow.fs.FileType.Unknown:
                raise UserError(f"{self.path}/{name} cannot be read: it is not a file; remove it")
            with self._files.open_input_stream(self._at(name)) as source:
                return bytes(source.read(at_most))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise UserError(
                f"{self.path}/{name} cannot be read ({error}); see to it that this user may read what is in there"
            ) from error

    def size(self, name: str) -> int | None:
        """Bytes of a file; None if it is not there."""
        with usable(self.path):
            info = self._files.get_file_info(self._at(name))
        return int(info.size) if info.is_file else None

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""
        if self.size(name) is not None:
            self._files.delete_file(self._at(name))

    def names(self, folder: str) -> list[str]:
        """The files in one of the run's folders, sorted; none if the folder is not there."""
        return sorted(info.base_name for info in self.entries(folder) if info.is_file)

    def entries(self, folder: str = "") -> list[pyarrow.fs.FileInfo]:
        """The files and folders in one of the run's folders, or in the run's own; none if it is not there."""
        with usable(self.path):
            found: list[pyarrow.fs.FileInfo] = self._files.get_file_info(
                pyarrow.fs.FileSelector(self._at(folder), allow_not_found=True)
            )
        return found

    def permit(self) -> None:
        """Raises a UserError if this process may not write here any more."""

    def place(self, name: str) -> tuple[str, pyarrow.fs.FileSystem]:
        """The path of a file or folder, and the file system that it is one of."""
        return self._at(name), self._files

    def write_metrics(self, rows: Sequence[Mapping[str, float | None]]) -> None:
        """Writes the metrics, a row an epoch; empty where a row lacks a column that another has."""
        names = dict.fromkeys(name for row in rows for name in row)
        table = pa.table({name: [row.get(name) for row in rows] for name in names})
        self.fill(METRICS, lambda sink: pyarrow.csv.write_csv(table, sink))

    def write_config(self, settings: bytes) -> None:
        """Writes what the run goes on under: from here on it is not done, so that its result goes first."""
        self.remove(RESULT)
        self.write(CONFIG, settings)

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Writes the result: the last file of a run, so that its presence says that the run is done."""
        self.write(RESULT, (json.dumps(result, indent=2) + "\n").encode())

    def _put(self, name: str, fill: Fill, permit: Callable[[], None]) -> None:
        """Makes a file that is whole or not there.

        Args:
            permit: called right before it appears under its name; raises where it must not.
        """
        if self.is_in_object_store:
            content = io.BytesIO()  # first: what breaks off while it is filled must not be closed, which publishes it
            fill(content)
            permit()
            with self._files.open_output_stream(self._at(name)) as sink:
                sink.write(content.getbuffer())
            return
        partial = self._partial(name)
        try:
            with self._files.open_output_stream(partial) as sink:
                fill(sink)
            if isinstance(self._files, pyarrow.fs.LocalFileSystem):
                _flush(partial)
            permit()
            self._files.move(partial, self._at(name))
        except (OSError, UserError):
            with suppress(OSError):
                self._files.delete_file(partial)
            raise

    def _check_still_ours(self) -> None:
        """The same, when something has failed and that may be why."""

    def _partial(self, name: str) -> str:
        """Where a file lies until it is whole; of two that write it at a time each has its own."""
        whose = uuid.uuid4().hex[:12]
        return posixpath.join(posixpath.dirname(self._at(name)), f".{posixpath.basename(name)}.{whose}.partial")

    def _at(self, name: str) -> str:
        return posixpath.join(self._root, name) if name else str(self._root)


def inside(place: str, name: str) -> str:
    """The path or URI of something in a folder; where that is a URI with a query, the name goes before it."""
    folder, mark, query = place.partition("?") if "://" in place else (place, "", "")
    return f"{folder.removesuffix('/')}/{name}{mark}{query}"


def absolute(storage: str) -> str:
    """Where runs lie, whatever the working folder is: a URI as it is, a path from the root on."""
    return storage if "://" in storage else os.path.abspath(os.path.expanduser(storage))


def check_name(storage: str, name: str) -> None:
    """Raises a UserError if a folder of this name has no URI where ``storage`` is one."""
    if "://" in storage and set(name) & set("#?%"):
        raise UserError(
            f"run_name is {name!r}, but storage_path is a URI, in which #, ? and % mean something else; give a name "
            "without"
        )


def check_free(directory: RunDirectory, kind: str = "run", *, resume: bool) -> None:
    """Refuses to start where something is already, and to go on where nothing is.

    Args:
        kind: what it is, in a word.

    Raises:
        UserError: saying which.
    """
    is_there = directory.exists()
    if is_there and not resume:
        raise UserError(
            f"{kind} {directory.path} is there already; give it another --run-name, or go on with it: --resume"
        )
    if resume and not is_there:
        raise UserError(f"there is no {kind} {directory.path} to resume; check --run-name and --storage-path")


def fresh_name(*words: str) -> str:
    """A name for a run directory that says what runs, and that no run before or beside it has."""
    what = "-".join(word.partition(":")[0] for word in words)[:_LONGEST]  # a rule's method names a file, too
    return f"{what}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}{time.time_ns() // 1000 % 10**6:06d}"


_LONGEST = 48  # characters, of up to four bytes each; a file system takes 255 bytes


def name_of(step: int, attempt: str = UNKNOWN) -> str:
    """The file of the checkpoint at a step."""
    return f"step-{step:012d}-{attempt}.pt"


def is_older(name: str) -> bool:
    """Whether a checkpoint's file is of an earlier version of ray_mentor, that left the attempt out of its name."""
    return re.fullmatch(r"step-\d{12}\.pt", name) is not None


@contextmanager
def usable(path: str) -> Iterator[None]:
    """Inside, whatever a run directory can't be is a UserError."""
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
