"""Files that are made once, by whoever needs them first, and are there as a whole or not at all."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from ray_mentor.data.storage.arrow_file import DamagedFileError
from ray_mentor.errors import UserError
from ray_mentor.platforms import file_locks

fcntl: Any = file_locks()

_LOCK, _UNFINISHED = ".lock", ".part"
_log = logging.getLogger(__name__)
Found = TypeVar("Found")
_ABANDONED_AFTER = 3600  # seconds without a write; a lock can't tell, since some file systems keep it to the machine


def make(path: Path, is_there: Callable[[], bool], write: Callable[[BinaryIO], None]) -> None:
    """Lets one process, of all that call this at the same time, write the file; the others wait for it.

    Where a file system has no locks, or none beyond one machine, more than one writes a whole file, and one stays.

    Args:
        path: of the file, in a folder that may not exist yet.
        is_there: whether the file is there and whole; it is replaced if not.
        write: writes its content.

    Raises:
        OSError: the folder can't be written, or the disk is full; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_name(path.name + _LOCK)):
        if not is_there():
            _remove_abandoned(path.parent)
            with _finished_as(path) as file:
                write(file)


def if_whole(path: Path, read: Callable[[], Found], folder: str) -> Found | None:
    """What ``read`` makes of the file; None where it is not there, or is damaged, which is logged.

    Args:
        folder: as the user named it.

    Raises:
        UserError: the folder can't be used.
    """
    try:
        return read()
    except FileNotFoundError:
        return None
    except DamagedFileError as error:
        _log.warning("%s is damaged (%s); it is made anew", path, error)
        return None
    except OSError as error:
        raise unusable(folder, error) from error


def unusable(folder: object, error: OSError) -> UserError:
    """What to tell whoever named the folder."""
    return UserError(
        f"data_cache {str(folder)!r} can't be used ({error.strerror or error}); free what is full, or name another "
        "--data-cache"
    )


@contextmanager
def _finished_as(path: Path) -> Iterator[BinaryIO]:
    """A new file that becomes ``path`` at the end, and vanishes after an error."""
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(8)}{_UNFINISHED}")
    try:
        # Read-only for whoever opens it later: to change a file that is mapped can end its readers.
        with os.fdopen(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o444), "r+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # or the name could reach the disk before the content
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds the lock file, which is removed with the lock."""
    while True:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+b") as file:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_named(file, path):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_named(file: BinaryIO, path: Path) -> bool:
    """Not so if whoever had the lock before has removed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _remove_abandoned(folder: Path) -> None:
    """Removes what processes that died left unfinished."""
    for path in folder.glob(f"*{_UNFINISHED}"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                path.unlink()
