"""What the mentor made of losses: frames of the ledger, and a grid that the run's own mentor is asked about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from made_runs import CLASSES, made_ledger, made_run
from page_text import figures, words

from ray_mentor.config import MentorConfig
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.mentor.mentor_file import MENTOR_FILE, mentor_bytes
from ray_mentor.core.step.features import Features
from ray_mentor.report.run.folder import read_folder
from ray_mentor.report.run.ledger_facts import DIFFERENCES, LOSSES, ledger_facts
from ray_mentor.report.run.page import page
from ray_mentor.report.run.policy_grid import policy_grid

CLASSED = "the predicted class, with the given one (the mean over all)"


def with_mentor(folder: Path, config: MentorConfig) -> MentorLearner:
    learner = MentorLearner(config, len(CLASSES), seed=3)
    learner.move(_stirred)
    made_run(folder).write(MENTOR_FILE, mentor_bytes(learner.state(), config, len(CLASSES), in_nats=True))
    return learner


@torch.no_grad()
def _stirred(network: torch.nn.Module) -> None:
    """A fresh mentor says the same of all."""
    draw = torch.Generator().manual_seed(0)
    for param in network.parameters():
        param += torch.randn(param.shape, generator=draw)


@pytest.mark.parametrize(
    ("config", "sees"),
    [
        (MentorConfig(mentor_hidden=(8,)), CLASSED),
        (MentorConfig(mentor_hidden=(8,), mentor_features=("loss", "label", "progress")),
         f"the given label (the mean over all), {CLASSED}, progress (at its end)"),
        (MentorConfig(mentor_hidden=(8,), mentor_features=("loss", "history"), history_length=2),
         f"past losses (taken to be as the present one), {CLASSED}"),
    ],
)  # fmt: skip
def test_the_grid_is_what_the_mentor_says(config: MentorConfig, sees: str, tmp_path: Path) -> None:
    learner = with_mentor(tmp_path, config)
    directory = made_run(tmp_path)
    facts = ledger_facts(directory, read_folder(directory))
    assert facts is not None
    grid = policy_grid(directory, facts, by_class=True)
    assert grid is not None
    assert grid.sees == sees
    plain = policy_grid(directory, facts, by_class=False)
    assert plain is not None
    assert CLASSED not in plain.sees
    at, along = 7, 41
    loss = torch.tensor([(at + 0.5) * facts.highest / LOSSES])
    difference = torch.tensor([((along + 0.5) * 2 / DIFFERENCES - 1) * facts.highest])
    said = [
        learner.score(
            Features(
                loss, difference, torch.tensor([label]), torch.tensor([0.999]), loss.repeat(1, config.history_length)
            )
        )
        for label in range(len(CLASSES))
    ]
    assert grid.weights[at, along] == pytest.approx(float(torch.stack(said).mean()), abs=1e-6)
    assert np.ptp(grid.weights) > 1e-3, "this can fail"
    drawn = figures(page(directory))["grid"]["data"]
    assert len(drawn) == 2
    assert f"It also sees {sees}." in words(page(directory))


def test_frames_go_through_the_training(tmp_path: Path) -> None:
    drawn = figures(page(made_run(tmp_path, samples=200)))["policy"]
    assert [frame["label"] for frame in drawn["frames"]] == [f"epoch {epoch} of 6" for epoch in range(1, 7)]
    wrong = [[each for each in frame["data"][2]["y"] if each is not None] for frame in drawn["frames"]]
    assert min(wrong[0]) > 0.7
    assert max(wrong[-1]) < 0.3


def test_where_all_weigh_the_same_there_is_no_policy(tmp_path: Path) -> None:
    ledger = made_ledger(60, 6)
    place = ledger.schema.get_field_index("scored_weight")
    ledger = ledger.set_column(place, ledger.schema.field(place), pa.array(np.ones(360, np.float32)))
    whole = page(made_run(tmp_path, ledger=ledger))
    assert not {"policy", "plane", "grid"} & set(figures(whole))
    assert "All samples were given the same weight, whatever their loss." in words(whole)


def test_without_a_mentor_or_in_other_units_it_is_said(tmp_path: Path) -> None:
    assert "The run has written no mentor" in words(page(made_run(tmp_path / "none")))
    with_mentor(tmp_path / "units", MentorConfig(mentor_hidden=(8,)))
    directory = made_run(tmp_path / "units", settings={"meta_loss": "loss"})
    assert "The mentor is shown losses in units of their own" in words(page(directory))
    directory.write(MENTOR_FILE, b"none")
    broken = made_run(tmp_path / "units")
    assert "is no mentor file" in words(page(broken))
