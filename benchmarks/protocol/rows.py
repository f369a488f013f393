"""A row a run, appended to a CSV as it comes: what is there is not run again."""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

Cell = Mapping[str, Any]
"""What is run: the key columns of its row."""

Row = dict[str, str]


class Rows:
    """Rows of one file, whose cells are told apart by the columns of ``key``.

    Args:
        path: of the CSV; made with its folder when the first row comes.
        key: columns that name a cell.
        figures: the other columns.

    Raises:
        ValueError: the file has other columns.
    """

    def __init__(self, path: Path, key: tuple[str, ...], figures: tuple[str, ...]) -> None:
        self.path = path
        self.key = key
        self.columns = (*key, *figures)
        if path.exists():
            _without_half_a_line(path)
            with path.open(newline="") as file:
                found = tuple(next(csv.reader(file), ()))
            if found != self.columns:
                raise ValueError(f"{path} has the columns {found}, not {self.columns}; give another file")

    def read(self) -> list[Row]:
        """All rows, as they are written."""
        return read(self.path) if self.path.exists() else []

    def missing(self, cells: Iterable[Cell]) -> list[Cell]:
        """Those that the file lacks, in order."""
        done = {tuple(row[name] for name in self.key) for row in self.read()}
        return [cell for cell in cells if tuple(_text(cell[name]) for name in self.key) not in done]

    def add(self, cell: Cell, figures: Mapping[str, Any]) -> None:
        """Appends a row, and its head where it is the first."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        if not self.path.exists():
            writer.writerow(self.columns)
        writer.writerow(_text({**figures, **cell}.get(name)) for name in self.columns)
        with self.path.open("a", newline="") as file:
            file.write(lines.getvalue())

    def fill(self, cells: Iterable[Cell], run: Callable[[Cell], Mapping[str, Any]], processes: int = 1) -> None:
        """Runs what is missing, and appends each row as it comes, with a line on the terminal.

        Args:
            run: a cell → its figures; picklable where there is more than one process.
            processes: runs at a time; 1: in this process.

        Raises:
            Exception: of the first run that failed; no other begins then, and the rows of those that had are written.
        """
        missing = self.missing(cells)
        if processes == 1:
            for done, cell in enumerate(missing, 1):
                self._came(cell, run(cell), f"{done}/{len(missing)}")
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=context, initializer=_one_thread) as pool:
            coming = {pool.submit(run, cell): cell for cell in missing}
            failed: BaseException | None = None
            for done, future in enumerate(as_completed(coming), 1):
                if future.cancelled():
                    continue
                error = future.exception()
                if error is None:
                    self._came(coming[future], future.result(), f"{done}/{len(missing)}")
                    continue
                failed = failed or error
                for other in coming:
                    other.cancel()
            if failed is not None:
                raise failed

    def _came(self, cell: Cell, figures: Mapping[str, Any], count: str) -> None:
        self.add(cell, figures)
        shown = {name: _text(figures[name]) for name in ("trusted_accuracy", "test_accuracy", "bits", "cpu_seconds")
                 if name in figures}  # fmt: skip
        print(f"{count} {' '.join(_text(cell[name]) for name in self.key)}: {shown}", flush=True)


def read(path: Path) -> list[Row]:
    """All rows of a file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def number(row: Row, column: str) -> float:
    """A figure of a row.

    Raises:
        ValueError: it has none.
    """
    return float(row[column])


def _text(value: Any) -> str:
    """Floats with six digits: more is another processor's rounding."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _without_half_a_line(path: Path) -> None:
    """Cuts off what a run that was killed left of its row."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        path.write_bytes(whole)


def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
