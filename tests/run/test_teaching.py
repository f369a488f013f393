"""A mentor that is taught from a ledger: the rows are what the run saw, and what no ledger says is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import trainer_for

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.mentor.mentor_file import MENTOR_FILE, frozen_from
from ray_mentor.core.step.features import Features
from ray_mentor.core.step.percentile import RunningPercentile
from ray_mentor.data import Splits
from ray_mentor.errors import UserError
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.outcome import Outcome
from ray_mentor.run.teaching import _ledger, _rows, taught_by

pytestmark = pytest.mark.long  # mentors that are taught

UNIFORM = CurriculumConfig(method="uniform", meta_in_training=0.0)


@pytest.fixture(scope="module")
def uniform(small_splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return trainer_for(small_splits, tmp_path_factory.mktemp("runs"), "plain", curriculum=UNIFORM).fit()


def test_the_rows_are_those_of_the_run(uniform: Outcome) -> None:
    table = uniform.ledger().to_pandas().sort_values("step", kind="stable")
    percentile, expected = RunningPercentile(0.6, 0.9), []
    for _, of_step in table.groupby("step"):
        losses = torch.tensor(of_step["loss"].to_numpy())
        expected.append(losses - percentile.update(losses))
    rows = _rows(_ledger(RunDirectory(uniform.path)), RunningPercentile(0.6, 0.9))
    torch.testing.assert_close(rows.features.loss_difference, torch.cat(expected))
    assert np.array_equal(rows.features.loss.numpy(), table["loss"].to_numpy())
    assert rows.target.tolist() == (table["given_label"] == table["true_label"]).astype(float).tolist()
    assert rows.features.progress.unique().tolist() == pytest.approx([step / 20 for step in range(20)])


@pytest.mark.parametrize("kind", ["mlp", "mentornet"])
def test_its_mentor_tells_a_small_loss_from_a_large_one(kind: str, uniform: Outcome, tmp_path: Path) -> None:
    content, lesson = taught_by(RunDirectory(uniform.path), MentorConfig(mentor=kind))
    assert lesson.auroc is not None
    assert lesson.auroc > 0.8
    assert lesson.noise_rate == pytest.approx(0.3, abs=0.05)
    (tmp_path / MENTOR_FILE).write_bytes(content)
    loss = torch.tensor([0.1, 4.0])
    seen = Features(loss, loss - 1, torch.zeros(2).long(), torch.full((2,), 0.8), torch.zeros(2, 0))
    small, large = frozen_from(str(tmp_path)).network.sample_weights(seen).tolist()
    assert small > 0.8
    assert large < 0.4


def test_what_no_ledger_says(small_splits: Splits, tmp_path: Path) -> None:
    unknown = dataclasses.replace(small_splits, train=small_splits.train.with_labels(small_splits.train.labels, None))
    trainer_for(unknown, tmp_path, "unknown", curriculum=UNIFORM, epochs=1).fit()
    with pytest.raises(UserError, match="does not say which labels are right, which is what a mentor is taught; take"):
        taught_by(RunDirectory(str(tmp_path / "unknown")), MentorConfig())
    truth = small_splits.train.true_labels
    assert truth is not None
    right = dataclasses.replace(small_splits, train=small_splits.train.with_labels(truth, truth))
    trainer_for(right, tmp_path, "right", curriculum=UNIFORM, epochs=1).fit()
    with pytest.raises(UserError, match=r"in the ledger of .*right all given labels are right, so that there is noth"):
        taught_by(RunDirectory(str(tmp_path / "right")), MentorConfig())
    with pytest.raises(UserError, match="mentor is 'lstm', but one that is taught sees a sample's loss by itself"):
        taught_by(RunDirectory(str(tmp_path / "right")), MentorConfig(mentor="lstm", history_length=2))
