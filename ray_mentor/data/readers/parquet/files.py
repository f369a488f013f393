"""Which Parquet files of a folder make up which split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

import pyarrow as pa
import pyarrow.fs

from ray_mentor.errors import UserError, listed

File = Path | str
"""A path, or the URI of a file on a file system that pyarrow knows; pyarrow.parquet takes either."""

Files = tuple[File, ...]


@dataclass(frozen=True)
class SplitFiles:
    """Files of each split, in order of their names; empty where the data has no such split."""

    train: Files
    validation: Files = ()
    test: Files = ()
    notes: tuple[str, ...] = ()


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


def find_files(location: str) -> Files:
    """The Parquet files at or below a path or URI, hidden ones left out.

    Raises:
        UserError: there are none.
    """
    return tuple(file for _, file in _found(location))


def _found(location: str) -> list[tuple[PurePath, File]]:
    """Each file, under its path relative to ``location``."""
    found = _found_at_uri(location) if is_uri(location) else _found_at_path(Path(location))
    _refuse_text(location, found)
    if not found:
        raise UserError(f"no Parquet file at {location!r}; name a file, or a folder that holds *.parquet files")
    return found


def _refuse_text(location: str, found: Sequence[tuple[PurePath, File]]) -> None:
    """Tables in text are what most people have, and Parquet is made of one in a line."""
    if is_uri(location):
        return
    path = Path(location)
    if path.suffix.lower() in _TEXT and path.is_file():
        raise UserError(
            f"{path} is a table in text, but data are read from Parquet; {_to_parquet(path)} makes it of one"
        )
    others = [] if found else sorted(file for file in path.glob("*") if file.suffix.lower() in _TEXT)
    if others:
        raise UserError(
            f"{location!r} holds no Parquet file, but {others[0].name}, a table in text; {_to_parquet(others[0])} "
            "makes Parquet of it"
        )


_TEXT = {".csv": "", ".tsv": ", sep='\\t'"}
"""Endings of tables in text, and what pandas has to be told of them."""


def _to_parquet(path: Path) -> str:
    told = _TEXT[path.suffix.lower()]
    return f"pandas.read_csv({str(path)!r}{told}).to_parquet({str(path.with_suffix('.parquet'))!r}, index=False)"


def _found_at_path(path: Path) -> list[tuple[PurePath, File]]:
    if path.is_file():
        return [(PurePath(path.name), path)]
    files = sorted(p for p in path.rglob("*.parquet") if p.is_file() and not _is_hidden(p.relative_to(path)))
    return [(file.relative_to(path), file) for file in files]


def _found_at_uri(uri: str) -> list[tuple[PurePath, File]]:
    if _about(uri).is_file:
        return [(PurePosixPath(uri.partition("?")[0]), uri)]
    with _reached(uri):
        files, root = pyarrow.fs.FileSystem.from_uri(uri)
        infos = files.get_file_info(pyarrow.fs.FileSelector(root, recursive=True))
    below = sorted(PurePosixPath(info.path).relative_to(root) for info in infos if info.is_file)
    base, mark, options = uri.partition("?")
    wanted = (path for path in below if path.suffix == ".parquet" and not _is_hidden(path))
    return [(path, f"{base.rstrip('/')}/{path}{mark}{options}") for path in wanted]


def _about(uri: str) -> pyarrow.fs.FileInfo:
    with _reached(uri):
        files, path = pyarrow.fs.FileSystem.from_uri(uri)
        return files.get_file_info(path)


def stamp(file: File) -> tuple[int, int]:
    """Size and time of the last change, in nanoseconds: what says whether a file is the one it was."""
    if isinstance(file, Path):
        about = file.stat()
        return about.st_size, about.st_mtime_ns
    info = _about(file)
    return info.size, info.mtime_ns or 0


@contextmanager
def _reached(uri: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"{uri} can't be reached ({(str(error).splitlines() or [''])[0]}); check the address, and the credentials "
            "in the environment, or give a path"
        ) from error


def find_splits(location: str) -> SplitFiles:
    """Sorts files into splits by the names Hugging Face gives them: ``train*``, ``test*``, ``valid*``.

    The name of a folder on the way counts too (``train/0000.parquet``). Without any ``train*``, the
    files with other names are the training split; a single file always is. Without ``test*``,
    ``valid*`` takes its place.

    Raises:
        UserError: no Parquet file, or none left to train on.
    """
    found = _found(location)
    if len(found) == 1 and _is_file(location):
        return SplitFiles((found[0][1],))
    named = {split: tuple(file for path, file in found if _split_of(path) == split) for split in _PREFIXES}
    others = tuple((path, file) for path, file in found if _split_of(path) is None)
    notes = [_left_out([path for path, _ in others])] if named["train"] and others else []
    train = named["train"] or tuple(file for _, file in others)
    if not train:
        raise UserError(
            f"{location!r} holds no training split, only {listed(path.name for path, _ in found)}; name its files "
            "train*"
        )
    if not named["test"] and named["validation"]:
        notes.append("no test* files: the valid* files are the test split")
        return SplitFiles(train, (), named["validation"], tuple(notes))
    return SplitFiles(train, named["validation"], named["test"], tuple(notes))


_PREFIXES = {"train": "train", "test": "test", "validation": "valid"}


def _is_file(location: str) -> bool:
    return bool(_about(location).is_file) if is_uri(location) else Path(location).is_file()


def _split_of(path: PurePath) -> str | None:
    for part in reversed(path.parts):
        for split, prefix in _PREFIXES.items():
            if part.lower().startswith(prefix):
                return split
    return None


def _is_hidden(path: PurePath) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _left_out(others: Sequence[PurePath]) -> str:
    names = listed((path.name for path in others), 5)
    return f"left out {len(others)} files that are named neither train*, test* nor valid*: {names}"


@contextmanager
def reading(file: File) -> Iterator[None]:
    """Turns what Arrow raises on a broken file into a UserError that names the file."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{file} can't be read as Parquet ({_first_line(error)}); it may be cut off or not Parquet, write it anew"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
