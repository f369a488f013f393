"""What the loss history of 100 million samples costs: memory, time a step, checkpoints, going on from one.

    python benchmarks/costs/history.py

Ranks are processes of this machine that talk over gloo. Sample ids are generated, all different, in an order that is
as good as random. A step is what the worker loop does with a batch's losses (exchange, percentile, features, history),
and is shown beside one without a history. First every sample's loss is taken down once and the whole table written;
then come twice 10,000 steps of batch 128, and the second of their checkpoints is shown. Files are read back from the
page cache.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ray_mentor.core.batch import Batch
from ray_mentor.core.exchange import AbstractExchange, Alone, Ranks
from ray_mentor.core.history.pieces import pieces_of
from ray_mentor.core.history.table import LossHistory
from ray_mentor.core.step.observation import observe
from ray_mentor.core.step.percentile import RunningPercentile
from ray_mentor.data.plan.batches import rank_sizes, rank_slice
from ray_mentor.run.checkpoint.history_files import HistoryFiles
from ray_mentor.run.claim import attempted
from ray_mentor.run.directory import RunDirectory

STRIDE = 61_803_399  # has no factor in common with any power of ten
BATCHES, TIMED, STEPS = (128, 8192), 200, 10_000
PAGES = (4 << 10, 1 << 20)


@dataclass(frozen=True)
class Case:
    """One measurement."""

    samples: int
    length: int
    ranks: int
    folder: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=100_000_000, help="of the training split (default 100,000,000)")
    parser.add_argument("--lengths", type=int, nargs="+", default=[1, 4], help="past losses kept (default 1 4)")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2], help="processes (default 1 2)")
    parser.add_argument("--folder", help="where the files go for a while (default: the temporary folder)")
    options = parser.parse_args()
    table = Table("history", "ranks", *LINES, title=f"{options.samples:,} samples")
    for length in options.lengths:
        for ranks in options.ranks:
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                found = measured(Case(options.samples, length, ranks, folder))
            table.add_row(str(length), str(ranks), *(show(found) for show in LINES.values()))
    Console(width=200).print(table)


LINES: dict[str, Any] = {
    "B a sample and rank": lambda found: f"{found['bytes']:.2f}",
    "at most": lambda found: f"{found['peak']:.2f}",
    **{
        f"µs a step of {batch}": lambda found, batch=batch: (
            f"{found[f'step {batch}']:.0f} ({found[f'bare {batch}']:.0f})"
        )
        for batch in BATCHES
    },
    "whole": lambda found: f"{found['whole s']:.2f} s, {found['whole bytes'] / 1e6:,.0f} MB",
    "updates": lambda found: f"{found['updates s']:.2f} s, {found['updates bytes'] / 1e6:,.1f} MB",
    "as pages of 4 KiB, 1 MiB": lambda found: ", ".join(f"{found[f'pages {size}'] / 1e6:,.0f} MB" for size in PAGES),
    "restore": lambda found: f"{found['restore s']:.2f} s",
}


def measured(case: Case) -> dict[str, float]:
    """The figures of the slowest rank; bytes of files over all ranks."""
    mp.start_processes(rank_main, (case,), nprocs=case.ranks, start_method="spawn")
    ranks = [torch.load(f"{case.folder}/rank{rank}.pt", weights_only=True) for rank in range(case.ranks)]
    return {name: max(found[name] for found in ranks) for name in ranks[0]}


def rank_main(rank: int, case: Case) -> None:
    torch.set_num_threads(1)
    if case.ranks > 1:
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        meet, wait = f"file://{case.folder}/meet", timedelta(seconds=300)
        dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=case.ranks, timeout=wait)
    exchange = Ranks() if case.ranks > 1 else Alone()
    torch.save(figures(case, exchange), f"{case.folder}/rank{rank}.pt")
    if case.ranks > 1:
        dist.barrier()
        dist.destroy_process_group()


def figures(case: Case, exchange: AbstractExchange) -> dict[str, float]:
    found: dict[str, float] = {}
    before = resident()
    history = LossHistory(case.samples, case.length, exchange.rank, exchange.world_size)
    directory = attempted(RunDirectory(f"{case.folder}/run"), exchange)
    files = HistoryFiles(directory, exchange, history)
    for first in range(0, case.samples, 1 << 17):
        rows = torch.arange(first, min(first + (1 << 17), case.samples))
        history.push(rows, rows.float() % 7)
    found["bytes"] = (resident() - before) / case.samples

    _, found["whole s"], found["whole bytes"] = saved(files, history, exchange, 1)
    for batch in BATCHES:
        found[f"bare {batch}"] = step_microseconds(LossHistory(case.samples, 0), exchange, batch)
        found[f"step {batch}"] = step_microseconds(history, exchange, batch)
    files.save(2)
    for checkpoint in (3, 4):
        for step in range(checkpoint * STEPS, (checkpoint + 1) * STEPS):
            rows = torch.from_numpy(ids(case.samples, 128, step))
            history.push(rows, rows.float() % 3)
        table, found["updates s"], found["updates bytes"] = saved(files, history, exchange, checkpoint)
    places = 4 * case.length * np.concatenate([ids(case.samples, 128, step) for step in range(STEPS)])
    for size in PAGES:
        found[f"pages {size}"] = size * len(np.unique(places // size))

    before_it = checksum(history)
    exchange.wait_for_all()
    began = time.perf_counter()
    files.load(table)
    exchange.wait_for_all()
    found["restore s"] = time.perf_counter() - began
    assert checksum(history) == before_it
    found["peak"] = (1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / case.samples
    return found


def ids(samples: int, batch: int, step: int) -> NDArray[np.int64]:
    """Each sample once, before any comes again."""
    return (np.arange(step * batch, (step + 1) * batch) * STRIDE) % samples


def step_microseconds(history: LossHistory, exchange: AbstractExchange, batch: int) -> float:
    """Median of some hundred steps."""
    took, percentile = [], RunningPercentile(0.7, 0.9)
    sizes = tuple(rank_sizes(batch, exchange.world_size))
    for step in range(TIMED):
        rows = ids(max(history.n_samples, 1), batch, step)
        own = torch.from_numpy(rank_slice(rows, exchange.rank, exchange.world_size).copy())
        losses = (own + step).float() % 5
        shown = Batch(own, own, losses, own % 10, rank_sizes=sizes, all_rows=rows)
        exchange.wait_for_all()
        began = time.perf_counter()
        observe(shown, losses, exchange, percentile, history, step, 0.0)
        took.append(time.perf_counter() - began)
    return 1e6 * statistics.median(took)


def saved(
    files: HistoryFiles, history: LossHistory, exchange: AbstractExchange, step: int
) -> tuple[torch.Tensor, float, float]:
    """What a checkpoint then says, how long it took, and how many bytes were written."""
    exchange.wait_for_all()
    began = time.perf_counter()
    table = files.save(step)
    exchange.wait_for_all()
    seconds = time.perf_counter() - began
    written = sum(piece.size(history.length) for piece in pieces_of(table) if piece.step == step)
    return table, seconds, written


def checksum(history: LossHistory) -> float:
    """Of the own rows."""
    return sum(float(part.nan_to_num(-1).double().sum()) for part in history.table.split(1 << 17))


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
