"""What each rank of a plain data-parallel loop does, and the same loop in one process with the joined batches."""

from __future__ import annotations

import io
import os
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.own_loop.learned_curriculum import LearnedCurriculum
from ray_mentor.core.student.sync_batch_norm import synchronised

CLASSES, SAMPLES, SHARES = 3, 40, (7, 5)
STEPS = 6

SCENARIOS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulation": {"accumulate": 3},
    "clipping": {"clip": 0.05},
    "adam": {"adam": True},
    "dropout of examples, history, labels": {
        "settings": {"mentor_features": ("loss", "history", "label"), "history_length": 2},
        "curriculum": CurriculumConfig(example_dropout="0.3:1", burn_in=0.2),
    },
    "synchronised batch norm": {"batch_norm": True},
    "compiled": {"compiled": True},
    "from a loader": {"loader": True},
}


def blobs(n: int, seed: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (n,), generator=draw)
    return torch.eye(CLASSES)[labels] * 2 + torch.randn(n, CLASSES, generator=draw), labels


def own(shares: tuple[int, ...], ranks: int) -> slice:
    """This rank's rows of a joined batch."""
    rank = dist.get_rank() if ranks > 1 else 0
    return slice(sum(shares[:rank]), sum(shares[: rank + 1])) if ranks > 1 else slice(None)


def student(batch_norm: bool) -> nn.Module:
    torch.manual_seed(0)
    middle = nn.BatchNorm1d(16) if batch_norm else nn.Identity()
    made = nn.Sequential(nn.Linear(3, 16), middle, nn.Tanh(), nn.Linear(16, CLASSES))
    return synchronised(made) if batch_norm else made


def run(name: str, ranks: int) -> dict[str, Any]:
    """All that can be seen of a run; per-sample values of this rank."""
    scenario = SCENARIOS[name]
    accumulate = scenario.get("accumulate", 1)
    model = student(scenario.get("batch_norm", False))
    loop = DistributedDataParallel(model) if ranks > 1 else model
    if scenario.get("compiled"):
        loop = torch.compile(loop, backend="eager")  # type: ignore[assignment]
    optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    if scenario.get("adam"):
        optimizer = torch.optim.AdamW(model.parameters(), 0.01, eps=1e-3)
    meta: Any = blobs(30, 1)
    if scenario.get("loader"):
        meta = [tuple(part[own((12, 18), ranks)] for part in meta)]
    # under `sum` a fresh mentor's bias has a hypergradient of 0, and Adam makes a step of its rounding
    options = {"update_interval": 2, "meta_batch_size": 15, "normalisation": "batch", **scenario.get("settings", {})}
    curriculum = LearnedCurriculum(
        loop,
        optimizer,
        meta,
        total_steps=10,
        mentor=MentorConfig(**options),
        curriculum=scenario.get("curriculum"),
        n_classes=CLASSES,
        n_samples=SAMPLES,
    )
    inputs, labels = blobs(SAMPLES, 0)
    seen: dict[str, list[Any]] = {"influence": [], "sample weights": [], "meta loss": []}
    for number in range(STEPS * accumulate):
        ids = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(number))[: sum(SHARES)]
        ids = ids[own(SHARES, ranks)]
        last = number % accumulate == accumulate - 1
        waits = loop.no_sync() if ranks > 1 and not last else nullcontext()
        with waits:
            losses = F.cross_entropy(loop(inputs[ids]), labels[ids], reduction="none")
            (curriculum.weigh(losses, labels=labels[ids], sample_ids=ids) / accumulate).backward()
        if last:
            if "clip" in scenario:
                nn.utils.clip_grad_norm_(model.parameters(), scenario["clip"])
            optimizer.step()
            record = curriculum.after_step()
            optimizer.zero_grad()
            assert record is not None
            seen["influence"].append(record.influence)
            seen["sample weights"].append(record.sample_weights)
            seen["meta loss"].append(record.meta_loss)
    assert curriculum.mentor is not None
    payload = torch.load(io.BytesIO(curriculum.mentor.state.payload), weights_only=True)
    state = {key: value.detach() for key, value in model.state_dict().items()}
    return {**seen, "student": state, "mentor": payload["mentor"]}


def rank_main(rank: int, folder: str) -> None:
    """Every scenario, in one start of two processes."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=timedelta(seconds=200)
    )
    torch.save({name: run(name, 2) for name in SCENARIOS}, Path(folder) / f"rank{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
