"""What a notebook shows of a run: a table that is refreshed while it goes on, by the notebook's own IPython."""

from __future__ import annotations

import html
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from ray_mentor.report.time_left import TimeLeft
from ray_mentor.wording import in_python

_ROWS = 12  # epochs that the table keeps, besides the newest
_EVERY = 0.3  # seconds between two refreshings

_COLUMNS = {
    "trusted_bits_per_byte": "bits per byte, trusted",
    "test_bits_per_byte": "bits per byte, test",
    "test_accuracy": "test accuracy",
    "trusted_accuracy": "trusted accuracy",
    "test_agreement": "agreement with given labels",
    "mean_sample_weight": "mean weight",
    "meta_loss": "meta loss",
    "samples_per_second": "samples/s",
}

_AT_THE_END = ("trusted_bits_per_byte", "test_bits_per_byte", "test_accuracy", "trusted_accuracy", "test_agreement")
"""What is measured when an epoch is over."""


def kernel() -> Any:
    """The notebook's shell, if this process is one's kernel; None in a terminal and in scripts."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return None if getattr(shell, "kernel", None) is None else shell


class NotebookDisplay:
    """Shows progress rows as one table below the cell.

    Args:
        shell: of the notebook.
        epochs: passes that the run will make.
        learns_from: progress at which the mentor begins to learn.
    """

    def __init__(self, shell: Any, epochs: int, learns_from: float = 0.0) -> None:
        self._publisher = shell.display_pub
        self._epochs = epochs
        self._place = {"display_id": uuid.uuid4().hex}
        self._is_there = False
        self._shown = 0.0
        self._time_left = TimeLeft(time.monotonic(), learns_from)
        self._epochs_shown: list[dict[str, Any]] = []
        self._newest: dict[str, Any] = {}
        self._notes: list[str] = []
        self._left = ""

    def show(self, row: Mapping[str, Any]) -> None:
        """Takes one progress row."""
        now = time.monotonic()
        if row["kind"] == "started":
            self._time_left.start(now, row["progress"])
        if row["kind"] == "note":
            self._notes.append(in_python(row["text"]))
        if row["kind"] in ("step", "epoch"):
            self._take(row, now)
        if row["kind"] not in ("step", "epoch") or now - self._shown >= _EVERY:
            self._shown = now
            self._publish()

    def _take(self, row: Mapping[str, Any], now: float) -> None:
        epoch = int(row["epoch"]) + 1
        done = epoch / self._epochs if row["kind"] == "epoch" else row["progress"]
        self._left = self._time_left.said(now, done) if done < 1 else "done"
        begins = epoch != self._newest.get("epoch")  # what was measured at the end of another epoch is not this one's
        known = {name: value for name, value in self._newest.items() if not (begins and name in _AT_THE_END)}
        self._newest = {**known, **row, "epoch": epoch}
        self._epochs_shown = [
            shown for shown in self._epochs_shown if shown["epoch"] < epoch
        ]  # gone back to a checkpoint
        if row["kind"] == "epoch" and (epoch == self._epochs or epoch % max(1, self._epochs // _ROWS) == 0):
            self._epochs_shown.append(self._newest)

    def _rows(self) -> list[list[str]]:
        """The table's, its head first."""
        kept = self._epochs_shown
        found = [*kept, self._newest] if self._newest and (not kept or kept[-1] is not self._newest) else kept
        names = [name for name in _COLUMNS if any(row.get(name) is not None for row in found)]
        head = ["epoch", *(_COLUMNS[name] for name in names)]
        return [head, *([f"{row['epoch']}/{self._epochs}", *(_figure(name, row) for name in names)] for row in found)]

    def _publish(self) -> None:
        rows, notes = self._rows() if self._newest else [], [*self._notes, *([self._left] if self._left else [])]
        lines = ["  ".join(cell.rjust(len(name)) for cell, name in zip(row, rows[0], strict=True)) for row in rows]
        cells = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
        table = "".join(f"<tr>{row}</tr>" for row in cells)
        said = "".join(f"<div>{html.escape(note)}</div>" for note in notes)
        data = {"text/plain": "\n".join([*lines, *notes]), "text/html": f"<table>{table}</table>{said}"}
        self._publisher.publish(data, {}, transient=self._place, update=self._is_there)
        self._is_there = True


def _figure(name: str, row: Mapping[str, Any]) -> str:
    value = row.get(name)
    return "" if value is None else f"{value:.0f}" if name == "samples_per_second" else f"{value:.3f}"


def display_here(epochs: int, learns_from: float) -> Callable[[Mapping[str, Any]], None]:
    """Takes the progress rows of a run of so many epochs: shows a table in a notebook, and nothing elsewhere."""
    shell = kernel()
    return (lambda row: None) if shell is None else NotebookDisplay(shell, epochs, learns_from).show
