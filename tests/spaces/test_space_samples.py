"""From a sample to a run, the check of a whole space, and what may change in the middle of a run."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from ray import tune

from ray_mentor.config import MentorConfig, TrainConfig
from ray_mentor.core.mentor.learner import MentorLearner, MetaUpdate
from ray_mentor.core.step.features import Features
from ray_mentor.errors import UserError
from ray_mentor.on_ray.tune.spaces import MUTABLE, FoundSpace, check_space, config_of, mutable, settings_of

Table = dict[str, Any]


def a_space(**domains: Any) -> FoundSpace:
    return FoundSpace("mine", domains, "accuracy", 16)


def error_of(call: Any, *arguments: Any) -> str:
    with pytest.raises(UserError) as raised:
        call(*arguments)
    return str(raised.value)


# A sample


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ({"mentor_width": 32, "mentor_depth": 2}, {"mentor_hidden": (32, 32)}),
        ({"mentor_width": 32}, {"mentor_hidden": (32,)}),
        ({"mentor_depth": 3}, {"mentor_hidden": (100, 100, 100)}),
        ({"mentor_width": 32, "mentor_depth": 0}, {"mentor_hidden": ()}),
        ({"mentor_hidden": "20+10"}, {"mentor_hidden": (20, 10)}),
        ({"mentor_hidden": ""}, {"mentor_hidden": ()}),
        ({"mentor_hidden": [20, 10]}, {"mentor_hidden": (20, 10)}),
        ({"mentor_embedding": "3+4"}, {"mentor_embedding": (3, 4)}),
        ({"mentor_features": "loss+label"}, {"mentor_features": ("loss", "label")}),
        ({"mentor_features": "loss"}, {"mentor_features": ("loss",)}),
        ({"example_dropout": "0.5:0.2,0.1:0.8"}, {"example_dropout": "0.5:0.2,0.1:0.8"}),
        ({"entropy": 1}, {"entropy": 1.0}),
        ({"burn_in": 3 * 0.05}, {"burn_in": 0.15}),
        ({"method": "uniform", "update_interval": 3, "mentor_width": 5}, {"method": "uniform"}),
    ],
)
def test_a_sample_spelled_out(sample: Table, expected: Table) -> None:
    assert settings_of(sample) == expected


@pytest.mark.parametrize("mentor", ["mlp", "mentornet"])
def test_a_sample_becomes_the_runs_settings(mentor: str) -> None:
    sample = {"mentor": mentor, "mentor_width": 32, "mentor_embedding": "3+4", "mentor_features": "loss+label"}
    config = config_of(TrainConfig(), sample).mentor
    assert config == (
        MentorConfig(mentor_hidden=(32,), mentor_features=("loss", "label"))
        if mentor == "mlp"
        else MentorConfig("mentornet", mentor_embedding=(3, 4), mentor_features=("loss", "loss_difference", "label"))
    )


def test_numpys_numbers_become_pythons() -> None:
    sample = {
        "update_interval": np.int64(3),
        "entropy": np.float64(0.5),
        "nesterov": np.bool_(True),
        "mentor": np.str_("mlp"),
        "mentor_width": np.int32(4),
    }
    found = settings_of(sample)
    assert found == {"update_interval": 3, "entropy": 0.5, "nesterov": True, "mentor": "mlp", "mentor_hidden": (4,)}
    assert [type(value) for value in found.values()] == [int, float, bool, str, tuple]
    assert type(found["mentor_hidden"][0]) is int


def test_the_runs_own_settings_stay() -> None:
    base = TrainConfig.from_flat({"entropy": 0.5, "run_name": "mine", "data": "cifar10", "estimator": "unrolled"})
    flat = config_of(base, {"anchor": 0.5, "unroll_steps": 2}).flat()
    assert flat == {**base.flat(), "anchor": 0.5, "unroll_steps": 2}


def test_what_the_run_makes_meaningless_is_left_out() -> None:
    base = TrainConfig.from_flat({"method": "self-paced"})
    assert config_of(base, {"anchor": 0.5}) == base
    base = TrainConfig.from_flat({"mentor_patience": 3})
    assert config_of(base, {"meta_holdout": 0.0}).mentor.mentor_patience == 0


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        ({"update_interval": 2.5}, "update_interval is 2.5, but it must be of type int"),
        ({"mentor_features": 3}, "mentor_features is 3, but it must be a list of str"),
        ({"mentor_hidden": "8+wide"}, "mentor_hidden is '8+wide', but it must be whole numbers with + between them, "
         "e.g. 2+5"),
        ({"mentor_depth": -1}, "mentor_depth is -1, but it must lie between 0 and 10000; a mentor is small"),
        ({"mentor_width": 10**9, "mentor_depth": 2}, "mentor_width is 1000000000, but it must lie between 0 and 10000; "
         "a mentor is small"),
        ({"mentor_depth": 1.5}, "mentor_depth is 1.5, but it must be of type int"),
        ({"anker": 0.5}, "unknown setting 'anker'; nearest valid: anchor, "),
    ],
)  # fmt: skip
def test_a_sample_that_is_none(sample: Table, said: str) -> None:
    assert error_of(config_of, TrainConfig(), sample).startswith(said)


# A space


def test_a_space_with_an_invalid_sample_is_refused_with_the_sample() -> None:
    found = a_space(update_interval=tune.choice([5, 0]), entropy=0.5)
    assert error_of(check_space, found, TrainConfig()) == (
        "space 'mine' holds samples that can't be trained: update_interval is 0, but it must be at least 1; such a "
        "sample: update_interval=0, entropy=0.5"
    )


def test_a_combination_that_does_not_go_together_is_refused() -> None:
    found = a_space(mentor_features=tune.choice(["loss", "loss+history"]))
    assert error_of(check_space, found, TrainConfig()).endswith(
        "history_length is 0, but the feature `history` needs at least 1; such a sample: mentor_features='loss+history'"
    )
    check_space(found, TrainConfig.from_flat({"history_length": 3}))


@pytest.mark.parametrize(
    ("domains", "said"),
    [
        ({"method": tune.choice(["uniform", "mentornt"])}, "unknown method 'mentornt'; valid: mentornet, "),
        ({"method": tune.choice(["uniform", "mentornet-frozen"])}, "method is 'mentornet-frozen', which takes "),
        ({"student": tune.choice(["mlp", "resnet"])}, "unknown student 'resnet' (nearest: "),
        ({"mentor_features": tune.choice(["loss", "loss+loss"])}, "features is ('loss', 'loss'), but a feature "),
        ({"mentor_width": tune.choice([8, 10_000]), "mentor_depth": 3}, "hidden is (10000, 10000, 10000), which on 2 "),
    ],
)  # fmt: skip
def test_what_only_the_parts_know_is_asked_of_them(domains: Table, said: str) -> None:
    text = error_of(check_space, a_space(**domains), TrainConfig())
    assert text.startswith(f"space 'mine' holds samples that can't be trained: {said}")


def test_domains_that_nothing_can_be_drawn_from() -> None:
    text = error_of(check_space, a_space(anchor=tune.choice([])), TrainConfig())
    assert text.startswith("space 'mine' can't be drawn from: ")
    assert text.endswith("; mend its domains")


def test_the_samples_are_the_same_each_time() -> None:
    found = a_space(momentum=tune.uniform(0.5, 1.02))
    assert error_of(check_space, found, TrainConfig()) == error_of(check_space, found, TrainConfig())
    check_space(found, TrainConfig(), samples=3)  # of which all are below 1


def test_a_check_needs_neither_torch_nor_a_running_ray() -> None:
    code = (
        "from ray_mentor.on_ray.tune.spaces import *; from ray_mentor.config import TrainConfig; import ray, sys\n"
        "check_space(find_space('smoke'), TrainConfig()); print(ray.is_initialized(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False False", done.stderr


# In the middle of a run


def test_what_varies_and_may_change() -> None:
    domains = {
        "mentor_learning_rate": tune.loguniform(1e-4, 1e-2),
        "mentor_width": tune.choice([8, 16]),
        "entropy": 0.5,
        "anchor": tune.uniform(0, 0.9),
        "method": tune.choice(["uniform", "mentornet"]),
        "estimator": tune.choice(["jvp", "last_layer"]),
    }
    assert mutable(domains) == ("mentor_learning_rate", "anchor", "estimator")
    assert mutable({**domains, "estimator": tune.choice(["jvp", "unrolled"])}) == ("mentor_learning_rate", "anchor")


def test_every_mutable_setting_is_one() -> None:
    assert set(MUTABLE) <= set(TrainConfig().flat())


BEFORE = MentorConfig(mentor_hidden=(4,), mentor_learning_rate=0.01, update_interval=2)
LEARNT_BY: Table = {
    "mentor_learning_rate": 0.05,
    "mentor_weight_decay": 0.5,
    "update_interval": 7,
    "entropy": 2.0,
    "anchor": 0.3,
}
"""Of the mutable settings, those that a mentor learns by."""


def an_update(step: int) -> MetaUpdate:
    loss = torch.arange(8.0) / 2
    features = Features(loss, loss - 1, torch.zeros(8, dtype=torch.long), torch.full((8,), 0.5), torch.zeros(8, 0))
    return MetaUpdate(step, features, torch.linspace(-1, 1, 8), torch.ones(8, dtype=torch.bool))


def goes_on(**changes: Any) -> torch.Tensor:
    """What a mentor of two updates says after a third one, under other settings."""
    first = MentorLearner(BEFORE, 1, 0)
    for step in range(2):
        first.learn(an_update(step))
    second = MentorLearner(dataclasses.replace(BEFORE, **changes), 1, 0)
    second.load(first.state())
    second.learn(an_update(2))
    return second.score(an_update(0).features)


@pytest.mark.parametrize("name", LEARNT_BY)
def test_a_mentor_goes_on_under_another(name: str) -> None:
    assert name in MUTABLE
    assert not torch.equal(goes_on(**{name: LEARNT_BY[name]}), goes_on())
