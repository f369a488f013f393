"""Two workers that draw from several sources: the same shares as one process, and the same bits when they go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accidents import breaking
from mixed_runs import mixed_trainer, sources
from small_runs import assert_same_run, carried

from ray_mentor.cli import main
from ray_mentor.errors import UserError

pytestmark = [pytest.mark.usefixtures("local_ray"), pytest.mark.slow]

SHORT: dict[str, Any] = {"epochs": 3, "checkpoint_steps": 4}


def test_two_workers_go_on_to_the_same_bits_and_learn_what_one_learns(tmp_path: Path) -> None:
    whole = mixed_trainer(tmp_path, "whole", workers=2, **SHORT).fit()
    broken = tmp_path / "broken"
    broken.touch()
    changes: dict[str, Any] = {"workers": 2, "optimizer": breaking(str(broken), after_steps=19), **SHORT}
    with pytest.raises(UserError):
        mixed_trainer(tmp_path, "broke", **changes).fit()
    broken.unlink()
    outcome = mixed_trainer(tmp_path, "broke", resume=True, **changes).fit()
    assert_same_run(outcome, whole)
    alone = mixed_trainer(tmp_path, "alone", **SHORT).fit()
    for one, two in zip(*(carried(each)["mixture"]["updates"] for each in (alone, whole)), strict=True):
        for name in sources():
            np.testing.assert_allclose(two["influence"][name], one["influence"][name], rtol=0.02, atol=1e-4)
            np.testing.assert_allclose(two["shares"][name], one["shares"][name], rtol=1e-3)
    ledger = whole.ledger()
    assert set(ledger["domain"].to_pylist()) == set(sources())
    assert torch.equal(torch.tensor(ledger["step"].to_numpy()).bincount(), torch.full((30,), 30))


def test_two_workers_go_on_with_text_to_the_same_bits(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for name in ("good", "junk", "mine"):
        (tmp_path / f"{name}.txt").write_bytes(draw.integers(97, 123, 6000).astype(np.uint8).tobytes())
    words = [word for name in ("good", "junk") for word in ("--data", f"{name}={tmp_path}/{name}.txt")]
    words += ["--meta-data", f"{tmp_path}/mine.txt", "--format", "text", "--student", "byte-gpt", "--max-tokens", "32"]
    words += ["--epochs", "2", "--batch-size", "16", "--shares-interval", "4", "--method", "uniform", "--workers", "2"]
    words += ["--checkpoint-steps", "9", "--keep-checkpoints", "9", "--storage-path", str(tmp_path)]
    for name in ("whole", "again"):
        assert main(["train", *words, "--run-name", name]) == 0
    whole, again = tmp_path / "whole", tmp_path / "again"
    for last in sorted((again / "checkpoints").glob("*.pt"))[1:]:
        last.unlink()
    left = ("mixture.csv", "student/model.safetensors")
    for name in ("result.json", *left):
        (again / name).unlink()
    assert main(["train", *words, "--run-name", "again", "--resume"]) == 0
    for name in left:
        assert (again / name).read_bytes() == (whole / name).read_bytes(), name
