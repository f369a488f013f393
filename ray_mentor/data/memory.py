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
    """Bytes of the machine, or of the container or the process if it may have fewer; None where nothing says."""
    limits = [limit for limit in (_machine(), _process(), *map(_container, _LIMITS)) if limit is not None]
    return min(limits, default=None)


def _machine() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _process() -> int | None:
    """What ``ulimit -v`` allows."""
    try:
        import resource  # noqa: PLC0415 - not there on Windows
    except ImportError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _container(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return None


def _gibibytes(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"
