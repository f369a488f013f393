"""``ray-mentor`` and ``python -m ray_mentor``: the command line, in a process that ends as soon as it is done."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress

from ray_mentor.cli import main


def command() -> int:
    """Runs the command that the process was started with; returns its exit code."""
    codes: list[int] = []
    atexit.register(_end, codes)  # first of all, so that it is the last to be called
    codes.append(main())
    return codes[0]


def _end(codes: list[int]) -> None:
    """Ends the process without taking apart what it has loaded: of PyTorch that takes a second.

    Threads were waited for, and whoever wanted to be called at the end has been.
    """
    if not codes:
        return
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read it has gone, or it is closed
            stream.flush()
    os._exit(codes[0])


if __name__ == "__main__":
    sys.exit(command())
