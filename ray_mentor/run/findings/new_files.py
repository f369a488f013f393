"""Files that a user names: each is written whole or not at all, and nothing is written over."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

from ray_mentor.errors import UserError, shown


def check_free(path: str) -> None:
    """Raises a UserError if there is something at a path that shall be written, or its folder is not there."""
    if "://" in path:
        raise UserError(f"{shown(path)} is no path of this machine, where it is written; give one, and copy it there")
    if os.path.lexists(path):
        raise _taken(path)
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise UserError(f"{shown(path)} lies in a folder that is not there; make it first")


def write_new(path: str, fill: Callable[[BinaryIO], object]) -> None:
    """Makes a file, which is there under its name when all of it is.

    Args:
        fill: writes its content.

    Raises:
        UserError: there is something already, or it can't be written.
    """
    check_free(path)
    folder, name = os.path.split(os.path.abspath(path))
    partial = os.path.join(folder, f".{name[:_LONG]}.{uuid.uuid4().hex[:12]}.partial")
    try:
        with open(partial, "xb") as file:
            fill(file)
        _name(partial, path)
    except FileExistsError as error:
        raise _taken(path) from error
    except OSError as error:
        raise UserError(f"{shown(path)} cannot be written ({error}); give another name") from error
    finally:
        with suppress(OSError):
            os.remove(partial)


_LONG = 50  # characters, so that the partial file's name is no longer than a file's may be


def _name(partial: str, path: str) -> None:
    """Unlike a rename a link writes nothing over; not every file system has them."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:
        os.rename(partial, path)


def _taken(path: str) -> UserError:
    return UserError(f"{shown(path)} is there already; give another name, or remove it first")
