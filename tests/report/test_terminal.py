"""What a person sees while a run goes on, and at its end."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from typing import Any

import pytest
from rich.console import Console

from ray_mentor.report.terminal import RunDisplay, closing_table, epoch_text, look_at_next
from ray_mentor.report.time_left import TimeLeft

RESULT: dict[str, Any] = {
    "test_accuracy": 0.95125,
    "test_balanced_accuracy": 0.94321,
    "classes": [],
    "mean_sample_weight_elsewhere": 0.7,
    "test_agreement": None,
    "validation_agreement": 0.5781,
    "trusted_accuracy": 29 / 30,
    "trusted_interval": [0.8333, 0.9941],
    "trusted_held_out": 30,
    "kept_epoch": 60,
    "noise_auroc": 0.9987,
    "noise_auroc_of": "1 − sample weight",
    "train_seconds": 9.87,
    "wall_seconds": 41.26,
    "phase_seconds": {"prepare": 5.1, "start_ray": 4.2, "start_workers": 21.3, "train": 9.9, "finish": 0.7},
    "steps": 600,
    "meta_updates": 60,
    "samples_per_second": 7123.4,
    "method": "mentornet",
    "seed": 3,
    "workers": 2,
    "versions": {"python": "3.11.7"},
}


TERMINAL, DUMB = {"TERM": "xterm"}, {"TERM": "dumb"}


def epoch(number: int, **changes: Any) -> dict[str, Any]:
    row = {
        "kind": "epoch",
        "epoch": number,
        "test_accuracy": 0.91,
        "trusted_accuracy": 0.9,
        "validation_agreement": 0.523,
        "mean_sample_weight": 0.612,
        "meta_loss": 0.4321,
        "samples_per_second": 5123.9,
    }
    return {**row, **changes}


def shown(rows: list[dict[str, Any]], epochs: int, **console: Any) -> str:
    sink = io.StringIO()
    with RunDisplay(epochs, Console(**{"file": sink, "highlight": False, "width": 160, **console})) as display:
        for row in rows:
            display.show(row)
    return sink.getvalue()


def whole_run(epochs: int) -> list[dict[str, Any]]:
    return [{"kind": "started", "at": 0.0, "progress": 0.0}, *map(epoch, range(epochs)), {"kind": "ended"}]


def test_an_epoch_is_one_line_of_figures() -> None:
    assert epoch_text(epoch(0)) == (
        "test accuracy 0.910  trusted accuracy 0.900  agreement 0.523  mean weight 0.61  meta loss 0.432  "
        "samples/s 5124"
    )


def test_what_a_run_lacks_is_left_out() -> None:
    row = epoch(0, test_accuracy=None, trusted_accuracy=None, validation_agreement=None, meta_loss=None)
    assert epoch_text(row) == "mean weight 0.61  samples/s 5124"


def test_plain_lines_where_there_is_no_terminal() -> None:
    text = shown(whole_run(3), 3, force_terminal=False)
    lines = text.splitlines()
    assert "\x1b" not in text
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert all(line.endswith(" s left") for line in lines)
    assert lines[-1].endswith("  0 s left")


@pytest.mark.parametrize("epochs", [1, 2, 12, 13, 60, 61, 1000])
def test_a_long_run_is_about_a_dozen_lines_and_ends_with_the_last_epoch(epochs: int) -> None:
    lines = shown(whole_run(epochs), epochs, force_terminal=False).splitlines()
    assert min(epochs, 12) <= len(lines) <= 24
    assert lines[-1].startswith(f"epoch {epochs}/{epochs}  ")


def test_long_lines_are_not_broken() -> None:
    sink = io.StringIO()
    with RunDisplay(1, Console(file=sink, highlight=False, width=40, force_terminal=False)) as display:
        display.show(epoch(0))
    assert sink.getvalue().count("\n") == 1


@pytest.mark.parametrize("terminal", [True, False])
def test_what_befell_a_run_stays_to_be_read(terminal: bool) -> None:
    text = "checkpoint [a] cannot be read; going on from b"
    rows = whole_run(2)
    said = shown([*rows[:2], {"kind": "note", "text": text}, *rows[2:]], 2, force_terminal=terminal, _environ=TERMINAL)
    assert said.count(text) == 1


def test_a_name_in_a_note_cannot_steer_the_terminal() -> None:
    assert "\x1b]0;" not in shown([{"kind": "note", "text": "\x1b]0;title"}], 2, force_terminal=True, _environ=TERMINAL)


def test_one_live_line_in_a_terminal() -> None:
    text = shown(whole_run(3), 3, force_terminal=True, _environ=TERMINAL)
    assert "\x1b[" in text, "the line is drawn over itself"
    assert "epoch 3/3" in text
    assert "meta loss 0.432" in text


def test_plain_lines_in_a_terminal_that_cannot_draw() -> None:
    text = shown(whole_run(2), 2, force_terminal=True, _environ=DUMB)
    assert [line.split("  ")[0] for line in text.splitlines()] == ["epoch 1/2", "epoch 2/2"]


def on_screen(text: str) -> list[str]:
    """The lines that a terminal shows in the end."""
    lines, at = [""], 0
    for kind, line in re.findall(r"\x1b\[(\d*A|2K)|([^\x1b\r\n]+|\n)", re.sub(r"\x1b\[(\d*m|\?25[lh])", "", text)):
        if kind == "2K":
            lines[at] = ""
        elif kind:
            at -= int(kind[:-1])
        elif line == "\n":
            at += 1
            lines += [""] * (at == len(lines))
        else:
            lines[at] += line
    return lines[: at + 1]


@pytest.mark.parametrize("epochs", [2, 3, 60])
def test_the_live_line_is_gone_at_the_end_and_the_epochs_stay(epochs: int) -> None:
    *lines, last = on_screen(shown(whole_run(epochs), epochs, force_terminal=True, _environ=TERMINAL))
    assert last == ""
    plain = shown(whole_run(epochs), epochs, force_terminal=False).splitlines()
    assert [line.partition("  ")[0] for line in lines] == [line.partition("  ")[0] for line in plain]
    assert lines[-1].startswith(f"epoch {epochs}/{epochs}  test accuracy 0.910  ")


@pytest.mark.parametrize(
    ("known", "share", "spread", "said"),
    [
        (None, None, 0.3, "wrong: "),
        ([49, 50], 0.4, 0.3, "wrong, 40.0% of those trained on (38.1% to 43.0%); of the first 50, 49 are wrong: "),
        (
            None,
            0.4,
            0.0,
            "wrong, 40.0% of those trained on or more: a student that no mentor keeps from it learns them by heart: ",
        ),
    ],
)
def test_what_to_look_at_next(known: list[int] | None, share: float | None, spread: float, said: str) -> None:
    found = {"first_known_wrong": known, "wrong_labels": share, "wrong_labels_interval": share and [0.381, 0.43]}
    found["sample_weight_spread"] = spread
    result = {**RESULT, **found}
    first, page, *lines = look_at_next(result, "/runs/a").splitlines()
    assert (first, page) == ("look at next:", "  all of it, on one page: /runs/a/report.html")
    assert look_at_next(result, "/runs/a", has_page=False).splitlines() == [first, *lines]
    far = look_at_next(result, "s3://bucket/a?scheme=http").splitlines()
    assert far[1] == "  all of it, on one page: s3://bucket/a/report.html?scheme=http"
    assert far[3] == "  the trained student: s3://bucket/a/student/?scheme=http"
    assert lines[0] == f"  labels that are most likely {said}/runs/a/audit.csv"
    assert [line.rpartition(": ")[2] for line in lines[1:]] == [
        "/runs/a/student/",
        "/runs/a/metrics.csv",
        "/runs/a/ledger/",
    ]


def test_the_live_display_ends_with_an_error_too() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, _environ=TERMINAL)

    def fail() -> None:
        with RunDisplay(2, console):
            raise RuntimeError("boom")

    for _ in range(2):  # rich refuses a second live display while one is on
        with pytest.raises(RuntimeError, match="boom"):
            fail()


def test_until_the_mentor_learns_the_time_left_is_the_least(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of the run at a second an epoch, the rest at three."""
    clock = iter([0.0, 0.0, 1.0, 2.0, 5.0, 8.0])
    monkeypatch.setattr("ray_mentor.report.terminal.time.monotonic", lambda: next(clock))
    sink = io.StringIO()
    display = RunDisplay(10, Console(file=sink, highlight=False, width=200, force_terminal=False), 0.2)
    display.show({"kind": "started", "at": 0.0, "progress": 0.0})
    for number in range(4):
        display.show(epoch(number))
    said = [line.rpartition("  ")[2] for line in sink.getvalue().splitlines()]
    assert said == ["at least 9 s left", "at least 8 s left", "21 s left", "18 s left"]


def test_a_resumed_run_counts_the_time_left_from_its_own_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 100.0, 110.0])  # made, started, the first epoch of this attempt done
    monkeypatch.setattr("ray_mentor.report.terminal.time.monotonic", lambda: next(clock))
    sink = io.StringIO()
    display = RunDisplay(10, Console(file=sink, highlight=False, width=200, force_terminal=False))
    display.show({"kind": "started", "at": 0.0, "progress": 0.7})
    display.show(epoch(7))
    assert sink.getvalue().strip().endswith("  20 s left"), "two more epochs of ten seconds each"


@pytest.mark.long
def test_a_reader_that_leaves_does_not_end_the_run() -> None:
    """As with `ray-mentor train | head -1`."""
    code = (
        "import sys\nfrom ray_mentor.report.terminal import RunDisplay\n"
        "console = RunDisplay(1).console\n"
        "for _ in range(20000): console.print('a line that nobody reads')\n"
        "print('went on', file=sys.stderr)"
    )
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -c "$CODE" | head -1'],
        env={**os.environ, "CODE": code},
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    assert done.stdout == "a line that nobody reads\n"
    assert done.stderr == "went on\n"


def test_every_figure_fits_a_narrow_terminal() -> None:
    text = shown(whole_run(2), 2, force_terminal=True, _environ=TERMINAL, width=60)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    for word in (
        "epoch 2/2",
        "0 s left",
        "test accuracy",
        "trusted accuracy",
        "agreement",
        "mean weight",
        "meta loss",
        "samples/s",
    ):
        assert word in plain, word
    assert "…" not in plain


def test_a_long_epoch_shows_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 100.0, 110.0, 130.0])  # made, started, after ten seconds, after thirty
    monkeypatch.setattr("ray_mentor.report.terminal.time.monotonic", lambda: next(clock))
    sink = io.StringIO()
    display = RunDisplay(1, Console(file=sink, highlight=False, width=200, force_terminal=False))
    step = {"kind": "step", "epoch": 0, "mean_sample_weight": 0.5, "meta_loss": None, "samples_per_second": 9.0}
    display.show({"kind": "started", "at": 0.0, "progress": 0.0})
    display.show({**step, "progress": 0.1})
    assert sink.getvalue() == "", "a line every 20 s is enough"
    display.show({**step, "progress": 0.25})
    assert sink.getvalue().strip() == "epoch 1/1  mean weight 0.50  samples/s 9  90 s left"


def printed(result: dict[str, Any]) -> str:
    sink = io.StringIO()
    Console(file=sink, width=100).print(closing_table(result))
    return sink.getvalue()


def test_the_closing_table_has_the_figures_and_where_the_time_went() -> None:
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in printed(RESULT).splitlines() if "│" in line]
    assert rows == [
        ["test accuracy", "0.9513"],
        ["accuracy on 30 held-out trusted samples, 95 % interval", "0.967 (0.833 to 0.994)"],
        ["agreement with given labels (at best the share that is right)", "0.5781"],
        ["epoch whose student is kept", "60"],
        ["test accuracy, mean over classes", "0.9432"],
        ["wrong labels known by 1 − sample weight (AUROC: 1 all, 0.5 chance)", "0.9987"],
        ["steps of the student", "600"],
        ["updates of the mentor", "60"],
        ["samples per second", "7123"],
        ["seconds in all", "41.3"],
        ["imports and data", "5.1"],
        ["starting Ray", "4.2"],
        ["starting workers", "21.3"],
        ["training", "9.9"],
        ["closing", "0.7"],
    ]
    assert printed(RESULT).startswith("mentornet, seed 3")


GUARDS: dict[str, Any] = {
    "fallbacks": 0,
    "skipped_updates": 0,
    "inconsistent_updates": 0,
    "updates_without_influence": 0,
    "mentor_stopped_at": None,
    "meta_loss": 0.0512,
    "meta_holdout_loss": 0.1049,
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {},
            [
                ["the mentor's loss on trusted samples, and on held-out ones", "0.051, 0.105"],
                ["times the mentor was overruled", "none"],
            ],
        ),
        ({"meta_holdout_loss": None}, [["times the mentor was overruled", "none"]]),
        ({"meta_loss": None}, [["times the mentor was overruled", "none"]]),
        (
            {"meta_loss": None, "fallbacks": 12},
            [["steps with equal weights (the mentor believed next to no sample)", "12 of 600"]],
        ),
        (
            {"fallbacks": 12, "skipped_updates": 3, "mentor_stopped_at": 0},
            [
                ["the mentor's loss on trusted samples, and on held-out ones", "0.051, 0.105"],
                ["steps with equal weights (the mentor believed next to no sample)", "12 of 600"],
                ["updates of the mentor skipped (not finite)", "3 of 60"],
                ["mentor stopped learning (held-out loss rose)", "after 0 of 600 steps"],
            ],
        ),
        (
            {"meta_loss": None, "skipped_updates": 7, "inconsistent_updates": 5, "updates_without_influence": 9},
            [
                ["updates of the mentor skipped (not finite)", "2 of 60"],
                ["updates of the mentor skipped (influences that don't add up)", "5 of 60"],
                ["updates of the mentor that no sample had a say in", "9 of 60"],
            ],
        ),
        (
            {"meta_loss": None, "skipped_updates": 5, "inconsistent_updates": 5},
            [
                ["updates of the mentor skipped (influences that don't add up)", "5 of 60"],
            ],
        ),
    ],
)
def test_the_closing_table_says_what_the_guards_did(changes: dict[str, Any], expected: list[list[str]]) -> None:
    text = printed({**RESULT, "guards": {**GUARDS, **changes}})
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in text.splitlines() if "│" in line]
    assert rows[8:-7] == expected


def test_the_closing_table_of_a_run_before_influences_were_added_up() -> None:
    counted = ("inconsistent_updates", "updates_without_influence")
    earlier = {name: value for name, value in GUARDS.items() if name not in counted}
    assert printed({**RESULT, "guards": earlier}) == printed({**RESULT, "guards": GUARDS})


def test_without_trusted_samples_none_is_said_to_have_been_held_out() -> None:
    none = {**RESULT, "guards": GUARDS, "trusted_accuracy": None, "trusted_held_out": 0}
    text = " ".join(printed(none).replace("│", " ").split())
    assert "the mentor's loss on its meta set, and on the validation split (given labels) 0.051, 0.105" in text


def test_the_closing_table_of_a_run_in_this_process_speaks_of_no_workers() -> None:
    text = printed({**RESULT, "workers": 0})
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in text.splitlines() if "│" in line]
    assert rows[-4:] == [["imports and data", "5.1"], ["setting up", "21.3"], ["training", "9.9"], ["closing", "0.7"]]


def test_the_closing_table_of_a_method_without_a_mentor() -> None:
    assert printed({**RESULT, "guards": None}) == printed(RESULT)


@pytest.mark.parametrize(("what", "value"), [("test_accuracy", 0.95125), ("test_agreement", 0.6)])
def test_the_closing_table_of_two_students(what: str, value: float) -> None:
    of_each = {f"{what}_first": 0.94, f"{what}_second": 0.93}
    text = printed({**RESULT, "test_accuracy": None, what: value, **of_each})
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in text.splitlines() if "│" in line]
    [place] = [i for i, row in enumerate(rows) if row == ["of the first student alone", "0.9400"]]
    assert rows[place - 1][1] == f"{value:.4f}"
    assert rows[place + 1] == ["of the second student alone", "0.9300"]


def test_the_closing_table_leaves_out_what_is_not_known() -> None:
    unknown = (
        "test_accuracy",
        "trusted_accuracy",
        "validation_agreement",
        "kept_epoch",
        "noise_auroc",
        "test_balanced_accuracy",
    )
    text = printed({**RESULT, **dict.fromkeys(unknown)})
    assert not [word for word in ("accuracy", "agreement", "kept", "AUROC") if word in text]


def test_without_a_known_truth_the_table_begins_with_held_out_trusted_samples() -> None:
    text = printed({**RESULT, "test_accuracy": None, "test_agreement": 0.6431})
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in text.splitlines() if "│" in line]
    assert rows[:2] == [
        ["accuracy on 30 held-out trusted samples, 95 % interval", "0.967 (0.833 to 0.994)"],
        ["agreement with given labels (at best the share that is right)", "0.6431"],
    ]
    assert "test accuracy" not in text
    live = epoch_text(epoch(0, test_accuracy=None, test_agreement=0.6431))
    assert live.startswith("trusted accuracy 0.900  agreement 0.643  ")


def test_the_auroc_says_what_it_is_of() -> None:
    assert "wrong labels known by mean loss (AUROC" in printed({**RESULT, "noise_auroc_of": "mean loss"})


def figures_of(name: str, share: float, **changes: Any) -> dict[str, Any]:
    known = {"is_rare": share < 0.1, "mean_sample_weight": 0.604, "test_accuracy": 0.5}
    return {"class": name, "training_share": share, **known, **changes}


def test_sizes_are_told_of_where_classes_are_uneven() -> None:
    sizes = {"test_many_accuracy": 0.9, "test_medium_accuracy": None, "test_few_accuracy": 0.25}
    worst = {"test_worst_class": "\x1b[a", "test_worst_class_accuracy": 0.125}
    text = printed({**RESULT, **sizes, **worst, "class_ratio": 20.0})
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in text.splitlines() if "│" in line]
    [place] = [i for i, row in enumerate(rows) if row[0] == "test accuracy, mean over classes"]
    assert rows[place + 1 : place + 4] == [
        ["classes of more than 100 training samples", "0.9000"],
        ["classes of fewer than 20", "0.2500"],
        ["worst class, \\x1b[a", "0.1250"],
    ]
    assert "worst class" not in printed({**RESULT, **sizes, **worst, "class_ratio": 2.0})


def test_rare_classes_are_told_of_one_by_one() -> None:
    classes = [
        figures_of("\x1b[a", 0.01, test_accuracy=None),
        figures_of("b", 0.0321, test_precision=0.75),
        figures_of("c", 0.9579),
    ]
    text = printed({**RESULT, "classes": classes, "mean_sample_weight_elsewhere": 0.8912})
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in text.splitlines() if "│" in line]
    assert [row for row in rows if "rare" in row[0] or "other" in row[0]] == [
        ["rare class \\x1b[a, 1.0% of samples", "weight 0.60"],
        ["rare class b, 3.2% of samples", "accuracy 0.50, precision 0.75, weight 0.60"],
        ["mean weight of the other classes", "0.89"],
    ]


def test_of_many_rare_classes_the_rarest_are_told_of() -> None:
    text = printed({**RESULT, "classes": [figures_of(f"n{number}", 0.01) for number in range(9)]})
    assert re.findall(r"rare class (n\d)", text) == ["n0", "n1", "n2", "n3", "n4"]


ERRS = "the student is wrong on 67% of held-out trusted samples, so many of these may be right"


@pytest.mark.parametrize(
    ("trusted", "interval", "said"),
    [
        (
            0.33,
            [0.19, 0.51],
            "; the student is wrong on 67% of held-out trusted samples, so many of these may be right",
        ),
        (0.7, [0.52, 0.84], "; the student is wrong on 30% of held-out trusted samples, so many of these may be right"),
        (0.9, [0.74, 0.97], ""),
        (None, None, ""),
    ],
)
def test_a_student_that_errs_itself_is_not_believed_without_a_word(
    trusted: float | None, interval: list[float] | None, said: str
) -> None:
    found = {"first_known_wrong": None, "wrong_labels": 0.53, "wrong_labels_interval": [0.33, 0.7]}
    result = {**RESULT, **found, "sample_weight_spread": 0.3, "trusted_accuracy": trusted, "trusted_interval": interval}
    assert f"(33.0% to 70.0%){said}: " in look_at_next(result, "/runs/a")


def test_two_rows_of_the_same_moment_say_no_years() -> None:
    left = TimeLeft(0.0, learns_from=0.15)
    left.start(0.0, 0.0)
    said = [left.said(now, progress) for now, progress in [(1.0, 0.1), (2.0, 0.2), (2.0, 0.2), (3.0, 0.2), (4.0, 0.4)]]
    assert said == ["at least 9 s left", "8 s left", "8 s left", "16 s left", "6 s left"]
