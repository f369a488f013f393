"""A folder for the files of a Ray of our own, sockets among them, that no other user of the machine can enter."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ray_mentor.errors import UserError
from ray_mentor.on_ray.session.internals.of_ray import LONGEST_SOCKET, TEMPORARY
from ray_mentor.platforms import file_locks

fcntl: Any = file_locks()

_BEGINS, _LOCK, _INSIDE = "rm-", ".ray_mentor", "r"
_LONGEST = 103 if sys.platform == "darwin" else 107  # bytes of a socket's path
_REMOVALS = 20  # attempts, 0.1 s apart: what Ray has started may outlive it by a moment, and write


@contextmanager
def private_folder(parent: str) -> Iterator[str]:
    """A folder in one with mode 0700, which is made here and removed at the end.

    A process that is killed leaves its own behind; the next one of the same user that comes here removes it.

    Args:
        parent: where it is made.

    Raises:
        UserError: the sockets' paths would be too long, or other users could put a folder of theirs in its place.
    """
    _check_short(parent)
    _check_others_cannot_rename(Path(parent).resolve())
    _remove_abandoned(Path(parent))
    try:
        folder = Path(tempfile.mkdtemp(prefix=_BEGINS, dir=parent))
    except OSError as error:
        raise UserError(
            f"Ray's files can't be made in {parent} ({error.strerror}); name a folder with {TEMPORARY}"
        ) from error
    lock = _locked(folder)
    try:
        yield str(folder / _INSIDE)
    finally:
        _remove(folder)
        os.close(lock)


def _check_short(parent: str) -> None:
    room = _LONGEST - LONGEST_SOCKET - len(f"/{_BEGINS}12345678/{_INSIDE}")
    found = len(os.fsencode(parent))
    if found > room:
        raise UserError(
            f"the folder for Ray's files is {parent}, whose name has {found} bytes, but the sockets in it leave room "
            f"for {room}; name a shorter one with {TEMPORARY}, e.g. /tmp"
        )


def _check_others_cannot_rename(parent: Path) -> None:
    for folder in (parent, *parent.parents):
        try:
            mode = folder.stat().st_mode
        except OSError as error:
            raise UserError(
                f"the folder for Ray's files is {parent}, but {folder} can't be looked at ({error.strerror}); name "
                f"another with {TEMPORARY}"
            ) from error
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise UserError(
                f"the folder for Ray's files is {parent}, but every user may rename what is in {folder} (its mode is "
                f"{stat.S_IMODE(mode):04o}), and so put a Ray of theirs in the place of ours; set its sticky bit "
                f"(chmod +t), or name another with {TEMPORARY}"
            )


def _locked(folder: Path) -> int:
    """Says that its process lives; the lock is there before its name is, so that nobody takes it away in between."""
    unnamed = folder / f"{_LOCK}.new"
    lock = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    unnamed.rename(folder / _LOCK)
    return lock


def _remove_abandoned(parent: Path) -> None:
    """Removes the folders of this user's processes that died."""
    for folder in parent.glob(f"{_BEGINS}*"):
        with suppress(OSError):  # another's, or alive, or gone by now
            if folder.lstat().st_uid != os.getuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder)
            finally:
                os.close(lock)


def _remove(folder: Path) -> None:
    """The lock goes last: what can't be removed now is found by the next one. Nothing is raised."""
    for attempt in range(_REMOVALS):
        if attempt:
            time.sleep(0.1)
        for entry in _entries(folder):
            if entry.name != _LOCK:
                shutil.rmtree(entry, ignore_errors=True)
        if all(entry.name == _LOCK for entry in _entries(folder)):
            shutil.rmtree(folder, ignore_errors=True)
            return


def _entries(folder: Path) -> list[Path]:
    """None, where somebody has removed the folder meanwhile, as whoever tidies /tmp does."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []
