"""What a person sees in the terminal while a run goes on, and at its end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from ray_mentor.errors import printable
from ray_mentor.report.breakdown import Rows, bits_rows, class_rows, group_rows, mixture_rows, target_rows
from ray_mentor.report.time_left import TimeLeft
from ray_mentor.run.directory import inside
from ray_mentor.wording import as_said_here

_PLAIN_LINES = 12  # progress lines of a whole run where the output is no terminal
_PLAIN_EVERY = 20.0  # seconds between two of them inside an epoch


class PatientConsole(Console):
    """A console whose reader may leave, as `head` does: the run goes on, unseen."""

    def on_broken_pipe(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class RunDisplay:
    """Shows progress rows: a dozen epochs as lines that stay, and in a terminal a live bar and its figures below.

    Args:
        epochs: passes that the run will make.
        console: where to; None: standard output.
        learns_from: progress at which the mentor begins to learn.
    """

    def __init__(self, epochs: int, console: Console | None = None, learns_from: float = 0.0) -> None:
        self.console = console or PatientConsole(highlight=False)
        self._draws = self.console.is_interactive  # a terminal, and one that can move its cursor
        self._epochs = epochs
        self._started = time.monotonic()
        self._printed = 0.0
        self._left = TimeLeft(self._started, learns_from)
        self._figures: dict[str, Any] = {}
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[left]}"),
            auto_refresh=False,
        )
        self._task = self._bar.add_task("starting", total=epochs, left="")
        self._line = Text("")
        self._live = Live(Group(self._bar, self._line), console=self.console, transient=True, refresh_per_second=8)

    def __enter__(self) -> Self:
        if self._draws:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._draws:
            self._live.stop()

    def show(self, row: Mapping[str, Any]) -> None:
        """Takes one progress row."""
        now = time.monotonic()
        if row["kind"] == "started":
            self._started = now
            self._left.start(now, row["progress"])
            self._bar.update(self._task, description="training")
        if row["kind"] == "note":
            self.console.print(as_said_here(printable(row["text"])), soft_wrap=True, markup=False)
        if row["kind"] not in ("step", "epoch"):
            return
        self._figures.update(row)
        done = row["progress"] if row["kind"] == "step" else (row["epoch"] + 1) / self._epochs
        says, left = epoch_text(self._figures), self._left.said(now, done)
        description = f"epoch {row['epoch'] + 1}/{self._epochs}"
        if self._draws:
            self._bar.update(self._task, description=description, completed=done * self._epochs, left=left)
            self._line.plain = says
        if self._worth_a_line(row, now):
            self._printed = now
            self.console.print(f"{description}  {says}  {left}", soft_wrap=True)

    def _worth_a_line(self, row: Mapping[str, Any], now: float) -> bool:
        if row["kind"] == "step":
            return not self._draws and now - max(self._printed, self._started) >= _PLAIN_EVERY
        done = int(row["epoch"]) + 1
        return done == self._epochs or done % max(1, self._epochs // _PLAIN_LINES) == 0


def epoch_text(row: Mapping[str, Any]) -> str:
    """The figures of an epoch, on one line."""
    parts = [
        ("bits per byte, trusted", row.get("trusted_bits_per_byte"), "{:.3f}"),
        ("test", row.get("test_bits_per_byte"), "{:.3f}"),
        ("test accuracy", row.get("test_accuracy"), "{:.3f}"),
        ("trusted accuracy", row.get("trusted_accuracy"), "{:.3f}"),
        ("agreement", given_agreement(row), "{:.3f}"),
        ("mean weight", row["mean_sample_weight"], "{:.2f}"),
        ("meta loss", row["meta_loss"], "{:.3f}"),
        ("samples/s", row["samples_per_second"], "{:.0f}"),
    ]
    return "  ".join(f"{name} {form.format(value)}" for name, value, form in parts if value is not None)


def look_at_next(result: Mapping[str, Any], path: str, *, has_page: bool = True) -> str:
    """Where a finished run's findings are, a line each; its page first, where there is one."""
    found, share = result["first_known_wrong"], look_wrong(result, " of those trained on")
    wrong = "" if share is None else f", {share}"
    is_of_text = bool(bits_rows(result))
    wrong += "" if found is None else f"; of the first {found[1]}, {found[0]} are wrong"
    return "\n".join(
        [
            "look at next:",
            *([f"  all of it, on one page: {inside(path, 'report.html')}"] if has_page else []),
            f"  {'windows that are learnt worst' if is_of_text else f'labels that are most likely wrong{wrong}'}: "
            f"{inside(path, 'audit.csv')}",
            f"  the trained student: {inside(path, 'student/')}",
            *([f"  each window's shares: {inside(path, 'mixture.csv')}"] if "mixture" in result else []),
            f"  each epoch's figures: {inside(path, 'metrics.csv')}",
            f"  each sample in each epoch: {inside(path, 'ledger/')}",
        ]
    )


def look_wrong(result: Mapping[str, Any], of: str = "") -> str | None:
    """How many training labels look wrong, with the interval; without a mentor "or more", since none holds there.

    Args:
        of: what the share is of, behind it.
    """
    share = result.get("wrong_labels")
    if share is None:
        return None
    if result.get("sample_weight_spread") == 0:
        return f"{share:.1%}{of} or more: a student that no mentor keeps from it learns them by heart{unsure(result)}"
    low, high = result["wrong_labels_interval"]
    return f"{share:.1%}{of} ({low:.1%} to {high:.1%}){unsure(result)}"


_HARDLY_ANY = 0.02


def unsure(result: Mapping[str, Any]) -> str:
    """Where the student's own mistakes may be half of what it takes for wrong labels, or more.

    Where trusted samples say how many labels are wrong, its mistakes are not among them.
    """
    share, accuracy = result.get("wrong_labels"), result.get("trusted_accuracy")
    if result.get("wrong_labels_by_trusted") or share is None or accuracy is None:
        return ""
    if share <= _HARDLY_ANY or 1 - accuracy <= share / 2:
        return ""
    mistakes = 1 - accuracy
    return f"; the student is wrong on {mistakes:.0%} of held-out trusted samples, so many of these may be right"


def given_agreement(row: Mapping[str, Any]) -> float | None:
    """How often the student gives the given label: on the test split if its truth is not known, or on validation."""
    tested = row.get("test_agreement")
    return row.get("validation_agreement") if tested is None else tested


def accuracy_rows(result: Mapping[str, Any]) -> Rows:
    """How good the kept student is: what is known to be true comes first, agreement with given labels last."""
    rows = [*bits_rows(result), ("test accuracy", result.get("test_accuracy"), "{:.4f}")]
    rows += [(f"  of the {name} student alone", result.get(f"test_accuracy_{name}"), "{:.4f}") for name in _STUDENTS]
    if result.get("trusted_accuracy") is not None:
        low, high = result["trusted_interval"]
        name = f"accuracy on {result['trusted_held_out']} held-out trusted samples, 95 % interval"
        rows.append((name, result["trusted_accuracy"], f"{{:.3f}} ({low:.3f} to {high:.3f})"))
    rows += [] if result.get("trusted_accuracy") is None else target_rows(result)
    rows.append((_AGREEMENT, given_agreement(result), "{:.4f}"))
    rows += [(f"  of the {name} student alone", result.get(f"test_agreement_{name}"), "{:.4f}") for name in _STUDENTS]
    rows.append(("epoch whose student is kept", result.get("kept_epoch"), "{}"))
    return [*rows, *((f"{_OF_AVERAGE}, {name}", result.get(f"{each}_average"), "{:.4f}") for each, name in _AVERAGED)]


_OF_AVERAGE = "the student's exponential average (average.safetensors)"
_AVERAGED = (
    ("test_accuracy", "test accuracy"),
    ("trusted_accuracy", "on held-out trusted samples"),
    ("test_agreement", "agreement with given labels"),
    ("trusted_bits_per_byte", "bits per byte of held-out trusted text"),
    ("test_bits_per_byte", "bits per byte of the test split"),
)


_STUDENTS = ("first", "second")  # where a method has two

_AGREEMENT = "agreement with given labels (at best the share that is right)"


_PHASES = {
    "prepare": "imports and data",
    "start_ray": "starting Ray",
    "start_workers": "starting workers",
    "train": "training",
    "finish": "closing",
}
_PHASES_HERE = {"prepare": "imports and data", "start_workers": "setting up", "train": "training", "finish": "closing"}


_NONE_TRUSTED = "its meta set, and on the validation split (given labels)"


def guard_rows(result: Mapping[str, Any]) -> Rows:
    """What became of the mentor: its loss on trusted samples, and where it had to be overruled."""
    found = result.get("guards")
    if found is None:
        return []
    losses = found["meta_loss"], found["meta_holdout_loss"]
    rows: Rows = []
    if None not in losses:
        on = "trusted samples, and on held-out ones" if result.get("trusted_held_out") != 0 else _NONE_TRUSTED
        rows.append((f"the mentor's loss on {on}", "{:.3f}, {:.3f}".format(*losses), "{}"))
    inconsistent = found.get("inconsistent_updates", 0)  # runs of earlier versions have none of the two
    not_finite, updates = found["skipped_updates"] - inconsistent, f"{{}} of {result['meta_updates']}"
    needed = [
        (
            "steps with equal weights (the mentor believed next to no sample)",
            found["fallbacks"] or None,
            f"{{}} of {result['steps']}",
        ),
        ("updates of the mentor skipped (not finite)", not_finite or None, updates),
        ("updates of the mentor skipped (influences that don't add up)", inconsistent or None, updates),
        ("updates of the mentor that no sample had a say in", found.get("updates_without_influence") or None, updates),
        (
            "mentor stopped learning (held-out loss rose)",
            found["mentor_stopped_at"],
            f"after {{}} of {result['steps']} steps",
        ),
    ]
    none = all(value is None for _, value, _ in needed)
    return [*rows, ("times the mentor was overruled", "none", "{}")] if none else [*rows, *needed]


def learned_rows(result: Mapping[str, Any]) -> Rows:
    """What the run has learnt of its own settings."""
    rate = (result.get("learned") or {}).get("lr")
    if rate is None:
        return []
    back, says = rate["times_put_back"], f"{{:.3g}} ({rate['factor']:.3g} times the given one)"
    return [
        ("learning rate that was learnt, at its peak", rate["learning_rate"], says),
        ("times that training was put back (a loss had doubled)", back or None, "{}"),
    ]


def closing_rows(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures of a finished run, as far as they are known."""
    rows = [
        *accuracy_rows(result),
        *class_rows(result),
        *group_rows(result),
        (
            f"wrong labels known by {result.get('noise_auroc_of', '1 − sample weight')} (AUROC: 1 all, 0.5 chance)",
            result["noise_auroc"],
            "{:.4f}",
        ),
        ("steps of the student", result["steps"], "{}"),
        ("updates of the mentor", result["meta_updates"], "{}"),
        *guard_rows(result),
        *learned_rows(result),
        *mixture_rows(result),
        ("samples per second", result["samples_per_second"], "{:.0f}"),
        ("seconds in all", result["wall_seconds"], "{:.1f}"),
    ]
    return [(name, form.format(value)) for name, value, form in rows if value is not None]


def phase_rows(result: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Where its time went: phases in order, and their seconds."""
    names = _PHASES if result["workers"] else _PHASES_HERE
    return [(names[name], seconds) for name, seconds in result["phase_seconds"].items() if name in names]


def closing_table(result: Mapping[str, Any]) -> Table:
    """The figures of a finished run, and where its time went."""
    table = Table(show_header=False, title=f"{result['method']}, seed {result['seed']}", title_justify="left")
    for name, text in closing_rows(result):
        table.add_row(name, text)
    for name, seconds in phase_rows(result):
        table.add_row(f"  {name}", f"{seconds:.1f}")
    return table
