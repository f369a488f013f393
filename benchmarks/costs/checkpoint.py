"""What checkpoints and the ledger cost: their share of a ResNet-32 run at the default settings.

    python benchmarks/costs/checkpoint.py

One process, one thread, generated 32x32 images. Every part is timed where the worker loop calls it; a checkpoint's
share is its time over the seconds between two (`checkpoint_seconds`, 60), the ledger's its time over a step's.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray.train import RunConfig, ScalingConfig
from rich.console import Console
from rich.table import Table

from ray_mentor import CurriculumConfig, CurriculumTrainer, RunSettings, Samples
from ray_mentor.core import curriculum
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.data.samples.inputs import ImageInputs
from ray_mentor.on_ray.train import worker_loop as loop
from ray_mentor.run.checkpoint.checkpoints import Checkpoints
from ray_mentor.run.log import RunLog
from ray_mentor.students.resnet import ResNet

SECONDS = RunSettings().checkpoint_seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2560, help="of the training split (default 2560: 20 steps)")
    parser.add_argument("--every", type=int, default=4, help="steps between two checkpoints here (default 4)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    took: dict[str, list[float]] = defaultdict(list)
    for owner, name in (
        (Curriculum, "step"),
        (curriculum, "said_of"),
        (RunLog, "add"),
        (RunLog, "save"),
        (loop, "capture"),
        (Checkpoints, "add"),
    ):
        timed(owner, name, took)
    with tempfile.TemporaryDirectory() as storage:
        run(options.samples, options.every, storage)
        (newest, *_) = sorted(Path(storage, "run", "checkpoints").iterdir(), reverse=True)
        size = newest.stat().st_size
    Console().print(table({name: statistics.median(values) for name, values in took.items()}, size))


def timed(owner: Any, name: str, took: dict[str, list[float]]) -> None:
    """Notes how long each call takes."""
    inner: Callable[..., Any] = getattr(owner, name)

    def outer(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return inner(*arguments, **named)
        finally:
            took[f"{owner.__name__.split('.')[-1]}.{name}"].append(time.perf_counter() - began)

    setattr(owner, name, outer)


def run(n: int, every: int, storage: str) -> None:
    draw = np.random.default_rng(0)

    def samples(size: int, first: int) -> Samples:
        labels = draw.integers(10, size=size)
        pixels = draw.integers(256, size=(size, 32, 32, 3), dtype=np.uint8)
        names = tuple(str(label) for label in range(10))
        return Samples(ImageInputs(pixels), first + np.arange(size), labels, labels, names)

    CurriculumTrainer(
        functools.partial(ResNet, 3, 10),
        samples(n, 0),
        samples(200, n),
        curriculum=CurriculumConfig(burn_in=0.0),
        epochs=1,
        checkpoint_steps=every,
        scaling_config=ScalingConfig(num_workers=0),
        run_config=RunConfig(name="run", storage_path=storage),
    ).fit()


def table(seconds: dict[str, float], size: int) -> Table:
    step, ledger = seconds["Curriculum.step"], seconds["RunLog.add"] + seconds["curriculum.said_of"]
    checkpoint = seconds["RunLog.save"] + seconds["worker_loop.capture"] + seconds["Checkpoints.add"]
    found = Table(
        "", "ms (median)", "share of a run", title=f"ResNet-32, batch 128; a checkpoint has {size / 1e6:.1f} MB"
    )
    found.add_row("step", f"{1e3 * step:.0f}", "")
    found.add_row("ledger, tally, predicted labels and margins, a step", f"{1e3 * ledger:.2f}", f"{ledger / step:.3%}")
    found.add_row(f"checkpoint, every {SECONDS:.0f} s", f"{1e3 * checkpoint:.1f}", f"{checkpoint / SECONDS:.3%}")
    found.add_row("together", "", f"{ledger / step + checkpoint / SECONDS:.3%}")
    return found


if __name__ == "__main__":
    main()
