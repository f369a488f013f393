"""Whether an array fits into memory, asked before it is made: a file of a kilobyte can declare a terabyte."""

from __future__ import annotations

import os
from pathlib import Path

from ray_mentor.errors import UserError

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container


def require_memory(size: int, what: str, fix: str) -> None:
    """Raises a UserError if ``size`` bytes are more than this process can ever have.

    Args:
        what: takes the space, for the message; in the plural.
        fix: what the user can do about it.
    """
    most = available_memory()
    if most is not None and size > most:
        raise UserError(f"{what} need {_gibibytes(size)} of memory, but there are {_gibibytes(most)}; {fix}")


def available_memory() -> int | None:
    """Bytes of the machine, or of the container if it has fewer; None where the system doesn't say."""
    limits = [limit for limit in (_machine(), *map(_container, _LIMITS)) if limit is not None]
    return min(limits, default=None)


def _machine() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _container(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return None


def _gibibytes(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"
