"""What the mentor costs a run on Ray: the actor under load, a worker's replica, and a meta update.

    python benchmarks/costs/mentor_service.py

Global steps of 128 to 8192 samples, 1 to 64 of them in flight at a time, are scored by one actor as rank 0 would ask
it; a replica scores the same rows in this process. The share is that of a step of ResNet-32 on 32x32 images, half of
the global batch on each of two workers, one thread each: the goals are 3 % for the actor, 0.5 % for a replica, and
5 ms for a meta update beyond its own arithmetic.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from ray.actor import ActorHandle
from rich.console import Console
from rich.table import Table

from ray_mentor import MentorConfig
from ray_mentor.core.exchange import Alone
from ray_mentor.core.mentor.learner import MentorLearner, MetaUpdate
from ray_mentor.core.step.features import Features
from ray_mentor.on_ray.mentor.actor import MentorActor
from ray_mentor.on_ray.mentor.shared import SharedMentor
from ray_mentor.on_ray.session.growth import Needs
from ray_mentor.on_ray.session.session import ray_session
from ray_mentor.students.resnet import ResNet

SIZES = (128, 512, 2048, 8192)
IN_FLIGHT = (1, 2, 4, 8, 16, 32, 64)
CLASSES, WORKERS = 10, 2
CONFIG = MentorConfig()
MadeWith = tuple[MentorConfig, int, int]
MADE_WITH: MadeWith = (CONFIG, CLASSES, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=200, help="per cell (default 200)")
    parser.add_argument("--steps", type=int, default=5, help="of ResNet-32 that are timed, at batch 128 (default 5)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    step = step_seconds(SIZES[0] // WORKERS, options.steps)
    with ray_session(Needs({"CPU": 1.0}), verbose=False):
        actor: Any = ray.remote(MentorActor).options(num_cpus=0).remote(*MADE_WITH)
        ray.get(actor.state.remote())
        console = Console(width=110)
        console.print(f"a step of ResNet-32, {SIZES[0]} samples on {WORKERS} workers: {1e3 * step:.0f} ms")
        console.print(under_load(actor, options.calls))
        console.print(shares(actor, step, options.calls))


def features_of(n: int) -> Features:
    draw = torch.Generator().manual_seed(0)
    loss = torch.rand(n, generator=draw)
    label = torch.randint(CLASSES, (n,), generator=draw)
    return Features(loss, loss - 0.5, label, torch.full((n,), 0.5), loss.new_empty((n, 0)))


def under_load(actor: Any, calls: int) -> Table:
    """Latency and throughput of the actor, for each size and number of steps in flight."""
    found = Table("samples a step", "steps in flight", "p50 ms", "p99 ms", "samples/s", title="scoring by the actor")
    for n, in_flight in itertools.product(SIZES, IN_FLIGHT):
        took, whole = answers(actor, features_of(n).matrix(), in_flight, calls)
        median, worst = (1e3 * float(np.percentile(took, p)) for p in (50, 99))
        rate = f"{len(took) * n / whole:,.0f}"
        last = in_flight == IN_FLIGHT[-1]
        found.add_row(f"{n}", f"{in_flight}", f"{median:.2f}", f"{worst:.2f}", rate, end_section=last)
    return found


def answers(actor: Any, rows: NDArray[np.float64], in_flight: int, calls: int) -> tuple[list[float], float]:
    """Seconds from call to answer of each call, so many at a time, and of all together."""
    asked: dict[Any, float] = {}
    took: list[float] = []
    began = time.perf_counter()
    for sent in range(calls + in_flight):
        if len(asked) == min(in_flight, calls) or sent >= calls:
            (ready,), _ = ray.wait(list(asked))
            ray.get(ready)
            took.append(time.perf_counter() - asked.pop(ready))
        if sent < calls:
            asked[actor.score.remote(0, rows)] = time.perf_counter()
        if not asked:
            break
    return took, time.perf_counter() - began


def shares(actor: ActorHandle[MentorActor], step: float, calls: int) -> Table:
    """Scoring and learning as a run does them, at batch 128, against a step."""
    n = SIZES[0]
    rows = features_of(n)
    learner, replica = MentorLearner(*MADE_WITH), MentorLearner(*MADE_WITH)
    shared = SharedMentor(actor, Alone(), MentorLearner(*MADE_WITH), hang_seconds=60)
    influence, keep = torch.randn(n, generator=torch.Generator().manual_seed(1)), torch.ones(n, dtype=torch.bool)
    ids = itertools.count()

    def update() -> MetaUpdate:
        return MetaUpdate(next(ids), rows, influence, keep)

    scored, here, learnt, arithmetic = rounds(
        calls,
        lambda: shared.score(rows),
        lambda: replica.score(rows),
        lambda: shared.learn(update()),
        lambda: learner.learn(update()),
    )
    found = Table("", "ms (median)", "share of a ResNet-32 step", "goal", title=f"{n} samples a step")
    found.add_row("scoring by the actor", f"{1e3 * scored:.2f}", f"{scored / step:.2%}", "3 %")
    found.add_row("scoring by a replica", f"{1e3 * here:.2f}", f"{here / step:.2%}", "0.5 %")
    found.add_row("meta update through the actor", f"{1e3 * learnt:.2f}", f"{learnt / step:.2%}", "")
    found.add_row("of it beyond its arithmetic", f"{1e3 * (learnt - arithmetic):.2f}", "", "5 ms")
    return found


def rounds(times: int, *calls: Callable[[], object]) -> list[float]:
    """Median seconds of each call; they take turns."""
    took: list[list[float]] = [[] for _ in calls]
    for _ in range(times):
        for call, seconds in zip(calls, took, strict=True):
            began = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - began)
    return [statistics.median(seconds) for seconds in took]


def step_seconds(batch: int, steps: int) -> float:
    """A plain step of ResNet-32 on one worker's share."""
    student = ResNet(3, CLASSES)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
    inputs, labels = torch.randn(batch, 3, 32, 32), torch.randint(CLASSES, (batch,))

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(student(inputs), labels).backward()
        optimizer.step()

    step()
    return rounds(steps, step)[0]


if __name__ == "__main__":
    main()
