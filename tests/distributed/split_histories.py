"""What ranks that split the loss history see of it, and what a list per sample says."""

from __future__ import annotations

import os
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from ray_mentor.core.batch import Batch
from ray_mentor.core.exchange import AbstractExchange, Ranks
from ray_mentor.core.history import LossHistory
from ray_mentor.core.observation import observe
from ray_mentor.core.percentile import RunningPercentile

SAMPLES, STEPS = 37, 24
DTYPES = (torch.float32, torch.float64, torch.bfloat16)
WORLDS = (2, 3)
CASES = [(length, dtype, known) for length in (1, 3) for dtype in DTYPES for known in (True, False)]


def step_of(step: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Rows and losses of a global batch; every fourth one holds a row several times."""
    draw = torch.Generator().manual_seed(step)
    size = int(torch.randint(1, 12, (), generator=draw))
    rows = torch.randperm(SAMPLES, generator=draw)[:size]
    if step % 4 == 3:
        rows[size // 2 :] = rows[0]
    return rows, torch.rand(size, generator=draw).to(dtype)


def shares(size: int, world: int, step: int) -> tuple[int, ...]:
    """Uneven ones: of each third batch, rank 0 has nothing."""
    cuts = torch.randint(0, size + 1, (world - 1,), generator=torch.Generator().manual_seed(step)).sort().values
    if step % 3 == 2:
        cuts[:1] = 0
    edges = [0, *cuts.tolist(), size]
    return tuple(edges[i + 1] - edges[i] for i in range(world))


def push_and_look(history: LossHistory, exchange: AbstractExchange, dtype: torch.dtype, *, known: bool) -> list[Tensor]:
    """The feature `history` of each step, with the loader's word for the rows of all ranks or without."""
    seen = []
    for step in range(STEPS):
        rows, losses = step_of(step, dtype)
        sizes = shares(len(rows), exchange.world_size, step)
        start = sum(sizes[: exchange.rank])
        own = slice(start, start + sizes[exchange.rank])
        said: dict[str, Any] = {"rank_sizes": sizes, "all_rows": rows.numpy()} if known else {}
        batch = Batch(rows[own], rows[own], torch.zeros(sizes[exchange.rank], 1), rows[own] % 3, **said)
        found = observe(batch, losses[own], exchange, RunningPercentile(0.7, 0.9), history, step, 0.0)
        assert torch.equal(found.features.loss, losses)
        seen.append(found.features.history)
    return seen


def by_hand(length: int, dtype: torch.dtype) -> list[Tensor]:
    """The same by a list per sample."""
    past: defaultdict[int, list[float]] = defaultdict(list)
    seen = []
    for step in range(STEPS):
        rows, losses = step_of(step, dtype)
        row_losses = list(zip(rows.tolist(), losses.double().tolist(), strict=True))
        seen.append([(past[row] + length * [loss])[:length] for row, loss in row_losses])
        before = {row: list(past[row]) for row, _ in row_losses}
        for row, loss in row_losses:  # of several losses at a time the last one counts
            past[row] = [float(np.float32(loss)), *before[row]]
    return [torch.tensor(rows, dtype=torch.float64) for rows in seen]


def rank_main(rank: int, folder: str) -> None:
    """The first two of three processes as a group, and then all three."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    found: dict[str, Any] = {}
    for world in (world for world in WORLDS if rank < world):
        meet, wait = f"file://{folder}/meet{world}", timedelta(seconds=200)
        dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=world, timeout=wait)
        exchange = Ranks()
        for case in CASES:
            length, dtype, known = case
            history = LossHistory(SAMPLES, length, rank, world)
            found[str((world, *case))] = push_and_look(history, exchange, dtype, known=known), history.table
        dist.barrier()
        dist.destroy_process_group()
    torch.save(found, Path(folder) / f"rank{rank}.pt")
