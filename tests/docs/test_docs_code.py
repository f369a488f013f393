"""The code of the pages: Python is run or parsed, and its names looked up; options, scripts and targets are there."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from docs_files import ALL, DOCS, README, ROOT, code_spans, name_of, python_blocks
from hand_made_runs import row, run_of
from PIL import Image

from ray_mentor import MentorConfig, Rule, cli
from ray_mentor.config.compare import CompareConfig
from ray_mentor.config.sweep import SweepConfig
from ray_mentor.core.step.percentile import RunningPercentile
from ray_mentor.errors import UserError
from ray_mentor.help import check_options

OPTIONS = [
    *SweepConfig().flat(),
    *CompareConfig().flat(),
    "out",
    "top",
    "export_weights",
    "clean",
    "relabelled",
    "duplicates",
    "count",
    "on",
    "verify",
    "probabilities",
    "to",
    "which",
]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
FOLDERS = ("benchmarks", "cluster", "docs", "examples", "ray_mentor", "tests")


def mistakes(span: str) -> list[str]:
    """What a piece of code names that isn't there: scripts, files, targets of make, options of them or of ours."""
    words = span.partition("  #")[0].split()
    if words[0] in ("ray", "pip", "docker", "(umask", "export", "exec", "ssh") or words[0].startswith("RAY_"):
        return []  # tests/cluster parses what is said to Ray
    files = [word for word in words if re.match(rf"({'|'.join(FOLDERS)})/[\w/.-]*\w$", word)]
    found = [f"{name} is not there" for name in files if not (ROOT / name).exists()]
    if words[0] == "make" and len(words) > 1 and words[1] not in TARGETS:
        found.append(f"make has no {words[1]}")
    if words[0].endswith("python"):
        script = (ROOT / words[1]).read_text()
        return found + [
            f"{words[1]} has no {word}" for word in words[2:] if word.startswith("--") and word not in script
        ]
    try:
        check_options(words, OPTIONS, "")
    except UserError as error:
        found.append(str(error))
    return found


@pytest.mark.parametrize("page", ALL, ids=name_of)
def test_what_code_names_is_there(page: Path) -> None:
    assert [mistake for span in code_spans(page) for mistake in mistakes(span)] == []


@pytest.mark.parametrize(
    ("span", "said"),
    [
        ("ray-mentor train --epoch 3", "unknown option --epoch: did you mean --epochs?"),
        ("--wings", "unknown option --wings:  --help-all lists those there are"),
        ("make coffee", "make has no coffee"),
        ("examples/nothing.py", "examples/nothing.py is not there"),
        (".venv/bin/python benchmarks/digits.py --sedes 3", "benchmarks/digits.py has no --sedes"),
    ],
)
def test_what_is_not_there_is_found(span: str, said: str) -> None:
    assert mistakes(span) == [said]


BLOCKS = [pytest.param(code, id=f"{name_of(page)}-{i}") for page in ALL for i, code in enumerate(python_blocks(page))]


@pytest.mark.parametrize("code", BLOCKS)
def test_what_python_imports_is_there(code: str) -> None:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name) or importlib.import_module(f"{node.module}.{alias.name}")


AROUND = """
import torch
from torch.nn import functional as F

torch.manual_seed(0)
student = torch.nn.Linear(4, 3)
optimizer = torch.optim.SGD(student.parameters(), 0.1)
meta_inputs, meta_labels = torch.randn(30, 4), torch.arange(30) % 3
loader = [(torch.randn(9, 4), torch.arange(9) % 3) for _ in range(200)]
"""


@pytest.mark.parametrize("page", [README, DOCS / "own-loop.md"], ids=name_of)
def test_the_loop_of_ones_own_runs_and_its_mentor_learns(page: Path) -> None:
    (code,) = [code for code in python_blocks(page) if "LearnedCurriculum(" in code]
    names: dict[str, object] = {}
    exec(AROUND + code, names)  # noqa: S102 - our own pages
    assert names["curriculum"].mentor.state.version == 3  # type: ignore[attr-defined]


def test_the_loop_of_a_mixture_runs_and_learns_shares() -> None:
    (code,) = [code for code in python_blocks(DOCS / "mixtures.md") if "LearnedMixture(" in code]
    sources = """
wiki_inputs, wiki_labels = torch.randn(50, 4), torch.arange(50) % 3
code_dataset = torch.utils.data.TensorDataset(torch.randn(70, 4), torch.arange(70) % 3)
target_inputs, target_labels = meta_inputs, meta_labels
"""
    names: dict[str, object] = {}
    exec(AROUND + sources + code, names)  # noqa: S102 - our own pages
    assert len(names["mixture"].updates) == 47  # type: ignore[attr-defined]


@pytest.mark.long
def test_the_commands_on_plain_text_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = re.findall(r"^ +ray-mentor (train --format text .*|evaluate .*)$", PLAIN_TEXT, re.MULTILINE)
    assert [words.split()[0] for words in commands] == ["train", "evaluate"]
    draw = np.random.default_rng(0)
    (tmp_path / "src").mkdir()
    for name in ("wiki.txt", "src/a.py", "src/b.py", "mine.txt", "other.txt"):
        (tmp_path / name).write_bytes(draw.integers(97, 123, 2500).astype(np.uint8).tobytes())
    monkeypatch.chdir(tmp_path)
    train, evaluate = commands
    small = "--max-tokens 32 --batch-size 16 --workers 0 --shares-interval 2"
    assert cli.main([*train.split(), *small.split()]) == 0
    assert cli.main(evaluate.split()) == 0
    result = json.loads((tmp_path / "runs/mixed/result.json").read_text())
    assert result["trusted_bits_per_byte"] < 8
    assert set(result["mixture"]["tokens"]) == {"wiki", "code"}


PLAIN_TEXT = (DOCS / "mixtures.md").read_text()


def test_the_rule_of_the_page_sees_the_loss_differences_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = python_blocks(DOCS / "methods.md")
    table = np.array([[0.9, 0.5, 0.1], [0.8, 0.2, 0.01]])
    rule = Rule("loss_difference", np.array([-1.0, 0.0, 2.0]), table, progress=np.array([0.0, 1.0]))
    (tmp_path / "rule.json").write_text(rule.text())
    monkeypatch.chdir(tmp_path)
    batches = np.random.default_rng(0).exponential(1.0, (5, 40))
    names: dict[str, Any] = {"batches": batches}
    exec(code, names)  # noqa: S102
    percentile = RunningPercentile(MentorConfig().loss_percentile, MentorConfig().percentile_decay)
    for batch in batches:
        value = float(percentile.update(torch.as_tensor(batch)))
    expected = rule(batches[-1], progress=0.5, loss_differences=batches[-1] - value)
    assert names["sample_weights"] == pytest.approx(expected)


def test_the_suspects_of_a_ledger_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = python_blocks(DOCS / "run-folder.md")
    ledger = pa.table({"sample_id": [7, 8, 9, 7, 8, 9], "scored_weight": [0.9, 0.1, 0.5, 0.8, 0.3, 0.4]})
    (tmp_path / "RUN/ledger").mkdir(parents=True)
    pyarrow.parquet.write_table(ledger, tmp_path / "RUN/ledger/a.parquet")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code, names)  # noqa: S102
    assert names["suspects"].to_dict() == pytest.approx({8: 0.2, 9: 0.45, 7: 0.85})  # type: ignore[attr-defined]


def test_the_audit_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = python_blocks(DOCS / "audit.md")
    run_of(tmp_path / "RUN", [row(i, 0, i % 2, 1, 1.0 if i % 2 else -3.0) for i in range(20)])
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102
    assert names["issues"]["is_label_issue"].sum() == 10
    (line,) = re.findall(r"^    ray-mentor (audit .* --clean .*)$", (DOCS / "audit.md").read_text(), re.MULTILINE)
    (tmp_path / "runs").mkdir()
    (tmp_path / "RUN").rename(tmp_path / "runs/NAME")
    assert cli.main(line.split()) == 0
    assert len(pyarrow.parquet.read_table("clean.parquet")) == 10
    assert len((tmp_path / "mended.csv").read_text().splitlines()) == 21


def own_data(command: str) -> list[str]:
    """The words of the page's command that begins so."""
    (line,) = re.findall(rf"^    ray-mentor ({command}.*)$", (DOCS / "own-data.md").read_text(), re.MULTILINE)
    return [*line.split(), "--workers", "0", "--epochs", "1", "--run-name", "mine"]


def test_a_csv_file_becomes_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's lines, and then its command, of one epoch in this process."""
    code, *_ = python_blocks(DOCS / "own-data.md")
    rows = "".join(f"{i % 7 + i % 2 + i / 1000},{i % 5 - i % 2},{'ab'[i % 2]}\n" for i in range(400))
    (tmp_path / "measurements.csv").write_text(f"height,width,label\n{rows}")
    monkeypatch.chdir(tmp_path)
    exec(code, {})  # noqa: S102
    assert len((tmp_path / "trusted.csv").read_text().splitlines()) == 61
    assert cli.main(own_data("train --data measurements.csv --meta-data")) == 0
    assert json.loads((tmp_path / "runs/mine/result.json").read_text())["trusted_held_out"] == 18  # 30 % of 60


@pytest.mark.long
def test_nothing_is_checked_and_then_some_samples_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's commands in order, of few epochs in this process; whoever checks knows the truth."""
    page = DOCS / "no-trusted-set.md"
    (code,) = python_blocks(page)
    first, audit, pick, second = re.findall(r"^    ray-mentor (.*)$", page.read_text(), re.MULTILINE)
    brief = ["--workers", "0", "--epochs", "8"]
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102
    assert cli.main([*first.split(), *brief]) == 0
    assert json.loads((tmp_path / "runs/first/result.json").read_text())["trusted_accuracy"] is None
    assert cli.main(audit.split()) == 0
    assert cli.main(pick.split()) == 0
    asked = pd.read_csv("to_check.csv")
    assert len(asked) == 60
    right = pd.read_csv("cells.csv", index_col="patient")["diagnosis"]
    right = right.where(~names["wrong"], 1 - right)
    asked.assign(checked_label=right[asked["sample_id"]].to_numpy()).to_csv("to_check.csv", index=False)
    assert cli.main([*second.split(), *brief]) == 0
    found = json.loads((tmp_path / "runs/second/result.json").read_text())
    assert found["trusted_held_out"] == 18
    assert found["trusted_accuracy"] > 0.7


def test_a_folder_of_images_becomes_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, code, *_ = python_blocks(DOCS / "own-data.md")
    for i in range(200):
        file = tmp_path / f"photos/{'ab'[i % 2]}/{i}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8 + i % 5, 9), (i, 200 * (i % 2), 0)).save(file)
    monkeypatch.chdir(tmp_path)
    exec(code, {})  # noqa: S102
    assert len(list((tmp_path / "trusted").glob("*/*.jpg"))) == 60
    assert cli.main(own_data("train --data photos --meta-data")) == 0
    ids = [line.split(",")[0] for line in (tmp_path / "runs/mine/audit.csv").read_text().splitlines()]
    assert {name[:3] for name in ids[1:]} <= {'"a/', '"b/', "a/", "b/"}


def test_the_frame_of_the_page_is_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = [code for code in python_blocks(DOCS / "own-data.md") if "CurriculumTrainer(" in code]
    monkeypatch.chdir(tmp_path)
    exec(code, {})  # noqa: S102
    accuracy, table = capsys.readouterr().out.split(maxsplit=1)
    assert float(accuracy) > 0.8
    assert "Grignolino" in table


def printed_by(code: str, folder: Path) -> str:
    """What a page's example prints in a process of its own."""
    script = folder / "example.py"
    script.write_text(code)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=560, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((folder / "runs").glob("*/result.json"))) == 1
    return done.stdout


def trainers(page: Path) -> str:
    (code,) = [code for code in python_blocks(page) if "CurriculumTrainer(" in code]
    return code


def test_examples_are_under_25_lines() -> None:
    for page in (README, DOCS / "own-model.md"):
        assert sum(bool(line.strip()) for line in trainers(page).splitlines()) <= 25


@pytest.mark.slow
def test_the_readmes_example_prints_what_the_readme_says(tmp_path: Path) -> None:
    says = r"test accuracy (0\.\d+); (\d+)% of the 100 most suspect labels are wrong"
    said = re.search(rf"`{says}`", README.read_text())
    printed = re.fullmatch(rf"{says}\n", printed_by(trainers(README), tmp_path))
    assert said
    assert printed
    assert float(printed[1]) == pytest.approx(float(said[1]), abs=0.01)  # other processors round otherwise
    assert int(printed[2]) >= int(said[2]) - 2


@pytest.mark.slow
@pytest.mark.ray
def test_the_example_of_ones_own_model_runs(tmp_path: Path) -> None:
    assert "sample_weight" in printed_by(trainers(DOCS / "own-model.md"), tmp_path)
