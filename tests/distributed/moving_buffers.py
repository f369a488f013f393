"""Two ranks whose student reads a buffer in its training forward pass, and moves it by its own samples."""

from __future__ import annotations

import dataclasses
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.batch import Batch
from ray_mentor.core.methods.mixing import MentorMix
from ray_mentor.core.own_loop.learned_curriculum import LearnedCurriculum
from ray_mentor.core.step.memorising import MemorisingState

STEPS, OWN = 5, 8


class Following(nn.Module):
    """Takes off its running mean, as batch renormalisation and normalisers of inputs do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(5, 7), nn.Linear(7, 3)
        self.register_buffer("mean", torch.zeros(7))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.body(x)
        outputs: Tensor = self.head(torch.tanh(hidden - self.mean.clone()))
        if self.training:
            self.mean.lerp_(hidden.detach().mean(0), 0.3)
        return outputs


def samples(n: int, seed: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, 5, generator=draw, dtype=torch.float64), torch.randint(3, (n,), generator=draw)


WAYS: dict[str, dict[str, Any]] = {
    "a loop of one's own": {},
    "a loop of one's own, compiled": {"compiled": True},
    "the trainer's step": {"step": True},
    "the trainer's step, mixed by weight": {"step": True, "mixed": True},
}


def run(way: dict[str, Any], *, broadcast: bool, by_hand: bool = False) -> dict[str, Any]:
    """A few steps.

    Args:
        broadcast: rank 0's buffers are everybody's when a forward pass begins.
        by_hand: see to that before anything else looks at the student.
    """
    model = Following().double()
    loop: nn.Module = DistributedDataParallel(model, broadcast_buffers=broadcast)
    if way.get("compiled"):
        loop = torch.compile(loop, backend="eager")  # type: ignore[assignment]
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    curriculum = LearnedCurriculum(
        loop,
        optimizer,
        samples(16, 99),
        total_steps=20,
        mentor=MentorConfig(update_interval=1, meta_batch_size=16, meta_loss="loss"),
        curriculum=CurriculumConfig(burn_in=0.0),
    )
    if way.get("mixed"):
        curriculum.curriculum.parts = dataclasses.replace(curriculum.curriculum.parts, mixing=MentorMix(1.0))
        curriculum.curriculum.memorising.state = MemorisingState(share=1.0)
    influences, weights = [], []
    for step in range(STEPS):
        inputs, labels = (part[dist.get_rank() * OWN :][:OWN] for part in samples(2 * OWN, step))
        inputs = inputs + dist.get_rank()
        if by_hand:
            dist.broadcast(model.mean, 0)
        if way.get("step"):
            ids = torch.arange(OWN)
            record = curriculum.curriculum.step(Batch(ids, ids, inputs, labels))
        else:
            curriculum.weigh(F.cross_entropy(loop(inputs), labels, reduction="none"), labels=labels).backward()
            optimizer.step()
            found = curriculum.after_step()
            assert found is not None
            record = found
            optimizer.zero_grad()
        influences.append(record.influence)
        weights.append(record.sample_weights)
    guards = curriculum.guards
    counts = (curriculum.curriculum.meta.done, guards.inconsistent_updates, guards.skipped_updates)
    return {
        "influences": torch.stack(influences),
        "sample weights": torch.stack(weights),
        "counts": counts,
        "mean": model.mean.clone(),
    }


def rank_main(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    meet = f"file://{folder}/meet"
    dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    found = {
        name: {
            "found": run(way, broadcast=True),
            "by hand": run(way, broadcast=True, by_hand=True),
            "apart": run(way, broadcast=False),
        }
        for name, way in WAYS.items()
    }
    torch.save(found, Path(folder) / f"rank{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
