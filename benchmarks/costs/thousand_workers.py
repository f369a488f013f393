"""What a run of up to 1000 workers asks of its mentor and of each rank: fake students, the real actor, real messages.

    python benchmarks/costs/thousand_workers.py

The losses of a global batch are made up; everything else is what a step does. Rank 0 sends the rows of the whole
batch to the actor, and each rank makes the features of the whole batch, normalises and guards. What a rank gets from
the others is the global table, as if the network took no time: what that costs is in benchmarks/scaling.py.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import ray
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from typing_extensions import override

from ray_mentor import CurriculumConfig, MentorConfig
from ray_mentor.core.batch import Batch, MetaBatch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.exchange import Alone
from ray_mentor.core.mentor.access import LocalMentor
from ray_mentor.core.mentor.learner import MentorLearner, MetaUpdate
from ray_mentor.core.methods.table import parts_of
from ray_mentor.data.plan.batches import rank_sizes
from ray_mentor.on_ray.mentor.actor import MentorActor
from ray_mentor.on_ray.mentor.shared import SharedMentor
from ray_mentor.on_ray.session.growth import Needs
from ray_mentor.on_ray.session.session import ray_session

WORKERS = (2, 8, 64, 512, 1000)
CLASSES = 10
MADE_WITH = (MentorConfig(), CLASSES, 0)


class OneOfMany(Alone):
    """Rank 0 of many whose rows are all known here: what is gathered is the global table, at once."""

    def __init__(self, world_size: int, each: int) -> None:
        self.world_size = world_size
        n = world_size * each
        draw = torch.Generator().manual_seed(0)
        labels, ids = torch.randint(CLASSES, (n,), generator=draw), torch.arange(n)
        loss = torch.rand(n, generator=draw, dtype=torch.float64)
        self._table = torch.stack([loss, *map(Tensor.double, (labels, labels, ids, ids))], dim=1)

    @override
    def gather(self, rows: Tensor, sizes: tuple[int, ...]) -> Tensor:
        return self._table if rows.shape[1] == self._table.shape[1] else rows.repeat(len(sizes), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--each", type=int, default=64, help="samples a worker and step (default 64)")
    parser.add_argument("--steps", type=int, default=20, help="that are timed (default 20)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = Table(
        "workers",
        "samples a step",
        "MB to the actor",
        "actor: score",
        "actor: learn",
        "rank: features",
        "rank: replica score",
        "rank: weigh",
        title=f"ms a step (median), {options.each} samples a worker",
    )
    with ray_session(Needs({"CPU": 1.0}), verbose=False):
        for workers in WORKERS:
            took = milliseconds(workers, options.each, options.steps)
            cells = [f"{took[name]:.1f}" for name in ("score", "learn", "features", "replica", "weigh")]
            found.add_row(f"{workers}", f"{workers * options.each:,}", f"{took['megabytes']:.2f}", *cells)
    Console(width=120).print(found)


def milliseconds(workers: int, each: int, steps: int) -> dict[str, float]:
    """Medians over steps, of what the actor is asked for and of what rank 0 does; needs a Ray."""
    exchange = OneOfMany(workers, each)
    actor: Any = ray.remote(MentorActor).options(num_cpus=0).remote(*MADE_WITH)
    shared = SharedMentor(actor, Alone(), MentorLearner(*MADE_WITH), hang_seconds=120)
    sizes = tuple(rank_sizes(workers * each, workers))
    batch = own_batch(each, sizes)
    curriculum = made(exchange, workers * each)
    took: dict[str, list[float]] = {}

    def timed(name: str, call: Any) -> Any:
        began = time.perf_counter()
        result = call()
        took.setdefault(name, []).append(1e3 * (time.perf_counter() - began))
        return result

    keep = torch.ones(workers * each, dtype=torch.bool)
    influence = torch.randn(workers * each, generator=torch.Generator().manual_seed(1))
    for step in range(steps):
        losses = torch.rand(each, requires_grad=True)
        seen = timed("features", lambda losses=losses: curriculum.observe_losses(batch, losses))
        timed("score", lambda seen=seen: shared.score(seen.features))
        scored = timed("replica", lambda seen=seen: curriculum.score(seen))
        timed("weigh", lambda seen=seen, scored=scored: curriculum.weigh(seen, scored))
        timed("learn", lambda step=step, seen=seen: shared.learn(MetaUpdate(step, seen.features, influence, keep)))
    ray.kill(actor)
    size = {"megabytes": seen.features.matrix().nbytes / 1e6}
    return {**{name: float(np.median(values)) for name, values in took.items()}, **size}


def own_batch(each: int, sizes: tuple[int, ...]) -> Batch:
    rows = torch.arange(each)
    return Batch(rows, rows, torch.zeros(each, 1), torch.zeros(each, dtype=torch.long), None, rank_sizes=sizes)


def made(exchange: OneOfMany, n: int) -> Curriculum:
    """A curriculum whose student is never asked."""
    config = CurriculumConfig(burn_in=0.0)
    student = torch.nn.Linear(1, CLASSES)
    access = LocalMentor(MentorLearner(*MADE_WITH))
    parts = parts_of(config, MADE_WITH[0], access, None, lambda _: MetaBatch(torch.zeros(1, 1), torch.zeros(1), 1))
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    sizes = {"total_steps": 10**6, "n_samples": n, "n_classes": CLASSES, "seed": 0}
    return Curriculum(student, optimizer, parts, exchange, config, MADE_WITH[0], **sizes)


if __name__ == "__main__":
    main()
