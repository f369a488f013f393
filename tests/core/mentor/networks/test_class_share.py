"""The feature that says how large a sample's class is."""

from __future__ import annotations

import pytest
import torch

from ray_mentor import CurriculumConfig, MentorConfig, UserError
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.mentor.networks import MLPMentor
from ray_mentor.core.mentor.start import first_mentor, starts_otherwise
from ray_mentor.core.step.features import Features

CONFIG = MentorConfig(mentor_features=("loss", "class_share"))
SIZES = [60, 25, 5]


def made() -> MentorLearner:
    return first_mentor(CurriculumConfig(), CONFIG, 3, 0, SIZES, in_nats=True)


def test_its_column_is_the_log_of_the_class_over_an_equal_share() -> None:
    network = made().network
    assert isinstance(network, MLPMentor)
    labels = torch.tensor([2, 0, 1, 2])
    features = Features(torch.zeros(4), torch.zeros(4), labels, torch.zeros(4), torch.zeros(4, 0))
    expected = (torch.tensor([5.0, 60.0, 25.0, 5.0]) / 30).log()
    torch.testing.assert_close(network.columns(features)[:, 1], expected)
    assert starts_otherwise(CurriculumConfig(), CONFIG)
    assert CONFIG.sees_label


def test_a_copy_of_its_state_knows_the_sizes() -> None:
    copy = MentorLearner(CONFIG, 3, 1)
    copy.load(made().state())
    assert torch.equal(copy.network.state_dict()["log_shares"], made().network.state_dict()["log_shares"])


def test_sizes_must_be_known() -> None:
    with pytest.raises(UserError, match="class_sizes is None, but the feature class_share looks at how large"):
        first_mentor(CurriculumConfig(), CONFIG, 3, 0, None, in_nats=True)
    with pytest.raises(UserError, match="there are sizes of 2 classes, but this mentor was made for 3"):
        first_mentor(CurriculumConfig(), CONFIG, 3, 0, [1, 2], in_nats=True)
