"""Work on parts of a data set, done ahead of whoever wants the results, in order: the seam between threads and Ray."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import pyarrow as pa

from ray_mentor.data.samples.rows import Rows

Work = Callable[[Rows], pa.Table]


class Spread(Protocol):
    """Does ``work`` on each part, and gives the results in the order of the parts.

    A result may come in several pieces. At most a fixed number of results is waiting at any time.

    Args:
        work: a pure function that can be pickled.
        parts: may be endless.
        part_bytes: of a result, about.
    """

    def __call__(self, work: Work, parts: Iterable[Rows], part_bytes: int) -> Iterator[pa.Table]: ...


def in_threads(work: Work, parts: Iterable[Rows], part_bytes: int) -> Iterator[pa.Table]:
    """A spread over threads of this process; images are decoded outside of Python's lock for the most part."""
    remaining = iter(parts)
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="parts")
    waiting: deque[Future[pa.Table]] = deque()
    try:
        for part in remaining:
            waiting.append(pool.submit(work, part))
            if len(waiting) > _THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


_THREADS = 2  # a part that is decoded has threads of its own
