"""Where the rows of an epoch under way are, when the checkpoint that they went with is gone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_FILE = re.compile(r"step-(\d+)-(\d+)-rank-(\d+)-[0-9a-f]{16}\.parquet")


@dataclass(frozen=True)
class Moved:
    """A file that has the rows of another one.

    Attributes:
        name: of the file.
        stop: the step before which they lie; what is behind it the other one didn't have.
    """

    name: str
    stop: int


def moved(name: str, stop: int | None, now: Iterable[str]) -> Moved | None:
    """Which file has what another one had: a stretch of steps begins anew only where a file is there for good.

    Args:
        name: of the file that is gone.
        stop: the step before which its rows are wanted; None: all.
        now: the files that count now.
    """
    asked = _FILE.fullmatch(name.rpartition("/")[2])
    if asked is None:
        return None
    before = int(asked[2]) if stop is None else stop
    for other in now:
        found = _FILE.fullmatch(other.rpartition("/")[2])
        if found and other != name and (found[1], found[3]) == (asked[1], asked[3]) and int(found[2]) >= before:
            return Moved(other, before)
    return None
