"""The page on Hugging Face's Trainer: its blocks are one script, which runs, and goes on from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from docs_files import DOCS, ROOT, python_blocks

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytestmark = pytest.mark.long

DOMAINS = ROOT.parent / "shared/data/domains"


def test_the_script_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 12 steps; and the same bits where it goes on after 6 of them, since the mentor goes on, too."""
    if not DOMAINS.is_dir():
        pytest.skip(f"{DOMAINS} is not there")
    (tmp_path / "domains").symlink_to(DOMAINS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    for name in ("ACCELERATE_MIXED_PRECISION", "TF_CPP_MIN_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    make, *_ = python_blocks(DOCS / "text.md")
    exec(make.replace("1200", "400"), {})  # noqa: S102 - our own pages
    whole = "\n".join(python_blocks(DOCS / "hugging-face-trainer.md"))
    assert "num_train_epochs=5" in whole
    short = whole.replace("num_train_epochs=5", "max_steps=12, save_steps=6, disable_tqdm=True, use_cpu=True")
    first: dict[str, Any] = {}
    exec(short, first)  # noqa: S102
    accuracy, guards = capsys.readouterr().out.splitlines()[-1].split(maxsplit=1)
    assert 0.3 < float(accuracy) <= 1
    assert guards.startswith("Guards(fallbacks=0, skipped_updates=0, inconsistent_updates=0")
    assert first["mentored"].curriculum.mentor.state.version > 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["checkpoint-12", "checkpoint-6"]
    again: dict[str, Any] = {}
    exec(short.replace("trainer.train()", "trainer.train(resume_from_checkpoint='out/checkpoint-6')"), again)  # noqa: S102
    assert again["mentored"].curriculum.mentor.state.version == first["mentored"].curriculum.mentor.state.version
    for one, other in zip(first["model"].parameters(), again["model"].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
