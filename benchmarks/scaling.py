"""How a run scales with its workers: measured for one and two, and a cost model for more.

    python benchmarks/scaling.py

Weak scaling keeps 64 samples a worker, strong scaling 128 a step; ResNet-32 on generated 32x32 images, the default
mentor, real runs on Ray. The model is a sum of parts that are each fitted to a measurement on this machine:

    step(W) = compute(b) + all_reduce(P) + gather(B) + mentor(B) + rank(B) + meta(b, B) / k

with W workers, b samples each, B = W·b, P the student's params and k the update interval. Nothing is taken to overlap.
Collectives go round a ring: an all-reduce of n bytes takes 2(W - 1)·latency + 2(W - 1)/W·n/bandwidth, a gather
(W - 1)·(latency + n/bandwidth). Predicted for this machine's processors with its loopback network, and for workers of
a given step time and network.
"""

from __future__ import annotations

import argparse
import functools
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from costs.thousand_workers import milliseconds
from ray.train import RunConfig, ScalingConfig
from rich.console import Console
from rich.table import Table

from ray_mentor import CurriculumConfig, CurriculumTrainer, LearnedCurriculum, MentorConfig, Samples
from ray_mentor.core.mentor.pace import interval_of
from ray_mentor.data.samples.inputs import ImageInputs
from ray_mentor.on_ray.session.growth import Needs
from ray_mentor.on_ray.session.session import ray_session
from ray_mentor.students.resnet import ResNet

EACH, META, CLASSES = 64, 100, 10
SCALAR_BYTES = 40  # five float64 a sample: loss, given and true label, row, id
WEIGHT_BYTES = 4
WORKERS = (1, 2, 8, 64, 512, 1000)
MENTORS = (2, 64, 1000)  # workers whose mentor calls are measured
FLOATS = (1_000, 100_000, 464_154, 4_000_000)
AT_ONCE = CurriculumConfig(burn_in=0.0)
INTERVAL = interval_of(MentorConfig())  # of a run of 1,000 learning steps or more
Line = tuple[float, float]
"""a + b·x."""


@dataclass(frozen=True)
class Network:
    """Seconds a message, and a byte."""

    latency: float
    byte: float

    def all_reduce(self, workers: int, size: float) -> float:
        return 2 * (workers - 1) * self.latency + 2 * (workers - 1) / workers * size * self.byte

    def gather(self, workers: int, own: float) -> float:
        return (workers - 1) * (self.latency + own * self.byte)

    def broadcast(self, workers: int, size: float) -> float:
        return math.ceil(math.log2(workers)) * (self.latency + size * self.byte) if workers > 1 else 0.0


@dataclass(frozen=True)
class Parts:
    """What a step is made of, in seconds: lines over the samples of a worker (b) or of the step (B).

    Attributes:
        compute: a plain step, over b.
        look_back: influences, over b.
        score: rank 0's call of the mentor, over B.
        learn: its call that lets the mentor learn, over B.
        rank: features, guards and weights on every rank, over B.
        params: bytes of the student's gradient.
    """

    compute: Line
    look_back: Line
    score: Line
    learn: Line
    rank: Line
    params: int
    network: Network

    def step(self, workers: int, each: int, interval: int) -> dict[str, float]:
        """Seconds of each part of the mean step."""
        whole, meta = workers * each, META / workers
        network = self.network
        exchange = network.gather(workers, each * SCALAR_BYTES) + network.broadcast(workers, whole * WEIGHT_BYTES)
        look_back = at(self.look_back, each) + self.compute[1] * meta + network.all_reduce(workers, self.params)
        return {
            "compute": at(self.compute, each),
            "all-reduce": network.all_reduce(workers, self.params),
            "exchange": exchange,
            "mentor": at(self.score, whole),
            "rank": at(self.rank, whole),
            "meta / k": (look_back + at(self.learn, whole)) / interval,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=24, help="of each run (default 24)")
    parser.add_argument("--step-ms", type=float, default=20.0, help="of a worker with an accelerator (default 20)")
    parser.add_argument("--gigabits", type=float, default=10.0, help="a second, of its network (default 10)")
    parser.add_argument("--latency-us", type=float, default=30.0, help="of its network (default 30)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=120)
    parts = measured_parts()
    console.print(prediction(parts, "this machine's processors, loopback"))
    fast = options.step_ms * 1e-3 / at(parts.compute, EACH)
    network = Network(options.latency_us * 1e-6, 8e-9 / options.gigabits)
    compute, look_back = (tuple(fast * value for value in line) for line in (parts.compute, parts.look_back))
    accelerated = Parts(compute, look_back, parts.score, parts.learn, parts.rank, parts.params, network)
    console.print(prediction(accelerated, f"a step of {options.step_ms:g} ms, {options.gigabits:g} Gbit/s"))
    console.print(runs(parts, options.steps))


def measured_parts() -> Parts:
    sizes = (16, 32, 64, 128)
    plain = [median_seconds(plain_step(size)) for size in sizes]
    both = [median_seconds(looked_back_step(size)) for size in sizes]
    compute = fitted(sizes, plain)
    extra = [two - one - compute[1] * META for one, two in zip(plain, both, strict=True)]
    with ray_session(Needs({"CPU": 1.0}), verbose=False):
        shared = {workers * EACH: milliseconds(workers, EACH, 10) for workers in MENTORS}

    def over_samples(*names: str) -> Line:
        return fitted(list(shared), [1e-3 * sum(found[name] for name in names) for found in shared.values()])

    return Parts(
        compute=compute,
        look_back=fitted(sizes, extra),
        score=over_samples("score"),
        learn=over_samples("learn"),
        rank=over_samples("features", "weigh"),
        params=4 * sum(param.numel() for param in ResNet(3, CLASSES).parameters()),
        network=loopback(),
    )


def fitted(x: Any, y: Any) -> Line:
    """Least squares; a negative start would be noise."""
    slope, start = np.polyfit(x, y, 1)
    return max(0.0, float(start)), max(0.0, float(slope))


def at(line: Line, x: float) -> float:
    return line[0] + line[1] * x


def median_seconds(call: Callable[[], None], times: int = 5) -> float:
    call()
    took = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def plain_step(batch: int) -> Callable[[], None]:
    student = ResNet(3, CLASSES)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
    inputs, labels = images(batch)

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(student(inputs), labels).backward()
        optimizer.step()

    return step


def looked_back_step(batch: int) -> Callable[[], None]:
    """A step with a meta update after it."""
    student = ResNet(3, CLASSES)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
    inputs, labels = images(batch)
    curriculum = LearnedCurriculum(
        student, optimizer, [images(META)], n_classes=CLASSES, total_steps=100, update_interval=1, curriculum=AT_ONCE
    )

    def step() -> None:
        losses = torch.nn.functional.cross_entropy(student(inputs), labels, reduction="none")
        optimizer.zero_grad()
        curriculum.weigh(losses, labels=labels).backward()
        optimizer.step()
        curriculum.after_step()

    return step


def images(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(n)
    return torch.randn(n, 3, 32, 32, generator=draw), torch.randint(CLASSES, (n,), generator=draw)


def loopback() -> Network:
    """Two processes on this machine: t(n) = 2·latency + n·byte."""
    context = torch.multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        found = context.SimpleQueue()
        workers = [context.Process(target=all_reduces, args=(rank, folder, found)) for rank in range(2)]
        for worker in workers:
            worker.start()
        seconds = found.get()
        for worker in workers:
            worker.join()
    start, byte = fitted([4 * n for n in FLOATS], seconds)
    return Network(start / 2, byte)


def all_reduces(rank: int, folder: str, found: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    seconds = []
    for n in FLOATS:
        values = torch.ones(n)
        seconds.append(median_seconds(lambda values=values: dist.all_reduce(values), 20))
    if rank == 0:
        found.put(seconds)
    dist.barrier()
    dist.destroy_process_group()


def runs(parts: Parts, steps: int) -> Table:
    """Real runs against the model."""
    found = Table("workers", "samples a step", "samples/s", "s a step", "model", "efficiency", title="measured runs")
    weak, strong, two = (samples_a_second(*cell, steps) for cell in ((1, EACH), (1, 2 * EACH), (2, 2 * EACH)))
    cells = (
        (1, EACH, weak, ""),
        (1, 2 * EACH, strong, ""),
        (2, 2 * EACH, two, f"weak {two / weak / 2:.2f}, strong {two / strong / 2:.2f}"),
    )
    for workers, batch, rate, efficiency in cells:
        model = sum(parts.step(workers, batch // workers, INTERVAL).values())
        found.add_row(f"{workers}", f"{batch}", f"{rate:.0f}", f"{batch / rate:.3f}", f"{model:.3f}", efficiency)
    return found


def samples_a_second(workers: int, batch: int, steps: int) -> float:
    with tempfile.TemporaryDirectory() as storage:
        trainer = CurriculumTrainer(
            functools.partial(ResNet, 3, CLASSES),
            generated(steps * batch, 0),
            generated(META, steps * batch),
            curriculum=AT_ONCE,
            epochs=1,
            batch_size=batch,
            scaling_config=ScalingConfig(num_workers=workers),
            run_config=RunConfig(name="run", storage_path=str(Path(storage))),
        )
        return float(trainer.fit().result["samples_per_second"])


def generated(n: int, first: int) -> Samples:
    draw = np.random.default_rng(first)
    labels = draw.integers(CLASSES, size=n)
    pixels = draw.integers(256, size=(n, 32, 32, 3), dtype=np.uint8)
    return Samples(ImageInputs(pixels), first + np.arange(n), labels, labels, tuple(map(str, range(CLASSES))))


def prediction(parts: Parts, where: str) -> Table:
    names = list(parts.step(1, EACH, INTERVAL))
    found = Table(
        "workers", *names, "step", "efficiency", title=f"model: ms of a step, {EACH} samples a worker; {where}"
    )
    alone = sum(parts.step(1, EACH, INTERVAL).values())
    for workers in WORKERS:
        step = parts.step(workers, EACH, INTERVAL)
        whole = sum(step.values())
        cells = [f"{1e3 * step[name]:.1f}" for name in names]
        found.add_row(f"{workers}", *cells, f"{1e3 * whole:.0f}", f"{alone / whole:.2f}")
    return found


if __name__ == "__main__":
    main()
