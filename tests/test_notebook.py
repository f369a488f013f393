"""What a notebook shows: a table that is refreshed, messages in Python's words, outcomes in a few lines, pictures."""

from __future__ import annotations

import dataclasses
import re
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_runs import EPOCHS, trainer_for

from ray_mentor.config import GROUPS, TrainConfig
from ray_mentor.config.described import described
from ray_mentor.data import Splits
from ray_mentor.errors import StoppedByUser, UserError
from ray_mentor.extras import MissingExtraError
from ray_mentor.report.notebook import NotebookDisplay
from ray_mentor.run.directory import fresh_name
from ray_mentor.run.outcome import Outcome
from ray_mentor.wording import SWITCHES, in_python


class Shell:
    """A kernel's, which takes down what is published."""

    def __init__(self) -> None:
        self.kernel = object()
        self.display_pub = self
        self.published: list[tuple[dict[str, str], str, bool]] = []

    def publish(self, data: dict[str, str], metadata: dict[str, Any], *, transient: Any, update: bool) -> None:
        self.published.append((data, transient["display_id"], update))


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    made = Shell()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: made))  # type: ignore[arg-type]
    return made


def test_a_run_shows_one_table_that_is_refreshed(shell: Shell, small_splits: Splits, tmp_path: Path) -> None:
    trainer_for(small_splits, tmp_path, "run", scaling_config=None).fit()
    assert len({place for _, place, _ in shell.published}) == 1
    assert [update for *_, update in shell.published] == [False] + [True] * (len(shell.published) - 1)
    data, *_ = shell.published[-1]
    lines = data["text/plain"].splitlines()
    assert re.fullmatch("epoch +test agreement .*", lines[0]) or "trusted accuracy" in lines[0]
    assert lines[EPOCHS].lstrip().startswith(f"{EPOCHS}/{EPOCHS}  ")
    assert lines[EPOCHS + 1].startswith("workers: 0, this process trains (")
    assert "; workers=2 starts two, on Ray)" in lines[EPOCHS + 1], "in Python's words"
    assert lines[-1] == "done"
    assert data["text/html"].startswith("<table><tr><td>epoch</td>")


def test_whoever_shows_by_themselves_gets_no_table(shell: Shell, small_splits: Splits, tmp_path: Path) -> None:
    trainer_for(small_splits, tmp_path, "run", epochs=1).fit(lambda row: None)
    assert shell.published == []


def test_no_kernel_no_table(shell: Shell, small_splits: Splits, tmp_path: Path) -> None:
    """As in a terminal's IPython."""
    shell.kernel = None  # type: ignore[assignment]
    trainer_for(small_splits, tmp_path, "run", epochs=1).fit()
    assert shell.published == []


def test_a_long_run_is_refreshed_now_and_then_and_keeps_a_dozen_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    shell = Shell()
    display = NotebookDisplay(shell, 1000)
    display.show({"kind": "started", "at": 0.0, "progress": 0.0})
    for epoch in range(900):
        clock[0] += 0.1
        display.show({"kind": "epoch", "epoch": epoch, "test_accuracy": 0.5, "mean_sample_weight": 1.0})
    assert 200 < len(shell.published) < 320
    lines = shell.published[-1][0]["text/plain"].splitlines()
    assert len(lines) <= 15
    assert lines[-2].split()[0] in ("898/1000", "899/1000", "900/1000")
    assert lines[-1] == "10 s left"


def test_epochs_that_are_gone_through_again_after_a_failure_are_shown_once() -> None:
    shell = Shell()
    display = NotebookDisplay(shell, 4)
    for epoch in (0, 1, 2):
        display.show({"kind": "epoch", "epoch": epoch, "test_accuracy": 0.1, "mean_sample_weight": 1.0})
    display.show({"kind": "started", "at": 0.0, "progress": 0.25})
    for epoch in (1, 2, 3):
        display.show({"kind": "epoch", "epoch": epoch, "test_accuracy": 0.2, "mean_sample_weight": 1.0})
    display.show({"kind": "ended"})
    lines = shell.published[-1][0]["text/plain"].splitlines()
    assert [line.split()[:2] for line in lines[1:-1]] == [
        ["1/4", "0.100"], ["2/4", "0.200"], ["3/4", "0.200"], ["4/4", "0.200"],
    ]  # fmt: skip


def test_an_epoch_that_has_begun_has_no_accuracy_yet() -> None:
    shell = Shell()
    display = NotebookDisplay(shell, 4)
    display.show({"kind": "epoch", "epoch": 0, "test_accuracy": 0.1, "mean_sample_weight": 0.5})
    display.show({"kind": "step", "epoch": 1, "progress": 0.3, "mean_sample_weight": 0.75})
    display.show({"kind": "note", "text": "so"})
    lines = shell.published[-1][0]["text/plain"].splitlines()
    assert [line.split() for line in lines[1:3]] == [["1/4", "0.100", "0.500"], ["2/4", "0.750"]]


def test_what_is_published_is_no_html_of_anybodys(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell()
    NotebookDisplay(shell, 1).show({"kind": "note", "text": "<script>"})
    assert "<script>" not in shell.published[-1][0]["text/html"]


# Names, and what goes on


def test_every_fit_without_a_name_gets_a_fresh_one(small_splits: Splits, tmp_path: Path) -> None:
    trainer = trainer_for(small_splits, tmp_path, "", run_config=None, storage_path=str(tmp_path), epochs=1)
    outcomes = [trainer.fit(), trainer.fit()]
    assert outcomes[0].path != outcomes[1].path
    assert sorted(str(path) for path in tmp_path.iterdir()) == sorted(outcome.path for outcome in outcomes)
    for outcome in outcomes:
        assert f'run_name = "{Path(outcome.path).name}"' in (Path(outcome.path) / "config.toml").read_text()
    assert outcomes[0].result["trusted_accuracy"] == outcomes[1].result["trusted_accuracy"]


def test_a_name_that_was_given_is_taken_once(small_splits: Splits, tmp_path: Path) -> None:
    trainer = trainer_for(small_splits, tmp_path, "run", epochs=1)
    trainer.fit()
    with pytest.raises(UserError, match=r"run .*/run is there already"):
        trainer.fit()


def test_names_of_one_moment_differ() -> None:
    names = [fresh_name("mentornet", "x" * 100) for _ in range(20)]
    assert len(set(names)) == 20
    assert all(re.fullmatch(r"mentornet-x{38}-\d{8}-\d{6}-\d+", name) for name in names)


def test_stop_says_how_to_go_on(small_splits: Splits, tmp_path: Path) -> None:
    def stop(row: Any) -> None:
        if row["kind"] == "epoch" and row["epoch"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(StoppedByUser) as raised:
        trainer_for(small_splits, tmp_path, "run").fit(stop)
    assert str(raised.value).endswith("; to go on: run_name='run', resume=True")
    assert trainer_for(small_splits, tmp_path, "run", resume=True).fit().result["steps"] == 20


# Words


@pytest.mark.parametrize(
    ("said", "in_pythons_words"),
    [
        ("give it another --run-name, or go on with it: --resume", "give it another run_name, or go on with it: "
         "resume=True"),
        ("give fewer --workers, or --no-gpu", "give fewer workers, or gpu=False"),
        ("give --workers 0, or another estimator: --estimator jvp", "give workers=0, or another estimator: "
         "estimator='jvp'"),
        ("raise --batch-size, or lower it", "raise batch_size, or lower it"),
        ("leave --data-backend out", "leave data_backend out"),
        ("give --update-interval 3 or more --epochs", "give update_interval=3 or more epochs"),
        ("give --mentor-params FILE.npz", "give mentor_params=FILE.npz"),
        ("re-checked, say so: --clean-test", "re-checked, say so: clean_test=True"),
        ("a pre--release, 3 -- 4, a-b", "a pre--release, 3 -- 4, a-b"),
        ("--config /a/b.toml, or start another run", "config /a/b.toml, or start another run"),
    ],
)  # fmt: skip
def test_options_become_fields(said: str, in_pythons_words: str) -> None:
    assert in_python(said) == in_pythons_words


def test_what_is_on_or_off_is_known() -> None:
    assert {each.name for group in GROUPS for each in described(group) if each.kind == "bool"} == SWITCHES


def test_an_error_is_shown_in_a_few_lines() -> None:
    with pytest.raises(UserError) as raised:
        TrainConfig().changed(resume=True)
    raised.value.add_note("saved: step 5; go on with --resume")
    assert raised.value._render_traceback_() == [
        f"line {raised.traceback[0].lineno + 1}: TrainConfig().changed(resume=True)",
        "UserError: resume is True, but it needs run_name",
        "saved: step 5; go on with resume=True",
    ]


# Outcomes


@pytest.fixture(scope="module")
def outcome(small_splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return trainer_for(small_splits, tmp_path_factory.mktemp("runs"), "run").fit()


def test_an_outcome_is_shown_in_a_few_lines(outcome: Outcome) -> None:
    lines = repr(outcome).splitlines()
    assert re.match(r"mentornet: test accuracy 0\.\d{3}, accuracy on held-out trusted samples \d\.\d{3}", lines[0])
    assert lines[1] == f"in {outcome.path}"
    assert lines[2].startswith("next: outcome.plot(), outcome.audit()")
    assert len(lines) == 3 + len(outcome.result["notes"])
    assert not re.search("--[a-z]", repr(outcome))


@pytest.mark.parametrize("truth", [True, False])
def test_a_picture(outcome: Outcome, truth: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    if not truth:
        ledger = outcome.ledger()
        place = ledger.column_names.index("true_label")
        unknown = ledger.set_column(place, "true_label", [[None] * len(ledger)]).cast(ledger.schema)
        monkeypatch.setattr("ray_mentor.run.outcome.read_ledger", lambda directory: unknown)
    figure = outcome.plot()
    first, second, third = figure.axes
    assert [line.get_label() for line in second.lines] == (
        ["right labels", "wrong labels"] if truth else ["all samples"]
    )
    assert len(first.lines[0].get_xdata()) == EPOCHS
    assert sum(len(dots.get_offsets()) for dots in third.collections) == 150
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_a_picture_of_a_run_of_which_nothing_was_measured(outcome: Outcome) -> None:
    pytest.importorskip("matplotlib")
    unmeasured = [{"epoch": row["epoch"], "test_accuracy": None} for row in outcome.metrics]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = dataclasses.replace(outcome, metrics=unmeasured).plot()
    assert [axes.get_legend() is None for axes in figure.axes] == [True, False, True]


def test_a_picture_without_matplotlib(outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "ray_mentor.run.findings.picture", raising=False)
    monkeypatch.delitem(sys.modules, "matplotlib.figure", raising=False)
    with pytest.raises(MissingExtraError) as raised:
        outcome.plot()
    assert str(raised.value) == (
        "outcome.plot() needs matplotlib, which is not installed; pip install 'ray-mentor[plot]'"
    )
