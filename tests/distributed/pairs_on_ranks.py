"""Two students on two ranks, and the same in one process: the same code, of which each rank sees its rows.

Nothing is mixed (a share of 1): ranks have partners of their own, and one process has others.
"""

from __future__ import annotations

import copy
import dataclasses
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from two_ranks import SHARES, conv_batch_norm, joined, meta_of, mlp, own_rows

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.batch import Batch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.exchange import AbstractExchange, Alone, Ranks
from ray_mentor.core.methods.pairs import DivideMix
from ray_mentor.core.methods.table import parts_of
from ray_mentor.core.student.pair import pair_of

N, EPOCHS, EPOCH_STEPS = 24, 4, 3
STEPS = EPOCHS * EPOCH_STEPS
NO_MIXING = 1e-9  # α with which Beta(α, α) is 0 or 1

SCENARIOS: dict[str, dict[str, Any]] = {
    "co-teaching": {"method": "co-teaching", "forget_rate": 0.5, "forget_epochs": 2.0},
    "co-teaching, synchronised batch norm": {"method": "co-teaching", "forget_epochs": 1.0, "student": conv_batch_norm},
    "co-teaching, dropped samples": {"method": "co-teaching", "forget_epochs": 0.0, "example_dropout": "0.3:1"},
    "dividemix": {"method": "dividemix", "burn_in": 0.25},
    "dividemix, synchronised batch norm": {"method": "dividemix", "burn_in": 0.25, "student": conv_batch_norm},
    "dividemix, two views": {"method": "dividemix", "burn_in": 0.25, "views": 2},
}


def make_run(name: str, exchange: AbstractExchange) -> Curriculum:
    settings = {"burn_in": 0.0, **SCENARIOS[name]}
    student, _ = settings.pop("student", mlp), settings.pop("views", 1)
    schedule = CurriculumConfig(**settings)
    torch.manual_seed(0)
    pair: nn.Module = pair_of(student)
    if exchange.world_size > 1:
        pair = DistributedDataParallel(pair)
    parts = parts_of(schedule, MentorConfig(), None, None, lambda update: meta_of(update, exchange, None))
    if isinstance(parts.relabelling, DivideMix):
        mix = dataclasses.replace(parts.relabelling, alpha=NO_MIXING, rise=1.0)
        parts = dataclasses.replace(parts, relabelling=mix)
    optimizer = torch.optim.SGD(pair.parameters(), lr=0.03, momentum=0.9, nesterov=True, weight_decay=1e-3)
    return Curriculum(
        pair, optimizer, parts, exchange, schedule, MentorConfig(), total_steps=STEPS, n_samples=N, seed=0,
        split_history=True, n_classes=3, epochs=EPOCHS,
    )  # fmt: skip


def batch_of(step: int, exchange: AbstractExchange, views: int) -> Batch:
    """Each of the samples once in an epoch; views are noisy copies."""
    place = step % EPOCH_STEPS
    inputs, labels = joined(sum(SHARES), seed=place)
    own = own_rows(SHARES, exchange)
    rows = torch.arange(sum(SHARES)) + sum(SHARES) * place
    shown = torch.cat([(inputs * (1 + 0.05 * view))[own] for view in range(views)])
    sizes = SHARES if exchange.world_size > 1 else (sum(SHARES),)
    trusted = (torch.arange(sum(SHARES)) % 4 == 3)[own]
    return Batch(
        rows[own], 100 + rows[own], shown, labels[own], trusted=trusted, rank_sizes=sizes, all_rows=rows.numpy()
    )


def run(name: str, exchange: AbstractExchange) -> list[dict[str, Any]]:
    """What can be seen of a run, step by step; per-sample values of this rank."""
    curriculum = make_run(name, exchange)
    wanted = SCENARIOS[name].get("views", 1)
    seen = []
    for step in range(STEPS):
        record = curriculum.step(batch_of(step, exchange, min(wanted, curriculum.views)))
        if (step + 1) % EPOCH_STEPS == 0:
            curriculum.end_epoch((step + 1) // EPOCH_STEPS, list, list)
        found = [part.state for part in curriculum.parts.at_epoch]
        seen.append(
            copy.deepcopy(
                {
                    "params": dict(curriculum.bare.named_parameters()),
                    "buffers": dict(curriculum.bare.named_buffers()),
                    "gradients": {key: param.grad for key, param in curriculum.bare.named_parameters()},
                    "found": {str(i): state for i, state in enumerate(found) if state is not None},
                    "losses": record.losses,
                    "sample weights": record.sample_weights,
                    "store": curriculum.history.whole(exchange),
                }
            )
        )
    return seen


def rank_main(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=timedelta(seconds=200)
    )
    exchange = Ranks()
    torch.save({name: run(name, exchange) for name in SCENARIOS}, Path(folder) / f"rank{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def alone() -> dict[str, Any]:
    """The same with the joined batch, in this process."""
    return {name: run(name, Alone()) for name in SCENARIOS}
