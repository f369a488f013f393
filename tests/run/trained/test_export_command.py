"""``ray-mentor export``: a program that takes raw inputs, of any number, and says what the student says."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from trained_students import CLASSES, feature_samples, image_samples, images, left_by, named, seeded

from ray_mentor import Student
from ray_mentor.core.student.pair import pair_of
from ray_mentor.run.trained import exported

PIXELS = images()
SAMPLES = image_samples(PIXELS)
FEATURES = np.random.default_rng(1).normal(50, 3, (11, 4)).astype(np.float32)

pytestmark = pytest.mark.long  # tracing takes seconds


def logits_of(file: str, raw: np.ndarray) -> np.ndarray:
    """By those who know nothing of this package."""
    if file.endswith(".pt2"):
        with torch.no_grad():
            return torch.export.load(file).module()(torch.from_numpy(raw)).numpy()
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(file)
    assert json.loads(session.get_modelmeta().custom_metadata_map["student.json"])["classes"] == list(CLASSES)
    return session.run(None, {"raw": raw})[0]


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


@pytest.mark.parametrize(
    ("what", "kind", "file"),
    [("images", "onnx", "s.onnx"), ("features", "torch", "s.pt2"), ("two students", "torch", "s.pt2")],
)
def test_the_program_says_of_raw_inputs_what_the_student_says(
    command: Any, tmp_path: Path, what: str, kind: str, file: str
) -> None:
    samples, raw = (feature_samples(FEATURES), FEATURES) if what == "features" else (SAMPLES, PIXELS)
    build = named(samples, "mlp" if what == "features" else "cnn")
    both = what == "two students"
    module = seeded(functools.partial(pair_of, build) if both else build)
    run = left_by(tmp_path / "run", samples, build, module, students=1 + both)
    code, said = command("export", run, "--to", kind, "--out", file)
    assert code == 0
    shape = "N, 4" if what == "features" else "N, 8, 8, 3"
    assert f"({shape}), which are normalised inside; out: logits (N, 3); any N >= 1\n" in said
    expected = Student.from_run(run).predict(raw)
    assert softmax(logits_of(file, raw)) == pytest.approx(expected, abs=1e-5)
    assert softmax(logits_of(file, raw[:1])) == pytest.approx(expected[:1], abs=1e-5)
    assert float(said.split("differ from the student's by ")[1].split()[0]) < 1e-5


def test_a_program_whose_logits_are_others_is_not_written(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = feature_samples(FEATURES)
    build = named(samples, "mlp")
    run = left_by(tmp_path / "run", samples, build, seeded(build))
    right = exported._torch_program
    monkeypatch.setattr(exported, "_torch_program", lambda content: lambda raw: right(content)(raw) + 1e-3)
    code, said = command("export", run, "--out", "s.pt2")
    assert code == 2
    assert "the program's logits differ from the student's by 1.0e-03 (of up to " in said
    assert not Path("s.pt2").exists()


class Branching(nn.Linear):
    """What it does depends on its inputs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x if x.sum() > 0 else -x)


def test_a_student_that_cannot_be_traced_is_said(command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(tmp_path, "branching.py").write_text(
        "from test_export_command import Branching\n\n\ndef make(shape, classes):\n    return Branching(4, 3)\n"
    )
    run = left_by(tmp_path / "run", feature_samples(FEATURES), Branching, Branching(4, 3))
    code, said = command("export", run, "--out", "s.pt2", "--student", "branching.py:make")
    assert code == 2
    assert "error: the student can't be exported to torch (" in said
    assert not Path("s.pt2").exists()
