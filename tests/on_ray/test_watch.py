"""Who watches a run: every row is shown, and an error in what shows them is heard of."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ray_mentor.on_ray.train import watch
from ray_mentor.run.progress import ProgressBoard, Row


class Here:
    """A board in this process, called as an actor is."""

    def __init__(self) -> None:
        self.board = ProgressBoard()
        self.read = self

    def remote(self, seen: int) -> tuple[int, list[Row]]:
        return self.board.read(seen)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(watch.ray, "get", lambda answer: answer)
    monkeypatch.setattr(watch, "_EVERY", 0.01)
    return Here()


def test_every_row_is_shown_by_the_end(here: Any) -> None:
    rows: list[Row] = []
    with watch.watched(here, rows.append):
        for number in range(100):
            here.board.post({"kind": "step", "number": number})
            time.sleep(0.001)
    assert [row["number"] for row in rows] == list(range(100))


def watch_until_told(board: Any, calls: list[Row], captured: pytest.CaptureFixture[str]) -> None:
    """A run that goes on until the error of what shows its rows is told."""

    def show(row: Row) -> None:
        calls.append(row)
        raise LookupError("no such chart")

    deadline = time.monotonic() + 60
    with watch.watched(board, show):
        while "no such chart" not in captured.readouterr().err:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if len(calls) > 1:
            raise EOFError


def test_an_error_of_what_shows_rows_is_raised_when_the_run_has_ended(
    here: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a thread nobody hears it; told at once it is as well."""
    calls: list[Row] = []
    here.board.post({"kind": "step"})
    here.board.post({"kind": "epoch"})
    with pytest.raises(LookupError, match="no such chart"):
        watch_until_told(here, calls, capsys)
    assert calls == [{"kind": "step"}]


def test_the_runs_own_error_comes_first(here: Any, capsys: pytest.CaptureFixture[str]) -> None:
    here.board.post({"kind": "step"})
    with pytest.raises(EOFError):
        watch_until_told(here, [{"kind": "started"}], capsys)
