"""How many workers a run gets that is told no number: as many as its work is worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
import ray.train
import torch
from torch import nn

from ray_mentor.config import RunSettings, TrainConfig
from ray_mentor.core.student.random_state import untouched
from ray_mentor.core.student.threads import SMALL, counted_multiplications, multiplications
from ray_mentor.data.samples.inputs import AbstractInputs
from ray_mentor.data.splits.splits import Splits
from ray_mentor.on_ray.session.session import cores_here, named_address
from ray_mentor.on_ray.train.given.rays_configs import what_needs_workers
from ray_mentor.run.checkpoint.resume import started_with
from ray_mentor.run.directory import RunDirectory

WORTH_SECONDS = 110.0
"""Of training on one core. Two workers took 0.77 of one's time (ResNet-32, 128 samples a step, two cores), and their
start is 25 s longer than a start without Ray (LOG.md): they have made up for it after this."""

A_SECOND = 4.5e9
"""Multiplications of forward passes, as :func:`counted_multiplications` has them, that one core trains in a second.

For ResNet-32 and the CNN, 128 samples a step, on a busy machine: 3.3e9 to 5.5e9 (LOG.md)."""

TWO = 2


@dataclass(frozen=True)
class Choice:
    """Of a run's workers.

    Attributes:
        workers: how many; 0: this process trains.
        why: the reason.
    """

    workers: int
    why: str

    def __str__(self) -> str:
        if self.workers:
            return f"workers: {self.workers}, on Ray ({self.why}; --workers 0 trains in this process)"
        return f"workers: 0, this process trains ({self.why}; --workers {TWO} starts two, on Ray)"


def chosen(
    config: TrainConfig,
    splits: Splits,
    student: Callable[[], nn.Module],
    asked: ray.train.RunConfig | None,
    before: RunDirectory | None,
) -> Choice:
    """How many workers the run gets.

    Args:
        student: builds one, as :class:`~ray_mentor.on_ray.train.trainer.CurriculumTrainer` takes it; called once, and
            not at all where the choice does not hang on it.
        asked: what Ray's own config asks for.
        before: the run's folder, if the run goes on; it then keeps the number that it has.
    """
    kept = None if before is None or not before.exists() else workers_of(before)
    if kept is not None:
        return Choice(kept, "as the run was started")
    if config.mentor.estimator == "unrolled":
        return Choice(0, "the estimator unrolled needs one process")
    if what_needs_workers(asked) is not None:
        return Choice(TWO, "run_config asks for what only workers do")
    inputs, run, n = splits.train.inputs, config.run, len(splits.train)
    batch = n // -(-n // run.batch_size)  # the smallest
    with untouched(torch.device("cpu")):
        built = student()
        roughly = multiplications(built, inputs.shape, inputs.positions)
        if roughly * batch <= SMALL and not (run.gpu and not torch.cuda.is_available()):
            return Choice(0, "the student is small, and workers would wait for one another longer than they work")
        seconds = 0.0 if run.gpu else _work(built, inputs) * n * run.epochs / A_SECOND
    return _by_size(run, seconds, batch, len(splits.meta))


def _work(student: nn.Module, inputs: AbstractInputs) -> float:
    """Multiplications of a sample's forward pass; where they can't be counted, as the params suggest."""
    ones = inputs.ones()
    try:
        counted = counted_multiplications(student, ones)
    except Exception:  # whatever its code says of inputs that it was not made for; the run will tell
        counted = 0.0
    padded = ones.shape[1] if ones.ndim == _TEXTS and inputs.positions > 1 else 1
    return counted * inputs.positions / padded if counted else multiplications(student, inputs.shape, inputs.positions)


_TEXTS = 2  # dimensions of a table of token ids


def workers_of(run: RunDirectory) -> int | None:
    """With how many workers a run was started; None where its folder says nothing of it.

    Raises:
        UserError: it is no run, or its settings can't be read.
    """
    found: Any = started_with(run).get("workers")
    return found if type(found) is int and 0 <= found < _MOST else None


_MOST = 10_000


def _by_size(run: RunSettings, seconds: float, batch: int, trusted: int) -> Choice:
    """By how much there is to do.

    Args:
        seconds: of one core's work; means nothing on GPUs.
        batch: samples of the smallest.
        trusted: samples.
    """
    room, here = _room(run), torch.cuda.device_count()
    if run.gpu and room is None:
        count = max(here, TWO)
        why = "one for each GPU of this machine" if count == here else "a Ray is there"
    elif run.gpu:
        count = min(int(room or 0), max(here, TWO))
        why = "one for each GPU" if run.gpus_per_worker <= 1 else f"{run.gpus_per_worker:g} GPUs each"
        if count < TWO:
            some = "there is one GPU" if run.gpus_per_worker <= 1 else "there are GPUs for one worker"
            return Choice(0, some if here else "there is no GPU")
    elif seconds < WORTH_SECONDS:
        return Choice(0, f"about {seconds:.0f} s of one core's work, too little for workers, which take 25 s to start")
    elif room is not None and room < TWO:
        return Choice(0, "there is one CPU")
    else:
        count, why = TWO, f"about {_long(seconds)} of one core's work"
    most = min(count, batch, trusted or count)
    return Choice(most, why) if most >= TWO else Choice(0, "each worker needs a sample of each batch and a trusted one")


def _room(run: RunSettings) -> float | None:
    """How many workers there are CPUs for, or GPUs; None of a Ray elsewhere, which may have machines that are to come.

    A Ray that this process is connected to has what it was started with, which may be less than the machine.
    """
    is_here = ray.is_initialized()
    if named_address() is not None or (is_here and run.gpu and not torch.cuda.is_available()):
        return None
    kind, share = ("GPU", max(1.0, run.gpus_per_worker)) if run.gpu else ("CPU", 1.0)
    if is_here:
        return float(ray.cluster_resources().get(kind, 0.0)) / share
    return (torch.cuda.device_count() if run.gpu else cores_here()) / share


def _long(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds < 2 * 3600 else f"{seconds / 3600:.0f} hours"
