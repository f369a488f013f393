"""Where runs can be made: on operating systems whose Python has locks on files."""

from __future__ import annotations

import sys
from types import ModuleType

from ray_mentor.errors import UserError


def file_locks() -> ModuleType:
    """The module of Python's that locks files.

    Raises:
        UserError: there is none, as on Windows.
    """
    try:
        import fcntl  # noqa: PLC0415 - what lacks it is told why
    except ImportError as error:
        raise UserError(
            f"this is {sys.platform}, but runs and sweeps are made on Linux and macOS: they lock files; on Windows, "
            "use WSL. ray_mentor.LearnedCurriculum, for a training loop of your own, needs no locks"
        ) from error
    return fcntl
