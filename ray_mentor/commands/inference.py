"""What predict and evaluate share: a run's student, new data, and what the one says of the other."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ray_mentor.config import DataConfig
from ray_mentor.core.exchange import Alone
from ray_mentor.core.losses.cross_entropy import sequence_cross_entropy
from ray_mentor.core.step.evaluation import losses_on
from ray_mentor.core.student.threads import threads_for
from ray_mentor.data.readers import New, read_new
from ray_mentor.data.readers.texts.plain import check_plain, read_plain_whole
from ray_mentor.data.readers.texts.windows import bits_per_byte
from ray_mentor.errors import UserError, shown
from ray_mentor.on_ray.inference import predicted, workers_for
from ray_mentor.on_ray.session.growth import Needs
from ray_mentor.on_ray.session.session import check_machine
from ray_mentor.run.checkpoint.resume import started_with
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.trained.fed import BYTES
from ray_mentor.run.trained.predictions import Stretch, columns_of, known_to, predictions
from ray_mentor.run.trained.student import Packed, Student, packed
from ray_mentor.run.trained.trained_on import TrainedOn, fingerprints


@dataclass(frozen=True, eq=False)
class Opened:
    """What a command is about.

    Attributes:
        packed: the student, as workers get it.
        student: the same, made.
        new: the data, of which no input is read yet.
        workers: that predict; 0: this process does.
    """

    packed: Packed
    student: Student
    new: New
    workers: int

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should be told."""
        return (*self.student.notes, *self.new.notes)


def student_of(asked: argparse.Namespace) -> Packed:
    """Reads the student.

    Raises:
        UserError: no trained student, or code of the user's own that nobody named.
    """
    return packed(asked.run, asked.student, which=asked.which)


def opened(asked: argparse.Namespace, whole: Packed, *, labelled: bool) -> Opened:
    """Makes the student, and finds the data.

    Raises:
        UserError: another student, data that don't fit it, or an option that there can't be.
    """
    if whole.about.input.kind == BYTES:
        raise UserError(
            f"the student of {asked.run} says at each place of a text which byte comes next, not one class of a "
            "sample; ray-mentor evaluate says how well it does on a text, in bits per byte"
        )
    if asked.batch_size < 1:
        raise UserError(f"batch_size is {asked.batch_size}, but it must be at least 1")
    workers = _workers(asked.workers)
    names = ("format", "image_column", "text_column", "id_column", "label_column")
    columns = {name: getattr(asked, name, None) for name in names}
    config = columns_of(RunDirectory(asked.run), asked.data, **columns, skip_broken=asked.skip_broken)
    new = read_new(config, known_to(whole.about), labelled=labelled)
    return Opened(whole, whole.made(), new, workers_for(workers, gpu=asked.gpu))


def bits_of_text(asked: argparse.Namespace, whole: Packed) -> Iterator[str]:
    """What there is to say of plain text, all of it, line by line: bits per byte at the end.

    Raises:
        UserError: no text, or an option that says what it has not.
    """
    names = ("image_column", "text_column", "id_column", "label_column")
    columns = {name: value for name in names if (value := getattr(asked, name, None)) is not None}
    made_for = {"data": asked.data, "max_tokens": whole.about.input.shape[0], "skip_broken": asked.skip_broken}
    config = DataConfig(format="text", **made_for, **columns)
    check_plain(config)
    samples, told = read_plain_whole(asked.data, config)
    student = whole.made()
    yield from (*student.notes, *told)
    known = TrainedOn.read(RunDirectory(asked.run))
    seen = 0 if known is None else int(known.has(fingerprints(samples.inputs.content_hashes())).sum())
    if seen:
        yield (
            f"warning: the student was trained on {seen:,} of the {len(samples):,} windows, and what is measured on "
            "them flatters"
        )
    if asked.gpu:
        check_machine(Needs({"GPU": 1.0}))
        student.module.cuda()
    rows = np.split(np.arange(len(samples)), range(asked.batch_size, len(samples), asked.batch_size))
    parts = ((samples.inputs.take(some), samples.for_loss(some)) for some in rows)
    losses = losses_on(student.module, sequence_cross_entropy, parts, Alone())
    error = float(losses.std()) / len(losses) ** 0.5 if len(losses) > 1 else 0.0
    bits, error = bits_per_byte(float(losses.mean())), bits_per_byte(error)
    windows = f"{len(samples):,} windows of {config.max_tokens} bytes"
    yield f"{bits:.4f} ± {error:.4f} bits per byte of {windows} of {asked.data}"


def same_files(run: str, data: str, notes: tuple[str, ...]) -> str | None:
    """What to say where a run's own data, or its trusted samples, are read whole rather than their test split; for runs
    that left no fingerprints of what they were trained on.
    """
    settings = started_with(RunDirectory(run))
    for name in ("data", "meta_data"):
        own = settings.get(name)
        if isinstance(own, str) and _same(own, data) and not any("test split" in note for note in notes):
            option = f"--{name.replace('_', '-')}"
            return f"the run was trained on samples of {data}, its own {option}"
    return None


def _same(one: str, other: str) -> bool:
    return one == other or ("://" not in one + other and os.path.realpath(one) == os.path.realpath(other))


def _workers(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or len(text) > _DIGITS:
        raise UserError(f"workers is {shown(text)}, but it must be at least 0, or auto")
    return int(text)


_DIGITS = 5


def said(asked: argparse.Namespace, of: Opened, *, every: bool = False, content: bool = False) -> Iterator[pa.Table]:
    """What the student says, a row a sample, in order, some at a time; and, if asked for, what these hold.

    Raises:
        UserError: what can't be read, a student whose outputs are no logits, or too few CPUs or GPUs.
    """
    source, count, size = of.new.source, len(of.new), asked.batch_size
    if of.workers:
        yield from predicted(of.packed, source, count, size, of.workers, gpu=asked.gpu, every=every, content=content)
        return
    module = of.student.module
    if asked.gpu:
        check_machine(Needs({"GPU": 1.0}))
        module.cuda()
    fed = of.student.about.input
    with threads_for(module, fed.shape, size, fed.shape[0] if fed.tokens else 1.0):
        yield from predictions(of.student, source, Stretch(0, count), size, every=every, content=content)
