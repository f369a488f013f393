"""Files by path, or by the URI of a file system that pyarrow knows (s3://, gs://, file://)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pyarrow as pa
import pyarrow.fs

from ray_mentor.errors import UserError

File = Path | str
"""A path, or the URI of a file on a file system that pyarrow knows; pyarrow.parquet takes either."""

Stamp = tuple[int, int]
"""Size and time of the last change, in nanoseconds: what says whether a file is the one it was."""

_AT_ONCE = 16  # files of a far file system that are asked for at a time: each answer takes its time to come


def is_there(location: str) -> bool:
    """Whether there is a file or folder of this path or URI.

    Raises:
        UserError: a URI whose file system can't be reached, or is none that pyarrow knows.
    """
    if not is_uri(location):
        try:
            return Path(location).exists()
        except OSError:  # a name that is too long, or a folder that may not be looked into
            return False
    return bool(_about(location).type != pyarrow.fs.FileType.NotFound)


def is_uri(location: str) -> bool:
    """Whether a location is the URI of a file system (s3://, gs://, file://) rather than a path."""
    return "://" in location


@dataclass(frozen=True)
class Listing:
    """What lies at or below a path or URI, hidden files left out.

    Attributes:
        location: as the user wrote it.
        names: of the files, relative to it, with ``/`` between folders, sorted; its own name where it is a file.
        folders: likewise.
        is_file: whether the location is one.
        stamps: of the files of a far file system, which tells them with the names.
    """

    location: str
    names: tuple[str, ...]
    folders: tuple[str, ...] = ()
    is_file: bool = False
    stamps: Mapping[str, Stamp] = field(default_factory=dict)

    @classmethod
    def of(cls, location: str) -> Listing:
        """Looks.

        Raises:
            UserError: a file system that can't be reached.
        """
        if is_uri(location):
            return cls._of_uri(location)
        path = Path(location)
        if path.is_file():
            return cls(location, (path.name,), is_file=True)
        found = list(_walked(path))
        files = (name for below, _, names in found for name in (f"{below}{name}" for name in names))
        return cls(location, _sorted(files), _sorted(f"{below}{name}" for below, names, _ in found for name in names))

    @classmethod
    def _of_uri(cls, uri: str) -> Listing:
        base = uri.partition("?")[0]
        if _about(uri).is_file:
            return cls(uri, (PurePosixPath(base).name,), is_file=True)
        with _reached(uri):
            system, root = pyarrow.fs.FileSystem.from_uri(uri)
            infos = system.get_file_info(pyarrow.fs.FileSelector(root, recursive=True))
        found = {str(PurePosixPath(info.path).relative_to(root)): info for info in infos}
        seen = [name for name in found if not any(part.startswith(_HIDDEN) for part in name.split("/"))]
        files = [name for name in seen if found[name].is_file]
        stamps = {name: (found[name].size, found[name].mtime_ns or 0) for name in files}
        return cls(uri, _sorted(files), _sorted(name for name in seen if name not in stamps), stamps=stamps)

    def file(self, name: str) -> File:
        """Where a file of that name is."""
        if self.is_file:
            return self.location if is_uri(self.location) else Path(self.location)
        return below(self.location if is_uri(self.location) else Path(self.location), name)

    def ending(self, *endings: str) -> list[str]:
        """The files whose names end so, in whatever case."""
        return [name for name in self.names if name.lower().endswith(endings)]


_HIDDEN = (".", "_")


def _walked(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """(prefix, folders, files) of each folder; links to folders are followed, but never in a circle."""
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        about = os.stat(folder)
        if (about.st_dev, about.st_ino) in seen:
            folders.clear()
            continue
        seen.add((about.st_dev, about.st_ino))
        folders[:] = [name for name in folders if not name.startswith(_HIDDEN)]
        relative = os.path.relpath(folder, root).replace(os.sep, "/")
        kept = [name for name in files if not name.startswith(_HIDDEN) and os.path.isfile(os.path.join(folder, name))]
        yield ("" if relative == "." else f"{relative}/"), list(folders), kept


def _sorted(names: Any) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: name.split("/")))


def below(base: File, name: str) -> File:
    """A file by its name relative to a folder; an absolute path or a URI is itself."""
    if is_uri(name):
        return name
    if isinstance(base, Path):
        return base / name
    start, mark, options = base.partition("?")
    return f"{start.rstrip('/')}/{quote(name.lstrip('/'))}{mark}{options}"


def folder_of(file: File) -> File:
    """The folder that a file lies in."""
    if isinstance(file, Path):
        return file.parent
    start, mark, options = file.partition("?")
    return f"{start.rpartition('/')[0]}{mark}{options}"


def stamps(files: Sequence[File]) -> list[Stamp | None]:
    """Of each file; None where there is none.

    Raises:
        UserError: a file system that can't be reached.
    """
    far = [file for file in files if isinstance(file, str)]
    answers = _far_stamps(far) if far else iter(())
    return [_stamp(file) if isinstance(file, Path) else next(answers) for file in files]


def _stamp(path: Path) -> Stamp | None:
    try:
        about = path.stat()
    except (OSError, ValueError):  # not there, or no name that a file can have
        return None
    return (about.st_size, about.st_mtime_ns) if path.is_file() else None


def _far_stamps(uris: list[str]) -> Iterator[Stamp | None]:
    with _reached(uris[0]):
        for _, group in groupby(_resolved(uris), key=lambda place: id(place[0])):
            places = list(group)  # which are asked for together
            for info in places[0][0].get_file_info([path for _, path in places]):
                yield (info.size, info.mtime_ns or 0) if info.is_file else None


def _resolved(uris: Iterable[str]) -> Iterator[tuple[pyarrow.fs.FileSystem, str]]:
    """File system and path of each: those of one place share a file system, and its connections."""
    known: dict[tuple[str, str, str], tuple[pyarrow.fs.FileSystem, str]] = {}
    for uri in uris:
        split = urlsplit(uri)
        key, tail = (split.scheme, split.netloc, split.query), unquote(split.path)
        if key not in known:
            system, path = pyarrow.fs.FileSystem.from_uri(uri)
            if not path.endswith(tail):
                yield system, path
                continue
            known[key] = system, path.removesuffix(tail)
        system, root = known[key]
        yield system, f"{root}{tail}"


def stamp(file: File) -> Stamp:
    """Of one file that is there."""
    if isinstance(file, Path):
        about = file.stat()
        return about.st_size, about.st_mtime_ns
    info = _about(file)
    return info.size, info.mtime_ns or 0


def absolute(file: File) -> File:
    """The same file, from whatever folder it is opened."""
    return file.absolute() if isinstance(file, Path) else file


def opened(file: File) -> Any:
    """A file to read from, at any place of it."""
    if isinstance(file, Path):
        return open(file, "rb")
    files, path = pyarrow.fs.FileSystem.from_uri(file)
    return files.open_input_file(path)


def contents(files: Sequence[File]) -> list[bytes]:
    """What is in each file.

    Raises:
        OSError: one can't be read; it says which.
    """
    far = [file for file in files if isinstance(file, str)]
    if not far:
        return [Path(file).read_bytes() for file in files]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        read = pool.map(_content, _resolved(far))
        return [next(read) if isinstance(file, str) else file.read_bytes() for file in files]


def _content(place: tuple[pyarrow.fs.FileSystem, str]) -> bytes:
    system, path = place
    with system.open_input_file(path) as stream:
        content: bytes = stream.read()
    return content


def _about(uri: str) -> pyarrow.fs.FileInfo:
    with _reached(uri):
        files, path = pyarrow.fs.FileSystem.from_uri(uri)
        return files.get_file_info(path)


@contextmanager
def _reached(uri: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"{uri} can't be reached ({(str(error).splitlines() or [''])[0]}); check the address, and the credentials "
            "in the environment, or give a path"
        ) from error
