"""What the student says of trusted samples that it is trained on: how often it takes which class for which."""

from __future__ import annotations

import io
from collections import Counter
from itertools import repeat
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import torch
from jaxtyping import Int
from torch import Tensor

from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.step.record import StepRecord
from ray_mentor.errors import UserError
from ray_mentor.run.directory import RunDirectory

TRUSTED = "trusted.parquet"
"""A row an epoch and pair of classes."""

SCHEMA = pa.schema([(name, pa.int64()) for name in ("epoch", "label", "predicted", "count")])
"""``count``: how often in the ``epoch`` the student, before the step, took one of the ``label`` for one of the class
``predicted``. Each trusted sample that it is trained on comes once an epoch."""

NOTHING_SAID = torch.zeros(0, 4, dtype=torch.int64)
"""Of no trusted sample."""


class TrustedSaid:
    """Counts what is said of trusted samples in training. Every rank calls the same methods."""

    def __init__(self, exchange: AbstractExchange) -> None:
        self._exchange = exchange
        self._here: Counter[tuple[int, int, int]] = Counter()  # on this rank, since all were counted
        self._all = NOTHING_SAID

    def add(self, epoch: int, record: StepRecord) -> None:
        """Takes one step in."""
        if record.trusted_said is not None:
            label, predicted = record.trusted_said.unbind(dim=1)
            self._here.update(zip(repeat(epoch), label.tolist(), predicted.tolist()))

    def counted(self) -> Int[Tensor, "cells 4"]:
        """Epoch, label, predicted label and count, in their order, over all ranks so far. A collective call."""
        own = torch.tensor([[*cell, n] for cell, n in self._here.items()], dtype=torch.int64).reshape(-1, 4)
        rows = torch.cat([self._all, self._exchange.gather_any(own)])
        cells, place = rows[:, :3].unique(dim=0, return_inverse=True)
        counts = torch.zeros(len(cells), dtype=torch.int64).index_add_(0, place, rows[:, 3])
        self._here.clear()
        self._all = torch.cat([cells, counts[:, None]], dim=1)
        return self._all

    def load(self, cells: Int[Tensor, "cells 4"]) -> None:
        """Goes on from what was counted, by as many ranks as there were then."""
        self._here.clear()
        self._all = cells


def are_cells(value: Any) -> bool:
    """Whether it is what :meth:`TrustedSaid.counted` gives."""
    is_table = isinstance(value, Tensor) and value.dtype == torch.int64 and value.ndim == 2 and value.shape[1] == 4
    return is_table and bool((value >= 0).all())


def write_said(directory: RunDirectory, cells: Int[Tensor, "cells 4"]) -> None:
    """Writes :data:`TRUSTED`, where there is something to say."""
    if len(cells):
        table = pa.table(list(cells.numpy().T), schema=SCHEMA)
        directory.fill(TRUSTED, lambda sink: pyarrow.parquet.write_table(table, sink))


def read_said(directory: RunDirectory) -> pa.Table:
    """What was said of trusted samples; no rows, where nothing was.

    Raises:
        UserError: the file is damaged.
    """
    written = directory.read(TRUSTED)
    if written is None:
        return SCHEMA.empty_table()
    try:
        said = pyarrow.parquet.read_table(io.BytesIO(written)).select(SCHEMA.names).cast(SCHEMA)
        if not all(_is_count(said[name]) for name in SCHEMA.names):
            raise ValueError("a number that is none, below 0 or above a thousand million")
        return said
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise UserError(f"{directory.path}/{TRUSTED} cannot be read ({error}); put it back") from error


def _is_count(column: pa.ChunkedArray) -> bool:
    if column.null_count:
        return False
    bounds = pc.min_max(column).as_py()
    return not len(column) or (bounds["min"] >= 0 and bounds["max"] <= _MOST)


_MOST = 1_000_000_000
