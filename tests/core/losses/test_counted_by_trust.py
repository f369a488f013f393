"""Class sizes by what a mentor believes: kept by the guards, taken over at the end of an epoch."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from truth_curriculum import as_batch, curriculum_of_settings
from truth_students import make_student, samples

from ray_mentor import CurriculumConfig, MentorConfig, TrainConfig
from ray_mentor.config.compared import METHODS
from ray_mentor.config.meaning import with_loss_named
from ray_mentor.core.losses import BySize
from ray_mentor.core.methods.weightings.oracle import Oracle
from ray_mentor.run.job import settled


@pytest.mark.parametrize("floor", [0.0, 0.05])
def test_a_class_whose_labels_are_wrong_counts_for_less(floor: float) -> None:
    """Told which labels are right: of class 1 half are, of class 2 none, of class 0 all."""
    schedule = CurriculumConfig(loss="logit-adjusted:1:1", mixing="none", burn_in=0.0)
    curriculum = curriculum_of_settings(
        make_student("mlp"), schedule, MentorConfig(update_interval=9, min_class_share=floor)
    )
    curriculum.parts = dataclasses.replace(curriculum.parts, weighting=Oracle())
    loss = curriculum.parts.loss
    assert isinstance(loss, BySize)
    loss.take_sizes([20, 10, 6], [1, 1, 1])
    inputs, _ = samples("mlp", 12, 1)
    labels = torch.tensor([0] * 6 + [1] * 4 + [2] * 2)
    truth = torch.tensor([0] * 6 + [1] * 2 + [0] * 4)
    batch = dataclasses.replace(as_batch((inputs, labels)), true_labels=truth)
    for _ in range(60):
        curriculum.step(batch)
    assert loss.sizes.tolist() == [21, 11, 7]
    curriculum.end_epoch(1, trusted=lambda: iter(()))
    mean = 8 / 12
    assert loss.sizes.tolist() == pytest.approx([20 / mean + 1, 10 * 0.5 / mean + 1, 1], abs=0.01)


def test_shares_are_not_kept_where_nobody_asks() -> None:
    schedule = CurriculumConfig(loss="logit-adjusted:1:0", mixing="none", burn_in=0.0)
    curriculum = curriculum_of_settings(make_student("mlp"), schedule, MentorConfig(min_class_share=0.0))
    assert isinstance(curriculum.parts.loss, BySize)
    curriculum.parts.loss.take_sizes([3, 2, 1])
    curriculum.step(as_batch(samples("mlp", 12, 1)))
    assert curriculum.guards.state.class_shares == {}


@pytest.mark.parametrize(
    ("asked", "uneven", "loss"),
    [
        ({}, True, "logit-adjusted:1:1"),
        ({}, False, None),
        ({"loss": "cross-entropy"}, True, "cross-entropy"),
        ({"reweight": "drw"}, True, None),
        ({"method": "uniform"}, True, None),
        ({"method": "mentornet-refined"}, True, "logit-adjusted:1:1"),
    ],
)
def test_a_mentor_learns_on_adjusted_logits_where_classes_were_made_rare(
    asked: dict[str, str], uneven: bool, loss: str | None
) -> None:
    config = TrainConfig().changed(imbalance="exp:20" if uneven else "none", **asked)
    assert settled(config, 1000).curriculum.loss == loss
    assert with_loss_named(config).curriculum.loss == loss, "and a run's config file says so"


def test_published_recipes_keep_their_loss() -> None:
    for name in ("meta-weight-net", "cmw-net"):
        config = METHODS[name].config(TrainConfig(), imbalance="exp:20")
        assert settled(config, 1000).curriculum.loss == "cross-entropy"
