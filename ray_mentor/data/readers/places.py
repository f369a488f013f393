"""Files by path, or by the URI of a file system that pyarrow knows (s3://, gs://, file://)."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote

import pyarrow as pa
import pyarrow.fs

from ray_mentor.data.stores import resolved
from ray_mentor.errors import UserError

File = Path | str
"""A path, or the URI of a file on a file system that pyarrow knows; pyarrow.parquet takes either."""

Stamp = tuple[int, int]
"""Size and time of the last change, in nanoseconds: what says whether a file is the one it was."""

GET_THERE = "check the address, the network, and the credentials in the environment"
"""What to do where a far file system does not answer."""

_AHEAD = 2**20  # bytes that are asked for together: a shard's members, one by one, would be a request each
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
        nowhere: links to what is not there.
        set_aside: folders whose names begin with ``_``, as those have that programs make beside data.
    """

    location: str
    names: tuple[str, ...]
    folders: tuple[str, ...] = ()
    is_file: bool = False
    stamps: Mapping[str, Stamp] = field(default_factory=dict)
    nowhere: tuple[str, ...] = ()
    set_aside: tuple[str, ...] = ()

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
        files, folders, links, aside = (
            _sorted(f"{each.below}{name}" for each in found for name in getattr(each, kind))
            for kind in ("files", "folders", "nowhere", "set_aside")
        )
        return cls(location, files, folders, nowhere=links, set_aside=aside)

    @classmethod
    def _of_uri(cls, uri: str) -> Listing:
        base = uri.partition("?")[0]
        if _about(uri).is_file:
            return cls(uri, (PurePosixPath(base).name,), is_file=True)
        with _reached(uri):
            system, root = resolved(uri)
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


_MADE_BY_MACS = "__MACOSX"


class _Folder(NamedTuple):
    """What lies in a folder, ``below`` being what comes before the names."""

    below: str
    folders: list[str]
    files: list[str]
    nowhere: list[str]
    set_aside: list[str]


def _walked(root: Path) -> Iterator[_Folder]:
    """Each folder; links to folders are followed, but never in a circle.

    Raises:
        UserError: a folder that may not be looked into.
    """
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=_refuse):
        about = os.stat(folder)
        if (about.st_dev, about.st_ino) in seen:
            folders.clear()
            continue
        seen.add((about.st_dev, about.st_ino))
        aside = [name for name in folders if name.startswith("_") and name != _MADE_BY_MACS]
        folders[:] = [name for name in folders if not name.startswith(_HIDDEN)]
        relative = os.path.relpath(folder, root).replace(os.sep, "/")
        shown = [name for name in files if not name.startswith(_HIDDEN)]
        kept = [name for name in shown if os.path.isfile(os.path.join(folder, name))]
        nowhere = [name for name in shown if not os.path.exists(os.path.join(folder, name))]
        yield _Folder("" if relative == "." else f"{relative}/", list(folders), kept, nowhere, aside)


def _refuse(error: OSError) -> None:
    if isinstance(error, NotADirectoryError | FileNotFoundError):
        raise UserError(
            f"there is no data at {str(error.filename)!r}: {error.strerror}; give a file or a folder"
        ) from error
    raise UserError(
        f"the folder {error.filename} can't be read ({error.strerror}), so that it is not known what is in there; see "
        "to it that this user may read it"
    ) from error


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
        for _, group in groupby(map(resolved, uris), key=lambda place: id(place[0])):
            places = list(group)  # which are asked for together
            for info in places[0][0].get_file_info([path for _, path in places]):
                yield (info.size, info.mtime_ns or 0) if info.is_file else None


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
    files, path = resolved(file)
    return io.BufferedReader(files.open_input_file(path), _AHEAD)


def contents(files: Sequence[File]) -> list[bytes]:
    """What is in each file.

    Raises:
        OSError: one can't be read; it says which.
    """
    far = [file for file in files if isinstance(file, str)]
    if not far:
        return [Path(file).read_bytes() for file in files]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        read = pool.map(_content, map(resolved, far))
        return [next(read) if isinstance(file, str) else file.read_bytes() for file in files]


def _content(place: tuple[pyarrow.fs.FileSystem, str]) -> bytes:
    system, path = place
    with system.open_input_file(path) as stream:
        content: bytes = stream.read()
    return content


def _about(uri: str) -> pyarrow.fs.FileInfo:
    with _reached(uri):
        files, path = resolved(uri)
        return files.get_file_info(path)


@contextmanager
def _reached(uri: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"{uri} can't be reached ({(str(error).splitlines() or [''])[0]}); {GET_THERE}, or give a path"
        ) from error
