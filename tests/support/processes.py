"""The same function in several processes, each of which saves what it found."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp


def found_by_ranks(
    rank_main: Callable[[int, str], None], folder: Path, ranks: int = 2, seconds: float = 300
) -> list[dict[str, Any]]:
    """What ``rank_main(rank, folder)`` saved as ``rank0.pt``, ``rank1.pt`` and so on.

    All must end by themselves, without an error, within so many seconds.
    """
    started = mp.start_processes(rank_main, (str(folder),), nprocs=ranks, join=False, start_method="spawn")
    deadline = time.monotonic() + seconds
    try:
        while not started.join(timeout=1):
            assert time.monotonic() < deadline, "the ranks did not end"
    finally:
        for process in started.processes:
            process.kill()
    assert [process.exitcode for process in started.processes] == ranks * [0]
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(ranks)]
