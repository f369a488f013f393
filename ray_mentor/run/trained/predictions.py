"""What a trained student says of new inputs, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.config import DataConfig
from ray_mentor.config.settings import values_of
from ray_mentor.data.readers.new.known import AbstractSource, Known, New
from ray_mentor.errors import UserError
from ray_mentor.run.checkpoint.resume import started_with
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.trained.about import About
from ray_mentor.run.trained.fed import OWN
from ray_mentor.run.trained.student import Student
from ray_mentor.run.trained.trained_on import fingerprints

T = TypeVar("T")

ROW, LABEL, PROBABILITY, ENTROPY, ALL, CONTENT = "row", "class", "probability", "entropy", "probabilities", "content"
CUT = "cut"
"""Columns of predictions: which row of the data; the class of the largest probability, as its place; that probability;
−Σ p ln p; all p; a fingerprint of what the row holds; of texts, how many were cut since the rows before, once.
"""


@dataclass(frozen=True)
class Stretch:
    """Rows [start, stop) of new inputs."""

    start: int
    stop: int


def stretches(count: int, size: int) -> Iterator[Stretch]:
    """All of ``count`` rows in order, ``size`` at a time."""
    return (Stretch(start, min(start + size, count)) for start in range(0, count, size))


def predictions(
    student: Student,
    source: AbstractSource,
    stretch: Stretch,
    batch_size: int,
    *,
    every: bool = False,
    content: bool = False,
) -> Iterator[pa.Table]:
    """A row an input, in order, some at a time; the next ones are read meanwhile. What can't be read has none.

    Args:
        batch_size: passed through the student at a time.
        every: also the probability of each class.
        content: and a fingerprint of the input.

    Raises:
        UserError: what can't be read, or a student whose outputs are no logits.
    """
    for some in _ahead(source.parts(stretch.start, stretch.stop)):
        raw = torch.from_numpy(np.require(some.values, requirements="W"))
        batches = raw.split(batch_size) if len(raw) else ()
        parts = [student.probabilities(student.about.input.fed(part)) for part in batches]
        table = _table(torch.cat([torch.zeros(0, len(student.classes)), *parts]), every=every)
        if content:
            found = fingerprints(student.about.input.content_hashes(some.stored))
            table = table.append_column(CONTENT, pa.array(found))
        if student.about.input.tokens is not None:
            table = table.append_column(CUT, pa.array([some.cut, *[0] * len(table)][: len(table)], pa.int64()))
        yield table.add_column(0, ROW, pa.array(some.rows))


def _table(p: Float[Tensor, "batch classes"], *, every: bool) -> pa.Table:
    largest, place = p.max(dim=1)
    columns = {
        LABEL: pa.array(place.to(torch.int32).numpy()),
        PROBABILITY: pa.array(largest.numpy()),
        ENTROPY: pa.array(torch.special.entr(p).sum(dim=1).numpy()),
    }
    if every:
        columns[ALL] = pa.FixedSizeListArray.from_arrays(pa.array(p.flatten().numpy()), p.shape[1])
    return pa.table(columns)


def _ahead(values: Iterator[T]) -> Iterator[T]:
    """The same, each fetched while the one before it is in use."""
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        coming = pool.submit(next, values, None)
        while (now := coming.result()) is not None:
            coming = pool.submit(next, values, None)
            yield now


def known_to(about: About) -> Known:
    """What new inputs have to fit.

    Raises:
        UserError: a student of inputs that no file holds.
    """
    if about.input.kind == OWN:
        raise UserError(
            f"run {about.run} was trained on a data set of your own in Python, which says how files become inputs; use "
            "Student.from_run(...).predict there"
        )
    fed = about.input
    return Known(about.classes, fed.shape, () if fed.tokens else fed.names, fed.resize, fed.tokens)


def columns_of(directory: RunDirectory, data: str, **given: str | bool | None) -> DataConfig:
    """How new data are read: as the run read its own, but for what is given."""
    settings = started_with(directory)
    asked = {name: value for name, value in given.items() if value is not None}
    kept = {name: settings[name] for name in _KEPT if name in settings}
    return DataConfig(**values_of(DataConfig, {**kept, **asked, "data": data}))


_KEPT = (
    "label_column",
    "image_column",
    "text_column",
    "id_column",
    "feature_columns",
    "ignore_columns",
    "keep_columns",
    "data_folder",
)


def schema_of(new: New, classes: tuple[str, ...], *, every: bool) -> pa.Schema:
    """Of what :func:`as_rows` gives."""
    kinds = {"sample_id": pa.int64() if new.names is None else pa.string(), LABEL: pa.string()}
    names = [PROBABILITY, ENTROPY, *([f"p_{name}" for name in classes] if every else [])]
    return pa.schema([*kinds.items(), *((name, pa.float32()) for name in names)])


def as_rows(new: New, classes: tuple[str, ...], tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Predictions as a user reads them: ``sample_id``, the class's name, and a column a class where there are all."""
    names = pa.array(classes, pa.string())
    for table in tables:
        rows = table[ROW].to_numpy()
        ids = pa.array(new.ids[rows]) if new.names is None else new.names.take(pa.array(rows))
        place = table[LABEL].combine_chunks()
        columns = [ids, names.take(place), table[PROBABILITY], table[ENTROPY]]
        if ALL in table.column_names:
            p = table[ALL].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
            columns += [pa.array(np.ascontiguousarray(p[:, place])) for place in range(len(classes))]
        yield pa.table(columns, schema=schema_of(new, classes, every=ALL in table.column_names))
