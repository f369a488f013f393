"""What became of each class, by the predictions on the test split and the ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from small_data import feature_samples
from torch import Tensor, nn

from ray_mentor.data import FeatureInputs, Samples
from ray_mentor.errors import UserError
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.class_figures import class_figures
from ray_mentor.run.findings.names import CLASSES
from ray_mentor.run.findings.predictions import PREDICTIONS, write_predictions
from ray_mentor.run.ledger.rows import SCHEMA


def run_of(path: Path, weights: dict[int, list[float]], classes: int, predicted: list[tuple[int, int]]) -> RunDirectory:
    """A run whose last epoch, 1, gave these sample weights by given label, and (label, predicted) of its test split."""
    directory = RunDirectory(str(path))
    directory.create()
    rows = [
        {
            "sample_id": number,
            "epoch": epoch,
            "step": epoch,
            "loss": 1.0,
            "scored_weight": 0.5,
            "sample_weight": weight if epoch else 0.123,
            "influence": None,
            "given_label": label,
            "true_label": None,
        }
        for epoch in (0, 1)
        for label, some in weights.items()
        for number, weight in enumerate(some)
    ]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path / "ledger/rows.parquet")
    directory.write(CLASSES, json.dumps([f"class {label}" for label in range(classes)]).encode())
    if predicted:
        labels, said = zip(*predicted, strict=True)
        table = pa.table({"sample_id": range(len(labels)), "label": labels, "predicted": said})
        pyarrow.parquet.write_table(table, path / PREDICTIONS)
    return directory


def test_by_hand(tmp_path: Path) -> None:
    """Of class 0 two of three are right, of class 1 the one, of class 2 there is none, and one is taken for it."""
    predicted = [(0, 0), (0, 0), (0, 2), (1, 1)]
    found = class_figures(run_of(tmp_path, {0: [0.75] * 6, 1: [0.25, 0.5], 2: [1.0] * 32}, 3, predicted), 1)
    assert found["test_balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["test_macro_f1"] == pytest.approx((2 * 2 / (3 + 2) + 1 + 0) / 3)
    assert found["test_confusion"] == [[2, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert [each["class"] for each in found["classes"]] == ["class 1", "class 0", "class 2"]
    assert [each["training_share"] for each in found["classes"]] == [0.05, 0.15, 0.8]
    assert [each["is_rare"] for each in found["classes"]] == [True, False, False]
    assert [each["mean_sample_weight"] for each in found["classes"]] == [0.375, 0.75, 1.0]
    assert [each["test_accuracy"] for each in found["classes"]] == [1.0, pytest.approx(2 / 3), None]
    assert [each["test_precision"] for each in found["classes"]] == [1.0, 1.0, 0.0]
    assert found["mean_sample_weight_elsewhere"] == pytest.approx((6 * 0.75 + 32) / 38)
    json.dumps(found, allow_nan=False)


def test_as_scikit_learn_has_it(tmp_path: Path) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 7, 300)
    said = np.where(draw.random(300) < 0.6, labels, draw.integers(0, 8, 300))
    pairs = list(zip(labels.tolist(), said.tolist(), strict=True))
    found = class_figures(run_of(tmp_path, {0: [1.0]}, 8, pairs), 1)
    assert found["test_balanced_accuracy"] == pytest.approx(
        metrics.recall_score(labels, said, average="macro", labels=range(7))
    )
    assert found["test_macro_f1"] == pytest.approx(metrics.f1_score(labels, said, average="macro"))
    precisions = metrics.precision_score(labels, said, average=None, labels=range(8), zero_division=0)
    by_name = {each["class"]: each["test_precision"] for each in found["classes"]}
    assert [by_name[f"class {label}"] for label in range(8)] == pytest.approx(precisions.tolist())
    assert found["test_confusion"] == metrics.confusion_matrix(labels, said, labels=range(8)).tolist()


@pytest.mark.parametrize(
    ("counts", "rare"),
    [([96, 4], [1]), ([90, 10], []), ([10] * 10, []), ([1] * 100, []), ([20] * 9 + [8], [9]), ([50, 50, 0], [])],
)
def test_which_classes_are_rare(tmp_path: Path, counts: list[int], rare: list[int]) -> None:
    """Ten equal classes of a tenth each are none."""
    weights = {label: [1.0] * count for label, count in enumerate(counts)}
    found = class_figures(run_of(tmp_path, weights, len(counts), []), 1)
    assert [each["class"] for each in found["classes"] if each["is_rare"]] == [f"class {label}" for label in rare]


def test_without_a_test_split(tmp_path: Path) -> None:
    found = class_figures(run_of(tmp_path, {0: [1.0], 1: [0.5]}, 3, []), 1)
    assert [found[f"test_{name}"] for name in ("balanced_accuracy", "macro_f1", "confusion")] == [None] * 3
    assert [each["mean_sample_weight"] for each in found["classes"]] == [None, 1.0, 0.5]


@pytest.mark.parametrize("content", [b"PAR1", b"", None])
def test_damaged_predictions_are_said(tmp_path: Path, content: bytes | None) -> None:
    """A finished run that is taken up once more reads what it wrote then."""
    directory = run_of(tmp_path, {0: [1.0]}, 1, [(0, 0)])
    written = directory.read(PREDICTIONS) or b""
    directory.write(PREDICTIONS, written[:-20] if content is None else content)
    with pytest.raises(UserError, match=r"/predictions.parquet cannot be read \(.*\); put it back"):
        class_figures(directory, 1)


def test_of_very_many_classes_the_rarest_are_told_of(tmp_path: Path) -> None:
    weights = {label: [1.0] * (1 + label) for label in range(150)}
    found = class_figures(run_of(tmp_path, weights, 150, [(149, 149), (0, 3)]), 1)
    assert found["test_confusion"] is None
    assert found["test_balanced_accuracy"] == 0.5
    assert [each["class"] for each in found["classes"]] == [f"class {label}" for label in range(100)]


def test_a_student_with_more_outputs_than_there_are_classes(tmp_path: Path) -> None:
    found = class_figures(run_of(tmp_path, {0: [1.0]}, 2, [(0, 0), (1, 3)]), 1)
    assert found["test_confusion"] == [[1, 0, 0, 0], [0, 0, 0, 1]]
    assert found["test_macro_f1"] == pytest.approx(1 / 3)


class Noisy(nn.Module):
    """Another class in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 10)
        self.norm = nn.BatchNorm1d(10)

    def forward(self, inputs: Tensor) -> Tensor:
        out: Tensor = self.norm(self.layer(inputs))
        return -out if self.training else out


@pytest.mark.parametrize("names", [False, True])
def test_the_predictions_of_a_state_whatever_the_student_has_come_to(tmp_path: Path, names: bool) -> None:
    torch.manual_seed(0)
    kept, student = Noisy(), Noisy()
    samples = feature_samples(1100)
    strings = pa.array([f"s{number}" for number in range(1100)], pa.large_string()) if names else None
    samples = Samples(samples.inputs, samples.ids, samples.labels, None, samples.classes, strings)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    beats: list[int] = []
    directory = RunDirectory(str(tmp_path))
    directory.create()
    write_predictions(directory, student, kept.state_dict(), samples, lambda: beats.append(1))
    assert student.training
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    found = pyarrow.parquet.read_table(tmp_path / PREDICTIONS)
    assert isinstance(samples.inputs, FeatureInputs)
    inputs: Any = samples.inputs.take(np.arange(1100))
    assert found["predicted"].to_pylist() == kept.eval()(inputs).argmax(dim=1).tolist()
    assert found["label"].to_pylist() == samples.labels.tolist()
    assert found["sample_id"].to_pylist()[-2:] == (["s1098", "s1099"] if names else [1098, 1099])
    assert len(beats) == 3


def test_classes_by_their_numbers_of_training_samples(tmp_path: Path) -> None:
    """Of 101, 100, 20 and 19 samples, of which the test split has no sample of the third; the fourth is the worst."""
    weights = {label: [1.0] * count for label, count in enumerate((101, 100, 20, 19))}
    found = class_figures(run_of(tmp_path, weights, 4, [(0, 0), (1, 1), (1, 2), (3, 0)]), 1)
    assert [found[f"test_{name}_accuracy"] for name in ("many", "medium", "few")] == [1.0, 0.5, 0.0]
    assert (found["test_worst_class"], found["test_worst_class_accuracy"]) == ("class 3", 0.0)
    assert found["class_ratio"] == pytest.approx(101 / 19)
    found = class_figures(run_of(tmp_path / "even", {0: [1.0] * 30, 1: [1.0] * 30}, 2, []), 1)
    assert [found[f"test_{name}_accuracy"] for name in ("many", "medium", "few", "worst_class")] == [None] * 4
    assert found["class_ratio"] == 1
