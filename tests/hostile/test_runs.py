"""Whole runs on strange data, names and settings: exit code 0 and a result, or exit code 2 and none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hostile_data import LABELS, NUMBERS, ROWS, parquet, png_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ray_mentor import cli
from ray_mentor.students.tried import check_can_be_trained

LEARNS = ("--workers", "0", "--epochs", "2", "--batch-size", "6", "--update-interval", "1", "--burn-in", "0",
          "--meta-size", "3", "--noise", "symmetric:0.3")  # fmt: skip


class Said(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def train(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Trains in this process, in a folder that holds data.parquet; a result is there exactly if all went well."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.parquet").write_bytes(
        parquet({"x": NUMBERS, "y": [row % 7 for row in range(ROWS)], "label": LABELS})
    )
    count = 0

    def run(*words: str, name: str | None = None) -> Said:
        nonlocal count
        count += 1
        name = f"run-{count}" if name is None else name
        try:
            data = () if "--data" in words else ("--data", "data.parquet")
            code = cli.main(["train", *LEARNS, *data, f"--run-name={name}", *words])
        except SystemExit as leave:
            code = int(leave.code or 0)
        captured = capsys.readouterr()
        assert code in (0, 2), captured.err
        assert (code == 0) == (captured.err == ""), captured.err
        assert (code == 0) == result_of(tmp_path / "runs" / name), "a run that failed must not look finished"
        return Said(code, captured.out, captured.err)

    return run


def result_of(run: Path) -> bool:
    """Whether there is a result; it must be JSON of any language, which knows no NaN."""
    try:
        text = (run / "result.json").read_text()
    except OSError:
        return False
    return isinstance(json.loads(text, parse_constant=pytest.fail), dict)


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(name=st.one_of(names, st.sampled_from(["~", "*", "?", "a%20b#c?d", "s3:", "\\", "-x", "a\nb", " ", "😀" * 60])))
def test_any_name(train: Command, name: str) -> None:
    train("--method", "uniform", name=name if name not in (".", "..") else "dots")


def test_labels_that_are_nearly_alike_are_named_at_the_end_again(train: Command, tmp_path: Path) -> None:
    labels = [("ant", "Ant", "bee")[row % 3] for row in range(ROWS)]
    (tmp_path / "alike.parquet").write_bytes(parquet({"x": NUMBERS, "label": labels}))
    said = train("--method", "uniform", "--data", "alike.parquet").out
    warning = "warning: labels that differ by spaces or case alone are different classes: 'Ant' and 'ant'; write them"
    assert said.count(warning) == 2
    assert said.index(warning) < said.index("epoch 1") < said.index("epoch 2") < said.rindex(warning)
    (result,) = (tmp_path / "runs").glob("*/result.json")
    assert any(note.startswith(warning) for note in json.loads(result.read_text())["notes"])


@pytest.mark.parametrize("name", ["x" * 300, "😀" * 100])
def test_a_name_that_is_too_long(train: Command, name: str) -> None:
    said = train(name=name)
    assert said.code == 2
    assert "too long" in said.err


@pytest.mark.parametrize("path", ["data.parquet", "/dev/null", "/proc/nowhere", "s3://", "what://x", "://", "x" * 5000])
def test_a_storage_path_that_is_none(train: Command, path: str) -> None:
    said = train("--storage-path", path)
    assert said.code == 2
    assert "cannot be used (" in said.err
    assert said.err.endswith("; check --storage-path\n")


def test_a_data_file_with_the_longest_name(train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The name of the run directory is made of it, and must be none that is too long."""
    name = "é" * 120 + ".parquet"
    (tmp_path / "data.parquet").rename(tmp_path / name)
    assert cli.main(["train", *LEARNS, "--data", name, "--method", "uniform"]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("uniform-ééé")


@pytest.mark.parametrize(
    "words",
    [
        *([f"--{name}", "1e17"] for name in ("learning-rate", "weight-decay", "entropy", "mentor-learning-rate")),
        ["--mentor-learning-rate", "1e17", "--update-interval", str(2**62)],
        ["--learning-rate", "1e17", "--optimizer", "adam"],
        ["--learning-rate", "1e-308"],
        ["--initial-sample-weight", "0.9999999999999999"],
        ["--initial-sample-weight", "1e-300"],
        ["--anchor", "0.9999999999999999"],
        ["--mixing", "mixup", "--mixup-alpha", "1e-320"],
        ["--mixing", "mixup", "--mixup-alpha", "1e17"],
        ["--example-dropout", "0.9999999:1"],
        ["--batch-size", str(2**62), "--meta-batch-size", str(2**62), "--influence-samples", str(2**62)],
        ["--batch-size", "1"],
        ["--meta-size", str(2**62)],
        ["--train-size", "1"],
        ["--test-share", "1e-300"],
        ["--test-share", "0.9999999"],
        ["--validation-share", "0.9999999"],
        ["--seed", str(2**63 - 1)],
        ["--mentor-hidden", "100000", "100000"],
        ["--mentor-hidden", str(2**62)],
        ["--mentor-features", "loss", "loss"],
        ["--mentor-features", "loss", "history", "--history-length", "10000"],
        ["--estimator", "unrolled", "--unroll-steps", str(2**62), "--update-interval", str(2**62)],
        ["--mentor", "mentornet", "--mentor-learning-rate", "1e10"],
        ["--workers", str(2**62)],
    ],
)  # fmt: skip
def test_settings_at_their_limits(train: Command, words: list[str]) -> None:
    train(*words)


@pytest.mark.parametrize(
    "columns",
    [
        {"x": np.linspace(-3.4e38, 3.4e38, ROWS)},
        {"x": [1e-45 * row for row in range(ROWS)]},
        {"x": [0.0] * (ROWS - 1) + [3e38], "y": NUMBERS},
        {"x": NUMBERS, "y": [7.0] * ROWS},
        {"x": np.arange(ROWS, dtype=np.uint64) + 2**63},
    ],
)
def test_numbers_of_any_size(train: Command, tmp_path: Path, columns: dict[str, Any]) -> None:
    (tmp_path / "data.parquet").write_bytes(parquet({**columns, "label": LABELS}))
    train()


def test_more_columns_than_samples(train: Command, tmp_path: Path) -> None:
    (tmp_path / "data.parquet").write_bytes(parquet({**{f"x{i}": NUMBERS * i for i in range(500)}, "label": LABELS}))
    assert train().code == 0


def test_a_student_that_does_not_fit_into_memory(train: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: object, **__: object) -> Any:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] can't allocate memory: you tried to allocate 1 PB")

    monkeypatch.setattr("ray_mentor.students.tried.make_student", build)
    check_can_be_trained.cache_clear()
    said = train()
    assert said.err == (
        "error: student mlp on inputs of shape (2,) can't be built ([enforce fail at alloc_cpu.cpp] can't allocate "
        "memory: you tried to allocate 1 PB); make the inputs smaller, or give another --student\n"
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_run_on_an_image_bomb_writes_nothing(train: Command, tmp_path: Path) -> None:
    (tmp_path / "data.parquet").write_bytes(parquet({"image": [png_of(10**4, 10**4)] * ROWS, "label": LABELS}))
    assert train().code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["data.parquet"]


def test_class_and_file_names_cannot_steer_the_terminal(train: Command, tmp_path: Path) -> None:
    names = ["\x1b]0;owned\x07", "\u202ereversed", "c"]
    content = parquet(
        {"x": NUMBERS, "y": [row % 7 for row in range(ROWS)], "label": [names[label] for label in LABELS]}
    )
    for name in ("train\x1b[31m.parquet", "other\x1b[2J.parquet"):
        (tmp_path / "data" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "data" / name).write_bytes(content)
    for words in ([], ["--label-column", "\x1b[31m"]):
        said = train("--data", "data", "--meta-size", "1", *words)
        assert not set("\x1b\x07\u202e") & set(said.out + said.err)


@pytest.mark.parametrize("noise", ["none", "symmetric:0.3"])
def test_a_mentor_that_is_lost(train: Command, tmp_path: Path, noise: str) -> None:
    """Its steps end in NaN: they are skipped, and the student is trained all the same."""
    assert train("--mentor-weight-decay", "1e17", "--noise", noise, name="lost").code == 0
    assert json.loads((tmp_path / "runs/lost/result.json").read_text())["guards"]["skipped_updates"] > 0
