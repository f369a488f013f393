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
from bare_states import checkpoints_of, push_steps, state_at
from torch import Tensor

from ray_mentor.core.batch import Batch
from ray_mentor.core.exchange import AbstractExchange, Alone, Ranks
from ray_mentor.core.history.table import LossHistory
from ray_mentor.core.step.observation import observe
from ray_mentor.core.step.percentile import RunningPercentile
from ray_mentor.run.checkpoint.checkpoints import LARGEST_INSIDE
from ray_mentor.run.directory import RunDirectory

SAMPLES, STEPS = 37, 24
DTYPES = (torch.float32, torch.float64, torch.bfloat16)
WORLDS = (2, 3)
INSIDE = (0, LARGEST_INSIDE)
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
        found = observe(batch, losses[own], exchange, RunningPercentile(0.7, 0.9), history, 0.0)
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


CHAIN = (1, 2, 3, 1)
CHAIN_STEPS = 6


def go_on(directory: RunDirectory, exchange: AbstractExchange, largest_inside: int) -> Tensor:
    """From the newest checkpoint to one some steps later, and on to where nothing is saved; the table at that one."""
    history = LossHistory(SAMPLES, 3, exchange.rank, exchange.world_size)
    checkpoints = checkpoints_of(directory, history, largest_inside, exchange)
    state = checkpoints.newest()
    if state is not None and state.curriculum.history is not None:
        history.load(state.curriculum.history)
    first = state.curriculum.step if state is not None else 0
    for step in range(first, first + CHAIN_STEPS):
        push_steps(history, range(step, step + 1))
        checkpoints.add(step + 1, None if exchange.rank else state_at(step + 1))
    table = history.table.clone()
    push_steps(history, range(first + CHAIN_STEPS, first + 2 * CHAIN_STEPS))
    return table


def chain(folder: str, exchange: AbstractExchange) -> list[Tensor]:
    """A run with files for its history, and one without."""
    tables = []
    for largest_inside in INSIDE:
        directory = RunDirectory(f"{folder}/run{largest_inside}")
        directory.create()
        tables.append(go_on(directory, exchange, largest_inside))
    return tables


def rank_main(rank: int, folder: str) -> None:
    """The first one, the first two and all three of the processes as a group, and then the first one again."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    found: dict[str, Any] = {}
    for stage, world in enumerate(CHAIN):
        if rank >= world:
            continue
        if world == 1:
            found[f"chain {stage}"] = chain(folder, Alone())
            continue
        meet, wait = f"file://{folder}/meet{world}", timedelta(seconds=200)
        dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=world, timeout=wait)
        exchange = Ranks()
        for case in CASES:
            length, dtype, known = case
            history = LossHistory(SAMPLES, length, rank, world)
            found[str((world, *case))] = push_and_look(history, exchange, dtype, known=known), history.table
        found[f"chain {stage}"] = chain(folder, exchange)
        dist.barrier()
        dist.destroy_process_group()
    torch.save(found, Path(folder) / f"rank{rank}.pt")
