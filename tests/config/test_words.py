"""Messages name a setting as the caller wrote it: as an option on the command line, as a field in a script."""

from __future__ import annotations

import ast
import copy
import io
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from small_runs import trainer_for

from ray_mentor import CurriculumTrainer, DataConfig, TrainConfig, cli, compare, train, tune_curriculum, wording
from ray_mentor.config.compare import CompareConfig
from ray_mentor.config.sweep import SweepConfig
from ray_mentor.data import Splits
from ray_mentor.errors import UserError
from ray_mentor.functions import explained

SMALL: dict[str, Any] = {"epochs": 1, "train_size": 200, "test_size": 50, "workers": 0}


@pytest.fixture
def in_a_script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No command runs."""
    monkeypatch.setattr(wording, "_commands", [])
    monkeypatch.chdir(tmp_path)


def _trainer(**more: Any) -> CurriculumTrainer:
    arrays = np.zeros((40, 4), np.float32), np.arange(40) % 2
    return CurriculumTrainer(lambda: torch.nn.Linear(4, 2), data=arrays, meta=arrays, workers=0, **more)


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (lambda: TrainConfig().changed(resume=True), "resume is True, but it needs run_name"),
        (lambda: train(TrainConfig().changed(meta_size=0)), "meta_from='pseudo-clean', or train with what needs none, "
         "e.g. method='self-paced' or loss='gce'"),
        (lambda: train(TrainConfig().changed(data="own.csv", meta_data="gone.csv")), "unknown data 'own.csv'"),
        (lambda: train(TrainConfig().changed(run_name="gone", resume=True, **SMALL)), "check run_name and"),
        (lambda: compare(["uniform"], TrainConfig().changed(run_name="gone", resume=True)), "check run_name and"),
        (lambda: tune_curriculum("smoke", TrainConfig().changed(run_name="gone", resume=True)), "check run_name and"),
        (lambda: _trainer(run_name="gone", resume=True).fit(), "check run_name and storage_path"),
    ],
)  # fmt: skip
def test_an_error_in_a_script_names_fields(in_a_script: None, do: Callable[[], Any], said: str) -> None:
    with pytest.raises(UserError) as raised:
        do()
    assert said in str(raised.value)
    assert "--" not in traceback.format_exception(raised.value)[-1]


def test_an_error_of_another_process_is_said_as_here(in_a_script: None) -> None:
    error = copy.copy(UserError("go on with it: --resume"))  # as it is pickled
    assert (str(error), error.written) == ("go on with it: resume=True", "go on with it: --resume")
    with wording.in_options():
        assert str(error) == "go on with it: --resume"


@pytest.mark.long
def test_notes_of_a_run_in_a_script_name_fields(in_a_script: None) -> None:
    said = io.StringIO()
    outcome = train(TrainConfig().changed(**{**SMALL, "workers": "auto"}), console=Console(file=said, width=200))
    assert any("--epochs" in note for note in outcome.result["notes"])
    assert "workers=2 starts two" in said.getvalue()
    assert "--" not in said.getvalue()


def test_a_command_names_options(in_a_script: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--resume"]) == 2
    assert capsys.readouterr().err == "error: resume is True, but it needs --run-name\n"
    assert str(UserError("--resume")) == "resume=True"


def test_what_was_saved_of_a_run_in_a_script(in_a_script: None, small_splits: Splits, tmp_path: Path) -> None:
    trainer_for(small_splits, tmp_path, "mine", epochs=1).fit()
    with pytest.raises(UserError, match=r"mine is there already; give it another run_name, or go on with it: resume=T"):
        trainer_for(small_splits, tmp_path, "mine", epochs=1).fit()
    assert DataConfig().data == "digits"


@pytest.mark.parametrize(
    "said",
    [
        "label '--none' is none of the 3 classes",
        "'/d/my --run-name best --resume/x.csv' is no file",
        'the class "it\'s --resume" is twice there',
        "run pip install --upgrade torch",
        "/d/my --resume/x.csv is no file",
        "--resume.csv is no file",
    ],
)
def test_what_is_no_option_stays_as_it_is(in_a_script: None, said: str) -> None:
    assert str(UserError(said)) == said


def test_options_beside_what_is_quoted_are_worded(in_a_script: None) -> None:
    said = "run 'a --resume' isn't there, the samples' --run-name is \"b's --seed 3\"; give --learning-rate 1e-3"
    in_python = "run 'a --resume' isn't there, the samples' run_name is \"b's --seed 3\"; give learning_rate=1e-3"
    assert str(UserError(said)) == in_python
    assert str(UserError("of --run-name 'a b', --resume")) == "of run_name 'a b', resume=True"


def test_what_a_users_code_says_stays_as_it_is(in_a_script: None) -> None:
    with pytest.raises(UserError) as raised, explained("student x.py (of --student)"):
        raise ValueError("give my.py --workers 3")
    assert str(raised.value).startswith("student x.py (of student): ValueError: give my.py --workers 3")
    with wording.in_options():
        assert str(raised.value).startswith("student x.py (of --student): ValueError: give my.py --workers 3")


def test_an_error_within_another_is_said_as_the_whole_is(in_a_script: None) -> None:
    with pytest.raises(UserError) as raised, explained("x"):  # where no command runs: in another process
        raise UserError("give --workers 2")
    with wording.in_options():
        assert "give --workers 2" in str(raised.value)


def test_no_error_of_ours_is_built_into_another_in_the_words_of_here() -> None:
    wrong = []
    for file in Path(wording.__file__).parent.rglob("*.py"):
        for caught in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ExceptHandler)):
            if isinstance(caught.type, ast.Name) and caught.type.id == "UserError":
                made = [node for node in ast.walk(caught) if isinstance(node, ast.Raise)]
                values = [
                    node.value for each in made for node in ast.walk(each) if isinstance(node, ast.FormattedValue)
                ]
                wrong += [file.name for value in values if isinstance(value, ast.Name) and value.id == caught.name]
    assert wrong == []


_NAMED = r"(?<![\w-])--([a-z]+(?:-[a-z]+)*)(?![\w-])"  # an option in a message


def test_all_options_are_known() -> None:
    """Of the settings, and whatever any message names."""
    settings = {name for made in (TrainConfig, CompareConfig, SweepConfig) for name in made().flat()}
    assert {name.replace("_", "-") for name in settings} <= wording.OPTIONS
    named: set[str] = set()
    for file in Path(wording.__file__).parent.rglob("*.py"):
        for made in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)):
            if isinstance(made.func, ast.Name) and made.func.id == "UserError":
                texts = [node.value for node in ast.walk(made) if isinstance(node, ast.Constant)]
                named |= {name for text in texts if isinstance(text, str) for name in re.findall(_NAMED, text)}
    assert "skip-broken" in named
    assert named - wording.OPTIONS <= {"no-gpu", "no-nesterov"}
