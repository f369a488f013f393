"""What a method costs beside its student: CPU milliseconds a step of all but the student's passes, in its own steps.

    python benchmarks/bookkeeping.py                          # ResNet-32, batch 128, 32×32 images, one thread
    python benchmarks/bookkeeping.py --methods gce mentornet --student cnn

Every line of `ray-mentor compare`, as a run in this process, with the student and with one of a single weight that
stands in for it: what that one takes from step to step, reading, weighing, the mentor, its updates, ledger and log
included, is the bookkeeping; the share is what there is more of it than with equal weights. A mentor learns every 20
steps, as in a run of some length.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from unittest import mock

import torch
from protocol.methods import MENTORS, METHODS
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from ray_mentor import CurriculumTrainer
from ray_mentor.core.batch import Batch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.step.record import StepRecord
from ray_mentor.errors import UserError
from ray_mentor.students import make_student

SHAPE, CLASSES, TRUSTED = (3, 32, 32), 10, 200
WARM, INTERVAL = 4, 20
PLAIN = "uniform-trusted"


class OneWeight(nn.Module):
    """Scales each image's first ten pixels: a student that costs next to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :CLASSES] * self.weight


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*METHODS])
    parser.add_argument("--student", default="resnet32", help="(default %(default)s)")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=INTERVAL, help="that are timed (default %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = Table("method", "own step, ms", "beside the student, ms", "more than plain, share of a step")
    plain = milliseconds(PLAIN, OneWeight, options.batch, 10 * options.steps)
    console = Console(width=100)
    for name in options.methods:
        try:
            own = milliseconds(
                name, lambda: make_student(options.student, SHAPE, CLASSES), options.batch, options.steps
            )
            beside = milliseconds(name, OneWeight, options.batch, 10 * options.steps)
        except UserError as error:
            console.print(f"{name}: {error}", markup=False)
            continue
        found.add_row(name, f"{own:.1f}", f"{beside:.2f}", f"{100 * (beside - plain) / own:.2f} %")
        console.print(f"{name}: {own:.1f} ms, {beside:.2f} ms beside", markup=False)
    console.print(found)


def milliseconds(name: str, student: Callable[[], nn.Module], batch: int, steps: int) -> float:
    """Mean CPU time from one step's beginning to the next one's, past the first few."""
    began: list[float] = []
    step = Curriculum.step

    def timed(curriculum: Curriculum, of: Batch) -> StepRecord:
        began.append(time.process_time())
        return step(curriculum, of)

    with mock.patch.object(Curriculum, "step", timed):
        train(name, student, batch, WARM + steps + 1)
    return 1000 * (began[WARM + steps] - began[WARM]) / steps


def train(name: str, student: Callable[[], nn.Module], batch: int, steps: int) -> None:
    """One epoch of so many steps."""
    draw = torch.Generator().manual_seed(0)

    def samples(count: int) -> TensorDataset:
        return TensorDataset(torch.randn(count, *SHAPE, generator=draw), torch.arange(count) % CLASSES)

    settings = dict(METHODS[name].settings)
    if name in MENTORS:
        settings |= {"burn_in": 0.0, "update_interval": settings.get("update_interval", INTERVAL)}
    with tempfile.TemporaryDirectory() as folder:
        CurriculumTrainer(
            student=student,
            data=samples(batch * steps),
            meta=samples(TRUSTED),
            epochs=1,
            batch_size=batch,
            workers=0,
            storage_path=folder,
            run_name="run",
            checkpoint_seconds=1e9,
            **settings,
        ).fit()


if __name__ == "__main__":
    main()
