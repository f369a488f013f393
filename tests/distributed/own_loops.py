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
    "gradients that are views of buckets, a static graph": {
        "ddp": {"gradient_as_bucket_view": True, "static_graph": True}
    },
    "a search for unused params": {"ddp": {"find_unused_parameters": True}},
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
    loop = DistributedDataParallel(model, **scenario.get("ddp", {})) if ranks > 1 else model
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


class Odd(nn.Module):
    """A student that does something else on the last rank.

    Args:
        way: what it does.
        after: forward passes from which on it does it.
    """

    def __init__(self, way: str, after: int = 0) -> None:
        super().__init__()
        self.inner, self.way, self.after, self.calls = student(batch_norm=False), way, after, 0
        self.own = torch.Generator().manual_seed(0)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        outputs: Tensor = self.inner(x)
        if dist.get_rank() == 0 or self.calls <= self.after:
            return outputs
        if self.way == "raises":
            raise RuntimeError("no more")
        return outputs * (1 + torch.rand((), generator=self.own))


def smoothed(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs, labels, reduction="none", label_smoothing=0.05)


WRONG: dict[str, dict[str, Any]] = {
    "another loss": {"loss": smoothed},
    "another loss in burn-in": {"loss": smoothed, "burn_in": 0.5},
    "a mask of one rank's own": {"way": "draws"},
    "a mask of one rank's own, in burn-in": {"way": "draws", "burn_in": 0.5},
    "an error of one rank": {"way": "raises", "after": 2},
    "a mask of one rank's own, later": {"way": "draws", "after": 5},
}
"""What must not be learnt from, as each rank sees it."""


def wrong(name: str) -> dict[str, Any]:
    """How a loop of two ranks ended: the error, or the counts and the mentor."""
    scenario = WRONG[name]
    model = Odd(scenario.get("way", ""), scenario.get("after", 0 if "way" in scenario else 10**9))
    loop = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    curriculum = LearnedCurriculum(
        loop,
        optimizer,
        blobs(30, 1),
        total_steps=10,
        loss=scenario.get("loss"),
        mentor=MentorConfig(update_interval=1, meta_batch_size=15, meta_loss="loss"),
        curriculum=CurriculumConfig(burn_in=scenario.get("burn_in", 0.0)),
    )
    inputs, labels = (part[own(SHARES, 2)] for part in blobs(sum(SHARES), 0))
    mentors, influences = [], []
    try:
        for _ in range(4):
            losses = F.cross_entropy(loop(inputs), labels, reduction="none")
            curriculum.weigh(losses, labels=labels).backward()
            optimizer.step()
            record = curriculum.after_step()
            optimizer.zero_grad()
            assert record is not None
            assert curriculum.mentor is not None
            influences.append(record.influence)
            mentors.append(curriculum.mentor.state.payload)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    counts = (curriculum.guards.inconsistent_updates, curriculum.guards.skipped_updates)
    return {"counts": counts, "mentors": mentors, "influences": influences}


def nobody() -> str:
    """The error where no rank has a sample."""
    model = student(batch_norm=False)
    loop = DistributedDataParallel(model)
    curriculum = LearnedCurriculum(loop, torch.optim.SGD(model.parameters(), 0.1), blobs(30, 1), total_steps=10)
    try:
        none = torch.zeros(0, 3)
        curriculum.weigh(F.cross_entropy(loop(none), none[:, 0].long(), reduction="none"), labels=none[:, 0].long())
    except ValueError as error:
        return str(error)
    return "no error"


def rank_main(rank: int, folder: str) -> None:
    """Every scenario, in one start of two processes."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=timedelta(seconds=200)
    )
    results: dict[str, Any] = {name: run(name, 2) for name in SCENARIOS}
    results["wrong"] = {name: wrong(name) for name in WRONG}
    results["nobody"] = nobody()
    torch.save(results, Path(folder) / f"rank{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
