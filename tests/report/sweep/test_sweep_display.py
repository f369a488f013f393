"""What a person sees in the terminal while a sweep goes on, and at its end."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import Any

import pandas as pd
import pytest
from made_sweeps import CONFIRMED, made_sweep, made_trials
from rich.console import Console
from sweep_rows import ended, note, trial

from ray_mentor.report.sweep.display import SweepDisplay, closing_sweep_table

TERMINAL, DUMB = {"TERM": "xterm"}, {"TERM": "dumb"}
STATES = ["finished", "stopped", "failed", "hopeless"]


def shown(rows: Iterable[dict[str, Any]], trials: int, epochs: int = 2, **console: Any) -> str:
    sink = io.StringIO()
    options = {"file": sink, "highlight": False, "width": 160, "height": 40, **console}
    with SweepDisplay(trials, epochs, Console(**options)) as display:
        for row in rows:
            display.show(row)
    return sink.getvalue()


def live(rows: Iterable[dict[str, Any]], trials: int, epochs: int = 2, **console: Any) -> str:
    """The last picture in a terminal, without what moves the cursor."""
    text = shown(rows, trials, epochs, force_terminal=True, _environ=TERMINAL, **console)
    pictures = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", part) for part in text.split("\x1b[1A\x1b[2K")]
    return "\n".join([part.strip("\r") for part in pictures if part.strip()][-1].split("\n")).rstrip()


def whole_sweep(count: int) -> list[dict[str, Any]]:
    rows = []
    for number in range(count):
        name, state = f"{number:05d}", STATES[number % 4]
        rows += [trial(name, epoch, objective=0.5 + number / 1000) for epoch in (1, 2)]
        rows.append(ended(name, state, 0.5 + number / 1000))
    return rows


def test_plain_lines_where_there_is_no_terminal() -> None:
    text = shown(whole_sweep(4), 4, force_terminal=False)
    assert "\x1b" not in text
    lines = [re.sub(r"  [\d.]+ s left$", "", line) for line in text.splitlines()]
    assert lines == [
        "trial 00000 finished  1 of 4 trials ended: 1 finished  best so far 0.5000 (trial 00000)",
        "trial 00001 stopped early  2 of 4 trials ended: 1 finished, 1 stopped early  best so far 0.5010 (trial 00001)",
        "trial 00002 failed  3 of 4 trials ended: 1 finished, 1 stopped early, 1 failed  "
        "best so far 0.5010 (trial 00001)",
        "trial 00003 mentor collapsed  4 of 4 trials ended: 1 finished, 1 stopped early, 1 mentor collapsed, 1 failed  "
        "best so far 0.5010 (trial 00001)",
    ]
    assert text.splitlines()[-1].endswith("  0.0 s left")


@pytest.mark.parametrize("count", [1, 2, 12, 13, 64, 500])
def test_a_large_sweep_is_about_a_dozen_lines_and_ends_with_the_last_trial(count: int) -> None:
    lines = shown(whole_sweep(count), count, force_terminal=False).splitlines()
    assert min(count, 12) <= len(lines) <= 24 + 3
    assert f" {count} of {count} trial" in lines[-1]


def test_the_first_failures_are_always_said() -> None:
    rows = [ended(f"{number}", "failed", None) for number in range(400)]
    lines = shown(rows, 400, force_terminal=False).splitlines()
    assert [line.split("  ")[0] for line in lines[:3]] == [f"trial {number} failed" for number in range(3)]
    assert len(lines) < 24


def test_while_no_trial_ends_a_line_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, *(20.0 * step for step in range(10))])  # made (twice), then a row every 20 s
    monkeypatch.setattr("ray_mentor.report.sweep.display.time.monotonic", lambda: next(clock))
    lines = shown([trial("a", epoch) for epoch in range(10)], 4, 100, force_terminal=False).splitlines()
    assert lines == [
        "0 of 4 trials ended  best so far 0.5123 (trial a)  132 min left",  # 3 epochs of 400 in 60 s
        "0 of 4 trials ended  best so far 0.5123 (trial a)  131 min left",
        "0 of 4 trials ended  best so far 0.5123 (trial a)  130 min left",
    ]


def test_long_lines_are_not_broken() -> None:
    assert shown(whole_sweep(1), 1, force_terminal=False, width=40).count("\n") == 1


@pytest.mark.parametrize("terminal", [True, False])
def test_what_befell_a_sweep_stays_to_be_read(terminal: bool) -> None:
    text = "trial [a] went on from its checkpoint"
    said = shown([*whole_sweep(1), note(text)], 2, force_terminal=terminal, _environ=TERMINAL)
    assert said.count(text) == 1


def test_a_live_table_of_running_trials_and_how_the_sweep_stands() -> None:
    rows = [trial("00001", 3), trial("00002", 4, objective=0.7, accuracy=0.71), ended("00003", "stopped", 0.9)]
    text = live([*rows, ended("00004", "failed", None)], 8, 20)
    lines = [line.rstrip() for line in text.splitlines()]
    assert lines[0].split() == ["trial", "epoch", "accuracy", "settings"]
    assert lines[1].startswith("00001  3/20   0.679     update_interval = 10, entropy = 0.25, nesterov = true")
    assert lines[2].startswith("00002  4/20   0.710     ")
    assert lines[3].startswith("2 of 8 trials ended: 1 stopped early, 1 failed")
    assert lines[3].endswith(" left")
    assert lines[4] == "best so far 0.9000 (trial 00003)"


def test_the_best_is_shown_with_its_settings() -> None:
    text = live([trial("00001", 1), ended("00001", "finished", 0.7)], 4)
    assert text.splitlines()[-2].strip() == "best so far 0.7000 (trial 00001)"
    assert text.splitlines()[-1].strip() == "update_interval = 10, entropy = 0.25, nesterov = true"


@pytest.mark.parametrize("width", [30, 40, 60])
def test_a_narrow_terminal_keeps_the_figures(width: int) -> None:
    settings = {f"a_long_setting_{number}": 0.123456 for number in range(12)}
    text = live([trial(f"{number:05d}", 3, settings=settings) for number in range(3)], 8, 20, width=width)
    assert all(len(line) <= width for line in text.splitlines())
    for words in ("00000", "00002", "3/20", "0.679", "0 of 8 trials ended", "best so far 0.5123"):
        assert words in text, words
    best = "".join(line.strip() + " " for line in text.splitlines()[-14:])
    assert all(f"a_long_setting_{number} = 0.1235" in best for number in range(12)), (
        "the best one's, on lines of their own"
    )


def test_a_low_terminal_shows_as_many_as_it_has_room_for() -> None:
    text = live([trial(f"{number:05d}", 1) for number in range(50)], 64, height=15)
    assert text.count("update_interval") == 15 - 7 + 1, "eight of those that run, and the best"
    assert "42 more" in text
    assert len(text.splitlines()) <= 15


@pytest.mark.parametrize("terminal", [True, False])
def test_names_and_values_cannot_steer_the_terminal(terminal: bool) -> None:
    evil = "\x1b]0;title\x07[bold]\n\u202e"
    rows = [
        trial(evil, 1, settings={evil: evil}),
        ended(evil, evil, 0.9),
        note(evil),
        trial("b", 1, settings={evil: 1}),
    ]
    text = shown(rows, 2, force_terminal=terminal, _environ=TERMINAL)
    assert "\x1b]0;" not in text
    assert "\x07" not in text
    assert "\u202e" not in text
    assert "\\x1b]0;title\\x07[bold]" in text, "markup is text, too"


def test_plain_lines_in_a_terminal_that_cannot_draw() -> None:
    text = shown(whole_sweep(2), 2, force_terminal=True, _environ=DUMB)
    assert [line.split("  ")[0] for line in text.splitlines()] == ["trial 00000 finished", "trial 00001 stopped early"]


def test_the_live_table_is_gone_at_the_end() -> None:
    assert shown(whole_sweep(2), 4, force_terminal=True, _environ=TERMINAL).rstrip().endswith("\x1b[2K")


def test_the_live_display_ends_with_an_error_too() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, _environ=TERMINAL)

    def fail() -> None:
        with SweepDisplay(2, 2, console):
            raise RuntimeError("boom")

    for _ in range(2):  # rich refuses a second live display while one is on
        with pytest.raises(RuntimeError, match="boom"):
            fail()


def table_rows(sweep: dict[str, Any], trials: pd.DataFrame, width: int = 400) -> tuple[str, list[list[str]]]:
    sink = io.StringIO()
    Console(file=sink, width=width).print(closing_sweep_table(sweep, trials))
    lines = sink.getvalue().splitlines()
    return lines[0].strip(), [[cell.strip() for cell in line.split("│")[1:3]] for line in lines if "│" in line]


def three_trials() -> pd.DataFrame:
    trials, _ = made_trials(3)
    figures = {"objective": [0.5, 0.6, None], "accuracy": [0.55, 0.65, None], "seconds": [91.0, 754.0, None]}
    return trials.assign(state=["finished", "finished", "failed"], **figures)


def test_the_closing_table_has_the_best_trial_the_counts_and_the_verdict() -> None:
    trials = three_trials()
    title, rows = table_rows(made_sweep(trials), trials)
    assert title == "sweep of joint, seed 0"
    settings = [[name.removeprefix("setting."), value] for name, value in trials.iloc[1].items() if "setting." in name]
    assert rows[0] == ["best trial", "00001"]
    assert [name for name, _ in rows[1:-7]] == [
        name for name, value in settings if value == value and value is not None
    ]
    assert rows[-7:] == [
        ["accuracy on held-out trusted samples", "0.6000"],
        ["training time", "13 min"],
        ["accuracy of equal sample weights", "0.5220 in 61 s"],
        ["trials", "3: 2 finished, 1 failed"],
        ["trials at a time", "4"],
        ["time in all", "13 min"],
        [
            "is it really better?",
            "Better than the settings that the sweep began from, shown on fresh seeds 1, 2 and 3: test accuracy 0.9680 "
            "against 0.9610; difference +0.0070, 95 % interval +0.0045 to +0.0095.",
        ],
    ]


def test_another_objective_is_shown_besides_the_accuracy() -> None:
    trials = three_trials()
    _, rows = table_rows(made_sweep(trials, objective="gap-per-cost"), trials)
    assert rows[-8:-6] == [["gap closed per cost", "0.6000"], ["accuracy on held-out trusted samples", "0.6500"]]


def test_the_closing_table_of_a_sweep_that_found_nothing() -> None:
    trials = three_trials().assign(state="failed", objective=float("nan"))
    _, rows = table_rows(made_sweep(trials, baseline=None, confirm=None), trials)
    assert rows[:2] == [["best trial", "none: no trial got as far as an objective"], ["trials", "3: 3 failed"]]
    assert rows[-1][1].startswith("Not confirmed: the best of many trials looks better than it is, ")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"verdict": "worse"}, "Worse than the settings that the sweep began from, shown on fresh seeds 1, 2 and 3: "),
        (
            {"seeds": [7], "difference": {"mean": -0.5, "low": None, "high": None}, "verdict": "no difference shown"},
            "No difference shown from the settings that the sweep began from, on fresh seed 7: test accuracy 0.9680 "
            "against 0.9610; difference -0.5000, no interval from so few seeds.",
        ),
    ],
)
def test_the_verdict_in_words(changes: dict[str, Any], says: str) -> None:
    trials = three_trials()
    _, rows = table_rows(made_sweep(trials, confirm={**CONFIRMED, **changes}), trials)
    assert rows[-1][1].startswith(says)


def test_strings_of_the_closing_table_cannot_steer_the_terminal() -> None:
    evil = "\x1b]0;title[bold]"
    trials = three_trials().assign(**{f"setting.{evil}": evil, "state": evil})
    sweep = made_sweep(three_trials(), space=evil, concurrent=evil, seed=evil)
    title, rows = table_rows(sweep, trials)
    assert title == "sweep of \\x1b]0;title[bold], seed \\x1b]0;title[bold]"
    assert ["\\x1b]0;title[bold]", "\\x1b]0;title[bold]"] in rows
    assert ["trials", "3: 3 \\x1b]0;title[bold]"] in rows


def test_the_closing_table_fits_a_narrow_terminal() -> None:
    trials = three_trials()
    sink = io.StringIO()
    Console(file=sink, width=50).print(closing_sweep_table(made_sweep(trials), trials))
    assert all(len(line) <= 50 for line in sink.getvalue().splitlines())
    assert "…" not in sink.getvalue()
