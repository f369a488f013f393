"""What is found out of new samples while predictions of them pass: which can't be read, and which were trained on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_mentor.data.readers.new.known import New
from ray_mentor.data.readers.tables.images import NAMED, left_out, none_whole
from ray_mentor.data.samples.texts.tokens import Tokens
from ray_mentor.run.trained.predictions import CONTENT, CUT, ROW
from ray_mentor.run.trained.trained_on import TrainedOn


class Passing:
    """What is known of new samples beside what the student says of them, counted as that passes.

    Args:
        new: the samples.
        known: those that the student was trained on; None: nobody knows.
        tokens: what makes token ids of texts; None of a student of others.

    Attributes:
        passed: how many.
        seen: how many of these the student was trained on.
        left_out: how many could not be read.
        cut: how many texts were longer than the student takes.
    """

    def __init__(self, new: New, known: TrainedOn | None, tokens: Tokens | None = None) -> None:
        self._new, self._known, self._tokens = new, known, tokens
        self.passed, self.seen, self.left_out, self.cut = 0, 0, 0, 0
        self._named: list[int] = []
        self._next = 0

    def through(self, tables: Iterator[pa.Table]) -> Iterator[tuple[pa.Table, NDArray[np.bool_]]]:
        """The same tables, and of each row whether the student was trained on it.

        Raises:
            UserError: at the end, if no sample could be read.
        """
        for table in tables:
            rows = table[ROW].to_numpy()
            self._note_between(rows)
            seen = np.zeros(len(table), np.bool_)
            if self._known is not None:
                seen = self._known.has(table[CONTENT].to_numpy())
            if self._tokens is not None:
                self.cut += int(table[CUT].to_numpy().sum())
            self.passed += len(table)
            self.seen += int(seen.sum())
            yield table, seen
        self._note_between(np.array([len(self._new)]))
        if self.passed == 0:
            raise none_whole(texts=self._tokens is not None)

    def _note_between(self, rows: NDArray[np.int64]) -> None:
        """Takes note of the rows that were left out since the last one."""
        if len(rows) == 0:
            return
        gaps = np.diff(rows, prepend=self._next - 1) - 1
        self.left_out += int(gaps.sum())
        for place in np.flatnonzero(gaps)[: NAMED - len(self._named)]:
            first = int(rows[place] - gaps[place])
            self._named += range(first, first + min(NAMED, int(gaps[place])))
        del self._named[NAMED:]
        self._next = int(rows[-1]) + 1

    @property
    def notes(self) -> list[str]:
        """What the user should be told, when all have passed."""
        gone = (
            [left_out(list(map(self._new.source.place, self._named)), self.left_out, texts=self._tokens is not None)]
            if self.left_out
            else []
        )
        return gone if self._tokens is None else [*gone, *self._tokens.of_cut(self.passed, self.cut)]

    @property
    def warning(self) -> str | None:
        """What to say of those that the student was trained on."""
        if not self.seen:
            return None
        were = "was" if self.seen == 1 else "were"
        return f"{self.seen:,} of {self.passed:,} samples {were} trained on by this run (told by what they hold)"
