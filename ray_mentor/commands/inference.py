"""What predict and evaluate share: a run's student, new data, and what the one says of the other."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pyarrow as pa

from ray_mentor.data.readers import New, read_new
from ray_mentor.errors import UserError
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.trained.predictions import columns_of, known_to, predictions, stretches
from ray_mentor.run.trained.student import Student


def opened(asked: argparse.Namespace, *, labelled: bool) -> tuple[Student, New]:
    """The student, and the data, of which no input is read yet.

    Raises:
        UserError: no trained student, or data that don't fit it.
    """
    if asked.batch_size < 1:
        raise UserError(f"batch_size is {asked.batch_size}, but it must be at least 1")
    directory = RunDirectory(asked.run)
    student = Student.from_run(asked.run, asked.student, last=asked.last)
    columns = {name: getattr(asked, name, None) for name in ("format", "image_column", "id_column", "label_column")}
    config = columns_of(directory, asked.data, **columns)
    return student, read_new(config, known_to(student.about), labelled=labelled)


def said(student: Student, new: New, asked: argparse.Namespace, *, every: bool = False) -> Iterator[pa.Table]:
    """What the student says, a row a sample, in order, some at a time."""
    for stretch in stretches(len(new), len(new)):
        yield from predictions(student, new.source, stretch, asked.batch_size, every=every)
