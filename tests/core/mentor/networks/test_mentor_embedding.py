"""The widths of the published network's embeddings, as a setting."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from ray_mentor.config import MentorConfig, TrainConfig
from ray_mentor.core.mentor.learner import MentorLearner, MetaUpdate
from ray_mentor.core.mentor.networks import AbstractMentor, MentorNet, make_mentor
from ray_mentor.core.mentor.trial import mentor_of
from ray_mentor.core.step.features import Features
from ray_mentor.errors import UserError

C = 4
CONFIG = MentorConfig(mentor="mentornet", mentor_features=("loss", "label"), mentor_learning_rate=0.01)
WIDER = dataclasses.replace(CONFIG, mentor_embedding=(3, 7))


def made(kind: str, **embedding: tuple[int, int]) -> AbstractMentor:
    return make_mentor(
        kind,
        features=("loss", "label"),
        hidden=(6,),
        n_classes=C,
        history_length=0,
        initial_sample_weight=0.9,
        seed=3,
        **embedding,
    )


def an_update(step: int) -> MetaUpdate:
    loss = torch.arange(8.0) / 2
    features = Features(loss, loss - 1, torch.arange(8) % C, torch.full((8,), 0.5), torch.zeros(8, 0))
    return MetaUpdate(step, features, torch.linspace(-1, 1, 8), torch.ones(8, dtype=torch.bool))


def test_the_default_is_the_original_network_bit_for_bit() -> None:
    original = MentorNet(n_labels=C, label_feature=True, initial_sample_weight=0.9, seed=3).state_dict()
    found = made("mentornet").state_dict()
    assert MentorConfig().mentor_embedding == (2, 5)
    assert found.keys() == original.keys()
    assert all(torch.equal(found[name], value) for name, value in original.items())


def test_the_widths_are_those_of_label_and_percent() -> None:
    state = made("mentornet", embedding=(3, 7)).state_dict()
    assert state["label_embedding"].shape == (C, 3)
    assert state["percent_embedding"].shape == (100, 7)
    assert state["hidden_matrix"].shape[0] == 3 + 7 + 2


def test_an_mlp_has_none() -> None:
    default, wider = made("mlp").state_dict(), made("mlp", embedding=(3, 7)).state_dict()
    assert all(torch.equal(wider[name], value) for name, value in default.items())


def test_the_setting_reaches_the_mentor_and_its_state_is_taken_up_again() -> None:
    learner = MentorLearner(WIDER, C, seed=0)
    learner.learn(an_update(0))
    again = mentor_of(learner.state(), WIDER, C, seed=0)
    for each in (learner, again):
        each.learn(an_update(1))
    scores = [each.score(an_update(1).features) for each in (learner, again)]
    assert torch.equal(*scores)
    assert len(set(scores[0].tolist())) > 1


def test_a_state_of_other_widths_is_refused() -> None:
    with pytest.raises(UserError, match="made with other settings"):
        mentor_of(MentorLearner(WIDER, C, seed=0).state(), CONFIG, C, seed=0)


@pytest.mark.parametrize("widths", [(2,), (2, 5, 5), (0, 5), (2, 101)])
def test_widths_that_are_not(widths: tuple[int, ...]) -> None:
    with pytest.raises(UserError) as raised:
        TrainConfig.from_flat({"mentor_embedding": list(widths)})
    assert str(raised.value) == (
        f"mentor_embedding is {widths!r}, but it must be two widths from 1 to 100, of label and percent; e.g. 2 5"
    )
