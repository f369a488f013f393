"""What a person sees in the terminal while a sweep goes on, and at its end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ray_mentor.errors import printable
from ray_mentor.report.page.words import duration_text, figure_text, numbered, one_line, setting_texts, value_text
from ray_mentor.report.sweep.standing import SweepStanding
from ray_mentor.report.sweep.trials import counts, rows_of, settings_of
from ray_mentor.report.sweep.words import counts_text, objective_text, state_text, verdict_text
from ray_mentor.report.terminal import PatientConsole
from ray_mentor.wording import as_said_here

if TYPE_CHECKING:
    import pandas as pd

_PLAIN_LINES = 12  # lines of ended trials in a whole sweep where the output is no terminal
_PLAIN_EVERY = 60.0  # seconds between two of them while none ends
_BESIDE = 7  # lines of a terminal that are not rows of the table
_FAILURES = 3  # failed trials that get a line of their own where the output is no terminal


class SweepDisplay:
    """Shows progress rows of a sweep: a live table of running trials in a terminal, a few plain lines elsewhere.

    Args:
        trials: that the sweep will make.
        epochs: passes of a whole run.
        console: where to; None: standard output.
        noun: what each of them is called.
    """

    def __init__(self, trials: int, epochs: int, console: Console | None = None, noun: str = "trial") -> None:
        self.console = console or PatientConsole(highlight=False)
        self._draws = self.console.is_interactive  # a terminal, and one that can move its cursor
        self._standing = SweepStanding(trials, epochs, time.monotonic(), noun)
        self._printed = time.monotonic()
        self._live = Live(Text("starting"), console=self.console, transient=True, refresh_per_second=4)

    def __enter__(self) -> Self:
        if self._draws:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._draws:
            self._live.stop()

    def show(self, row: Mapping[str, Any]) -> None:
        """Takes one progress row, of kind ``trial``, ``ended`` or ``note``."""
        now = time.monotonic()
        if row["kind"] == "note":
            self.console.print(as_said_here(printable(row["text"])), soft_wrap=True, markup=False)
        if row["kind"] not in ("trial", "ended"):
            return
        self._standing.take(row, now)
        if self._draws:
            self._live.update(picture(self._standing, now, self.console.height))
        elif self._worth_a_line(row, now):
            self._printed = now
            self.console.print(Text(plain_line(row, self._standing, now)), soft_wrap=True)

    def _worth_a_line(self, row: Mapping[str, Any], now: float) -> bool:
        standing = self._standing
        if row["kind"] == "trial":
            return now - self._printed >= _PLAIN_EVERY
        if row["state"] == "failed" and standing.counts["failed"] <= _FAILURES:
            return True
        return standing.ended == standing.trials or standing.ended % max(1, standing.trials // _PLAIN_LINES) == 0


def plain_line(row: Mapping[str, Any], standing: SweepStanding, now: float) -> str:
    """A trial that has ended, and how the sweep stands, on one line."""
    ended = [f"{standing.noun} {one_line(row['trial'])} {state_text(row['state'])}"] if row["kind"] == "ended" else []
    best = standing.best
    reached = [] if best is None else [_best_text(best)]
    return "  ".join([*ended, _standing_text(standing), *reached, *_left(standing, now)])


def picture(standing: SweepStanding, now: float, height: int) -> Group:
    """Running trials, and below them how the sweep stands."""
    best = standing.best
    lines = [Text("  ".join([_standing_text(standing), *_left(standing, now)]))]
    if best is not None:
        settings = ", ".join(setting_texts(best.get("settings") or {}))
        lines += [Text(_best_text(best)), Text(settings, style="dim", overflow="fold")]
    running = [_running_table(standing, max(height - _BESIDE, 1))] if standing.running else []
    return Group(*running, *lines)


def _running_table(standing: SweepStanding, most: int) -> Table:
    """The newest row of each running trial, as many as there is room for."""
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in (standing.noun, "epoch", "accuracy"):
        table.add_column(name, no_wrap=True)
    table.add_column("settings", no_wrap=True, overflow="ellipsis", ratio=1)
    rows = sorted(standing.running.items())
    for trial, row in rows[:most]:
        epoch, accuracy = f"{row['epoch']}/{standing.epochs}", figure_text(row["accuracy"], "{:.3f}")
        table.add_row(*map(Text, (one_line(trial), epoch, accuracy, ", ".join(setting_texts(row["settings"])))))
    if len(rows) > most:
        table.add_row(Text("…"), Text(f"{len(rows) - most} more"))
    return table


def _standing_text(standing: SweepStanding) -> str:
    counts = counts_text(standing.counts)
    return f"{standing.ended} of {numbered(standing.trials, standing.noun)} ended{f': {counts}' if counts else ''}"


def _best_text(best: Mapping[str, Any]) -> str:
    return f"best so far {figure_text(best['objective'])} (trial {one_line(best['trial'])})"


def _left(standing: SweepStanding, now: float) -> list[str]:
    seconds = standing.seconds_left(now)
    return [] if seconds is None else [f"{duration_text(seconds)} left"]


def closing_sweep_table(sweep: Mapping[str, Any], trials: pd.DataFrame) -> Table:
    """The figures of a finished sweep: the best trial with its settings, and whether it is really better."""
    title = f"sweep of {one_line(sweep['space'])}, seed {one_line(sweep['seed'])}"
    table = Table(show_header=False, title=Text(title), title_justify="left")
    for name, text in [*_best_rows(sweep, trials), *_sweep_rows(sweep, trials)]:
        table.add_row(Text(name, overflow="fold"), Text(text, overflow="fold"))
    return table


def _best_rows(sweep: Mapping[str, Any], trials: pd.DataFrame) -> list[tuple[str, str]]:
    best = sweep["best"]
    if best is None:
        return [("best trial", "none: no trial got as far as an objective")]
    [row] = rows_of(trials[trials["trial"] == best["trial"]])
    return [
        ("best trial", one_line(best["trial"])),
        *((f"  {one_line(name)}", value_text(value)) for name, value in settings_of(row).items()),
        (objective_text(sweep), figure_text(best["objective"])),
        *(
            [("accuracy on held-out trusted samples", figure_text(row["accuracy"]))]
            if sweep["objective"] != "accuracy"
            else []
        ),
        ("training time", duration_text(row["seconds"])),
    ]


def _sweep_rows(sweep: Mapping[str, Any], trials: pd.DataFrame) -> list[tuple[str, str]]:
    baseline = sweep.get("baseline")
    figures = baseline and f"{figure_text(baseline['accuracy'])} in {duration_text(baseline['seconds'])}"
    return [
        *([("accuracy of equal sample weights", figures)] if figures else []),
        ("trials", f"{len(trials)}: {counts_text(counts(trials))}"),
        ("trials at a time", one_line(sweep["concurrent"])),
        ("time in all", duration_text(sweep["seconds"])),
        ("is it really better?", verdict_text(sweep.get("confirm"))),
    ]
