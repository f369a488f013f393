"""Mixtures of plain text on the command line: bits per byte, runs that go on, and what they leave."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from ray_mentor import Student
from ray_mentor.cli import main
from ray_mentor.config import StudentConfig, TrainConfig
from ray_mentor.data import text_windows
from ray_mentor.data.splits.meta_parts import meta_parts
from ray_mentor.data.splits.splits import prepare

pytestmark = pytest.mark.long  # runs

T = 32
WORDS = b"the mentor weighs what the student reads and the student learns what the mentor weighs "


def words(n: int, seed: int, *, junk: bool = False) -> bytes:
    """Words in any order, or their letters in any order."""
    draw = np.random.default_rng(seed)
    found = b" ".join(draw.choice(WORDS.split(), n).tolist()) + b"\n"
    return draw.permutation(np.frombuffer(found, np.uint8)).tobytes() if junk else found


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    for name, content in {
        "good": words(700, 1), "junk": words(700, 2, junk=True), "mine": words(200, 3), "other": words(100, 4),
    }.items():  # fmt: skip
        (folder / f"{name}.txt").write_bytes(content)
    return folder


def command(folder: Path, name: str, *more: str) -> list[str]:
    sources = [word for name in ("good", "junk") for word in ("--data", f"{name}={folder}/{name}.txt")]
    small = ("--max-tokens", str(T), "--batch-size", "16", "--epochs", "2", "--shares-interval", "4", "--workers", "0")
    where = ("--storage-path", f"{folder}/runs", "--run-name", name, "--format", "text", "--student", "byte-gpt")
    return ["train", *sources, *small, *where, *more]


def result(folder: Path, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((folder / "runs" / name / "result.json").read_text())
    return found


def bits(student: Student, inputs: torch.Tensor, targets: torch.Tensor) -> float:
    with torch.no_grad():
        logits = student.module(inputs)
    return float(functional.cross_entropy(logits.flatten(0, 1), targets.flatten())) / math.log(2)


@pytest.fixture(scope="module")
def learned(texts: Path) -> Path:
    """A run of learned shares."""
    more = ("--meta-data", f"{texts}/mine.txt", "--mixture", "learned", "--method", "uniform", "--shares-rate", "1")
    assert main(command(texts, "learned", *more)) == 0
    return texts / "runs/learned"


def test_shares_are_learnt_and_bits_are_those_of_the_student_that_is_left(learned: Path, texts: Path) -> None:
    found = result(texts, "learned")
    assert found["mixture"]["shares"]["junk"] < 0.3
    assert found["mixture"]["tokens"]["junk"] % T == 0
    student = Student.from_run(str(learned))
    config = TrainConfig().changed(
        data=f"good={texts}/good.txt,junk={texts}/junk.txt", meta_data=f"{texts}/mine.txt", format="text", max_tokens=T
    )
    splits = prepare(config.data, 0)
    assert splits.test is not None
    held_out = meta_parts(splits.meta, holdout=config.mentor.meta_holdout, training=0, seed=0).held_out
    assert held_out is not None
    for name, samples in (("test", splits.test), ("trusted", held_out)):
        rows = np.arange(len(samples))
        truth = bits(student, samples.inputs.take(rows), samples.for_loss(rows))
        assert found[f"{name}_bits_per_byte"] == pytest.approx(truth, rel=1e-5), name
    assert found["trusted_bits_per_byte"] < 4.5 < math.log2(256)
    for name in ("test_accuracy", "test_agreement", "trusted_accuracy", "wrong_labels", "test_loss"):
        assert found.get(name) is None, name


def test_the_mixture_is_written_in_bytes(learned: Path) -> None:
    rows = list(csv.DictReader((learned / "mixture.csv").read_text().splitlines()))
    assert all(int(row["tokens"]) == T * int(row["samples"]) for row in rows)
    assert {row["domain"] for row in rows} == {"good", "junk"}


def test_the_page_and_the_audit_are_of_text(learned: Path) -> None:
    page = (learned / "report.html").read_text()
    assert "Bits per byte" in page
    assert "taken for which" not in page
    audit = list(csv.DictReader((learned / "audit.csv").read_text().splitlines()))
    assert len(audit[0]["text"].strip("'")) <= T
    assert audit[0]["sample_id"].partition("/")[0] in ("good", "junk")


@pytest.mark.parametrize("method", ["uniform", "mentornet"])
def test_a_run_that_goes_on_has_the_same_bits(method: str, learned: Path, texts: Path) -> None:
    more = ("--meta-data", f"{texts}/mine.txt", "--mixture", "learned", "--shares-rate", "1", "--method", method)
    every = ("--checkpoint-steps", "20", "--keep-checkpoints", "20", "--train-size", "320")
    assert main(command(texts, f"whole-{method}", *more, *every)) == 0
    assert main(command(texts, f"again-{method}", *more, *every)) == 0
    whole, again = (texts / f"runs/{name}-{method}" for name in ("whole", "again"))
    for last in sorted((again / "checkpoints").iterdir())[1:]:
        last.unlink()
    for name in ("result.json", "mixture.csv", "student/model.safetensors"):
        (again / name).unlink()
    assert main(command(texts, f"again-{method}", *more, *every, "--resume")) == 0
    for name in ("mixture.csv", "student/model.safetensors"):
        assert (again / name).read_bytes() == (whole / name).read_bytes(), name
    one, other = (result(texts, f"{name}-{method}") for name in ("whole", "again"))
    assert one["trusted_bits_per_byte"] == other["trusted_bits_per_byte"]


def test_evaluate_says_bits_per_byte(learned: Path, texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(learned), "--data", f"{texts}/other.txt"]) == 0
    windows = text_windows(texts / "other.txt", T)
    truth = bits(Student.from_run(str(learned)), *windows)
    said = capsys.readouterr().out
    assert said.startswith(f"{truth:.4f} ± ")
    assert said.endswith(f"bits per byte of {len(windows[0])} windows of {T} bytes of {texts}/other.txt\n")
    assert main(["evaluate", str(learned), "--data", f"{texts}/good.txt"]) == 0
    assert "warning: the student was trained on " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["predict", "RUN", "--data", "TEXTS/other.txt", "--out", "x.csv"], "says at each place of a text which byte"),
        (["pick", "RUN", "--out", "x.csv"], "samples are picked so that their labels are checked, but these have no"),
        (["evaluate", "RUN", "--data", "TEXTS/none.txt"], "there is no data at "),
    ],
)
def test_what_goes_by_classes_is_refused(
    words: list[str], says: str, learned: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word.replace("RUN", str(learned)).replace("TEXTS", str(texts)) for word in words]) == 2
    assert says in capsys.readouterr().err


def test_one_text_without_a_target(texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--max-tokens", str(T), "--epochs", "1", "--workers", "0", "--train-size", "64", "--batch-size", "16"]
    where = ["--storage-path", f"{texts}/runs", "--run-name", "one", "--student", "byte-gpt", "--meta-size", "30"]
    assert main(["train", "--format", "text", "--data", f"{texts}/good.txt", *words, *where]) == 0
    assert "warning: the meta set was drawn from the text itself, and is trusted as it is" in capsys.readouterr().out
    assert result(texts, "one")["trusted_held_out"] == 9


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--student", "mlp"], "student is 'mlp', which says one class of a sample, but of plain text"),
        (["--loss", "gce"], "loss is 'gce', but what a student loses on plain text is the cross-entropy of each byte"),
        (["--mixture", "uniform", "--method", "co-teaching"], "method is 'co-teaching', whose two students go by lab"),
        (["--format", "csv"], "max_tokens is 32, but there are no texts; name their column: --text-column, or give"),
        (["--meta-data", "TEXTS/good.txt"], "windows of the target TEXTS/good.txt stand in good as well (good/0"),
        (["--data", "good=TEXTS/other.txt"], "data names the source 'good' twice"),
        (["--mixing", "mixup"], "mixing is 'mixup', which blends inputs, but these are integers"),
    ],
)
def test_what_cannot_be_is_refused(more: list[str], says: str, texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [word.replace("TEXTS", str(texts)) for word in more]
    target = [] if "--meta-data" in more else ["--meta-data", f"{texts}/mine.txt"]
    assert main(command(texts, "refused", *target, *given)) == 2
    assert says.replace("TEXTS", str(texts)) in capsys.readouterr().err
    assert not (texts / "runs/refused").exists()


def test_sweeps_and_comparisons_choose_by_accuracy(texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--format", "text", "--data", f"{texts}/good.txt", "--student", "byte-gpt"]
    for command_words in (["compare", "--methods", "uniform"], ["tune", "smoke"]):
        assert main([*command_words, *words, "--storage-path", f"{texts}/runs"]) == 2
        assert "format is 'text', but sweeps and comparisons choose by accuracy" in capsys.readouterr().err


def test_other_data_are_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--student", "byte-gpt", "--workers", "0"]) == 2
    assert "student is 'byte-gpt', which says which byte comes next in a plain text" in capsys.readouterr().err


def test_a_student_of_text_is_optimised_as_suits_it_unless_told_otherwise() -> None:
    for made in (TrainConfig().changed, lambda **settings: TrainConfig.from_flat(settings)):
        suited, told = made(student="byte-gpt"), made(student="byte-gpt", learning_rate=0.01, optimizer="sgd")
        assert (suited.student.optimizer, suited.student.learning_rate) == ("adamw", 0.003)
        assert (told.student.optimizer, told.student.learning_rate) == ("sgd", 0.01)
        assert made(student="cnn").student == StudentConfig(student="cnn")
