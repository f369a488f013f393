"""A run in the user's own process trains a small student on one thread, and leaves PyTorch as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_runs import trainer_for

from ray_mentor.data import Splits

SEEN: set[int] = set()


class Looks(torch.nn.Linear):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        SEEN.add(torch.get_num_threads())
        return super().forward(inputs)


def student() -> torch.nn.Module:
    return Looks(8, 3)


def test_a_small_student_has_one(small_splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    SEEN.clear()
    torch.set_num_threads(2)
    try:
        trainer = trainer_for(small_splits, tmp_path, "run", student=student, epochs=1)
        SEEN.clear()  # it was tried
        trainer.fit()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert {1} == SEEN
