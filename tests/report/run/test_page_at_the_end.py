"""A run writes its page as it ends, however it ends; and a page that can't be written ends no run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from page_text import words
from small_runs import EPOCHS, make_small_splits, trainer_for
from torch import Tensor
from torch.nn import functional as F

from ray_mentor.errors import StoppedByUser, UserError
from ray_mentor.on_ray.train.gate import Gate
from ray_mentor.report.run import written
from ray_mentor.run.audit.audit import Audit


def page_of(storage: Path, name: str) -> str:
    return words((storage / name / "report.html").read_text())


def test_at_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Audit] = []

    def once(*args: Any) -> Audit:
        made.append(from_run(*args))
        return made[-1]

    from_run = Audit.from_run
    monkeypatch.setattr(Audit, "from_run", once)
    outcome = trainer_for(make_small_splits(), tmp_path, "whole").fit()
    assert len(made) == 1, "the ledger is read for it once, and the page shows what the files hold"
    text = page_of(tmp_path, "whole")
    assert f"It came to its end, in {outcome.result['wall_seconds']:.1f} s, with test accuracy" in text
    assert "method mentornet" in text.lower()
    assert f"{made[0].rate}. The 100 most suspicious of 150 samples" in text


def test_when_it_is_stopped(tmp_path: Path) -> None:
    def stop(row: Any) -> None:
        if row["kind"] == "epoch" and row["epoch"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(StoppedByUser) as stopped:
        trainer_for(make_small_splits(), tmp_path, "stopped").fit(stop)
    text = page_of(tmp_path, "stopped")
    assert f"of {EPOCHS} epochs are done. It was stopped; {stopped.value.saved}." in text


def not_finite_from(step: int) -> Any:
    calls = iter(range(10**6))

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        losses = F.cross_entropy(logits, labels, reduction="none")
        return losses * torch.nan if next(calls) > step else losses

    return loss


def test_when_it_fails(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="loss"):
        trainer_for(make_small_splits(), tmp_path, "failed", loss=not_finite_from(40)).fit()
    text = page_of(tmp_path, "failed")
    assert f"of {EPOCHS} epochs are done. NonFiniteLossError: " in text


def test_a_page_that_fails_is_told_of_and_the_run_ends_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(written, "write_report", broken)
    rows: list[Any] = []
    outcome = trainer_for(make_small_splits(), tmp_path, "told").fit(rows.append)
    assert outcome.result["test_accuracy"] > 0.5
    assert not (tmp_path / "told/report.html").exists()
    assert rows[-1]["kind"] == "note"
    assert rows[-1]["text"].startswith("no report.html was written (RuntimeError: boom); ")


def test_one_of_many_runs_writes_none(tmp_path: Path) -> None:
    gate = Gate()
    gate.let_pass(EPOCHS)
    trainer_for(make_small_splits(), tmp_path, "one-of-many").fit(gate=gate)
    assert (tmp_path / "one-of-many/result.json").exists()
    assert not (tmp_path / "one-of-many/report.html").exists()
