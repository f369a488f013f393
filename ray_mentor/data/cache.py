"""Files that are made once, by whoever needs them first, and are there as a whole or not at all."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_UNFINISHED = ".part"


def make(path: Path, is_there: Callable[[], bool], write: Callable[[BinaryIO], None]) -> None:
    """Lets one process, of all that call this at the same time, write the file; the others wait for it.

    A process that dies in the middle leaves a file ``.part``, which the next one overwrites or removes.

    Args:
        path: of the file, in a folder that may not exist yet.
        is_there: whether the file is there and whole; it is overwritten if not.
        write: writes its content.

    Raises:
        OSError: the folder can't be written, or the disk is full; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path.parent)
    unfinished = path.with_name(path.name + _UNFINISHED)
    with _locked(unfinished) as file:
        try:
            if is_there():
                return
            file.truncate()
            write(file)
            file.flush()
            os.fsync(file.fileno())  # or the name could reach the disk before the content
            os.chmod(file.fileno(), 0o444)  # who changes a file that is mapped ends its readers
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """The file, open, that no other process has locked and that still bears this name."""
    while True:
        with _open(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_named(file, path):
                yield file
                return


def _open(path: Path) -> BinaryIO:
    """To read and write, made if it is not there, with its content."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")


def _is_named(file: BinaryIO, path: Path) -> bool:
    """Not so if whoever had the lock before has renamed or removed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _remove_abandoned(folder: Path) -> None:
    """What is unfinished and not locked is nobody's any more."""
    for path in folder.glob(f"*{_UNFINISHED}"):
        with suppress(OSError), _open(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_named(file, path):
                path.unlink()
