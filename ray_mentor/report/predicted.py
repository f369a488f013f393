"""Predictions in the terminal: how many of each class, and how sure the student was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ray_mentor.report.page.words import one_line
from ray_mentor.report.terminal import PatientConsole
from ray_mentor.run.trained.predictions import LABEL, PROBABILITY

_CLASSES = 20  # that are shown
_LONG = 60  # characters of a class's name
_WIDTH = 100  # where the output is no terminal


class Tally:
    """Counts predictions as they pass.

    Args:
        classes: in order.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self._counts = np.zeros(len(classes), np.int64)
        self._sums = np.zeros(len(classes))

    def counted(self, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """The same tables."""
        for table in tables:
            place = table[LABEL].to_numpy()
            self._counts += np.bincount(place, minlength=len(self._classes))
            self._sums += np.bincount(place, table[PROBABILITY].to_numpy(), minlength=len(self._classes))
            yield table

    def show(self, console: Console | None = None) -> None:
        """Prints them, the most frequent class first."""
        console = console or PatientConsole(highlight=False)
        if not console.is_terminal:
            console.width = _WIDTH
        table = Table(box=box.SIMPLE, pad_edge=False)
        for name in ("class", "samples", "share", "mean probability"):
            table.add_column(name, justify="left" if name == "class" else "right", no_wrap=True)
        order = np.argsort(-self._counts, kind="stable")
        total = self._counts.sum()
        for place in order[:_CLASSES]:
            count = self._counts[place]
            sure = f"{self._sums[place] / count:.3f}" if count else ""
            shown = Text(one_line(self._classes[place], _LONG))
            table.add_row(shown, f"{count:,}", f"{count / total:.1%}", sure)
        if len(order) > _CLASSES:
            rest = self._counts[order[_CLASSES:]].sum()
            table.add_row(f"{len(order) - _CLASSES} more", f"{rest:,}", f"{rest / total:.1%}", "")
        console.print(table)
