"""What a person is told of a finished run beside its figures."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from tiny_states import started, state_of

from ray_mentor.config import TrainConfig
from ray_mentor.run.advice import advice, by_size_of, on_class_sizes
from ray_mentor.run.checkpoint.kept import KeptState

RESULT: dict[str, Any] = {"meta_updates": 25, "steps": 600, "sample_weight_spread": 0.3, "test_accuracy": None}


def told(
    result: dict[str, Any],
    right: int | None = 29,
    given: float = 0.6,
    loss: float = 0.1,
    guess: float | None = None,
    **config: Any,
) -> list[str]:
    """Of a run whose student is right on so many of 30 held-out trusted samples."""
    state = state_of(*started())
    log = dataclasses.replace(
        state.log, metrics=[{"test_agreement": None, "validation_agreement": given, "loss": loss}]
    )
    hits = torch.arange(30) < (right or 0)
    kept = None if right is None else KeptState(0, hits, 0, hits, state.student)
    state = dataclasses.replace(state, log=log, kept=kept)
    return advice({**RESULT, **result}, TrainConfig().changed(**config), state, guess)


def test_of_a_run_in_which_all_went_well_there_is_nothing_to_say() -> None:
    assert told({}) == []


NEXT_TO_PLAIN = "so this is next to plain training; give"


@pytest.mark.parametrize(
    ("updates", "steps", "config", "learned", "give"),
    [
        (0, 10, {"update_interval": 20}, "never learned in 10 steps", "--update-interval 1 or more --epochs"),
        (1, 100, {"update_interval": 20}, "learned only 1 time in 100 steps", "--update-interval 1 or more --epochs"),
        (7, 180, {"update_interval": 20}, "learned only 7 times in 180 steps", "--update-interval 3 or more --epochs"),
        (4, 100, {"update_interval": 20, "estimator": "unrolled", "unroll_steps": 4},
         "learned only 4 times in 100 steps", "--update-interval 4 or more --epochs"),
        (6, 26, {"estimator": "unrolled", "unroll_steps": 4}, "learned only 6 times in 26 steps", "more --epochs"),
        (9, 10, {}, "learned only 9 times in 10 steps", "more --epochs"),
        (0, 200, {"burn_in": 0.9, "update_interval": 1}, "never learned in 200 steps",
         "a smaller --burn-in or more --epochs"),
    ],
)  # fmt: skip
def test_a_mentor_that_learned_next_to_nothing(updates: int, steps: int, config: Any, learned: str, give: str) -> None:
    said = told({"meta_updates": updates, "steps": steps}, **config)
    assert said == [f"warning: the mentor {learned}, {NEXT_TO_PLAIN} {give}"]


def test_sample_weights_that_hardly_moved() -> None:
    assert told({"sample_weight_spread": 0.004}, update_interval=20) == [
        "warning: the sample weights hardly moved (their standard deviation is 0.004 in the last epoch), so this is "
        "next to plain training; give --update-interval 11 or more --epochs, or a higher --mentor-learning-rate"
    ]
    assert told({"sample_weight_spread": 0.03}) == []


def test_a_mentor_whose_weights_collapse_in_many_steps() -> None:
    """A fifth of them: digits in 6 epochs have 25 of 60, and end below plain training."""
    [said] = told({"steps": 60, "guards": {"fallbacks": 25}})
    assert said.startswith("warning: in 25 of 60 steps the mentor believed next to no sample")
    assert told({"steps": 60, "guards": {"fallbacks": 12}}) == []


def test_methods_without_a_mentor_are_told_nothing_of_one() -> None:
    assert told({"meta_updates": 0, "sample_weight_spread": 0.0}, method="uniform") == []


@pytest.mark.parametrize(
    ("right", "given", "noticed"),
    [
        (29, 0.6, False),  # clean
        (29, 0.95, False),  # clean, and so are the given labels
        (17, 0.6, True),  # no cleaner than the given ones
        (22, 0.4, False),  # a hard task: right more often than given labels say
        (24, 0.6, False),  # who can tell
    ],
)
def test_a_trusted_set_that_is_no_cleaner_is_noticed(right: int, given: float, noticed: bool) -> None:
    said = told({}, right, given)
    assert len(said) == noticed
    if noticed:
        assert said[0] == (
            "warning: the student is right on 0.567 of the held-out trusted samples (0.392 to 0.726) and agrees with "
            "0.600 of the given labels: either the trusted samples are no cleaner than the others (check some of them; "
            "accuracy on them is none then), or the task is hard for this student and few given labels are wrong, so "
            "that a mentor has little to win"
        )


def test_a_student_that_was_trained_too_briefly_says_nothing_of_trusted_samples() -> None:
    ten = math.log(10)
    at_chance = "warning: the student is right on 0.133 of the held-out trusted samples (0.053 to 0.297) and agrees "
    fix = "or its --learning-rate does not suit it; give more --epochs"
    assert told({}, 4, 0.15, loss=2.0, guess=ten) == [
        f"{at_chance}with 0.150 of the given labels, where a guess is right on 0.100: it was trained too briefly (its "
        f"loss on training samples is 2.00, where a guess among the classes has 2.30), {fix}"
    ]
    assert told({}, 5, 0.5, loss=2.1, guess=ten)[0].endswith(f"has 2.30), {fix}")
    assert told({}, 5, 0.5, loss=0.1, guess=ten) == told({}, 5, 0.5)  # by heart
    assert told({}, 17, 0.6, loss=1.1, guess=ten) == told({}, 17, 0.6)  # it has learnt them
    halfway = told({}, 9, 0.31, loss=1.51, guess=ten)
    assert halfway[0].endswith(
        "has little to win, or it was trained too briefly (its loss on training samples is 1.51, where a guess "
        "among the classes has 2.30)"
    )
    assert "no cleaner than the others" in halfway[0]


def test_a_student_that_is_right_was_not_trained_too_briefly() -> None:
    """Where a quarter of the labels is wrong, its loss on training samples is like a guess's."""
    three = math.log(3)
    assert told({}, 22, 0.75, loss=1.08, guess=three) == told({}, 22, 0.75)
    assert "no cleaner than the others" in told({}, 22, 0.75)[0]
    assert "too briefly" in told({}, 17, 0.6, loss=1.08, guess=three)[0]
    assert "where a guess is right on" not in told({}, 17, 0.6, loss=1.08, guess=three)[0]


def test_of_a_constant_that_alone_is_said_beside_a_mentor_that_did_not_learn() -> None:
    state = state_of(*started())
    hits = torch.arange(30) < 17
    log = dataclasses.replace(state.log, metrics=[{"test_agreement": None, "validation_agreement": 0.6}])
    state = dataclasses.replace(state, log=log, kept=KeptState(0, hits, 0, hits, state.student))
    assert advice(RESULT, TrainConfig(), state, None, "it is a constant") == ["it is a constant"]
    said = advice({**RESULT, "meta_updates": 0}, TrainConfig(), state, None, "it is a constant")
    assert said[0] == "it is a constant"
    assert said[1].startswith("warning: the mentor never learned")


SIZES = {"class_ratio": 40.0, "test_accuracy": 0.966, "test_agreement": None, "test_balanced_accuracy": 0.94}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"loss": "logit-adjusted:1:1"}, "--loss logit-adjusted:1:1"),
        ({"loss": "ldam"}, "--loss ldam"),
        ({"loss": "class-balanced"}, "--loss class-balanced"),
        ({"reweight": "drw"}, "--reweight drw"),
        ({"loss": "gce"}, None),
        ({}, None),
    ],
)
def test_whom_a_loss_by_class_sizes_is_for(settings: dict[str, Any], named: str | None) -> None:
    by_size = by_size_of(TrainConfig().changed(**settings).curriculum)
    assert by_size == named
    said = on_class_sizes(SIZES, by_size)
    assert on_class_sizes({**SIZES, "class_ratio": 2.0}, by_size) == []
    if named is None:
        assert said == []
        return
    (line,) = said
    assert line.startswith(f"{named} is for who counts each class the same, or has test data with as many of each")
    assert "right on 0.966 of the test split, and 0.940 in the mean over classes" in line
    assert "largest class is 40 times the smallest" in line
    assert "--loss cross-entropy is right more often in all" in line
    (given,) = on_class_sizes({**SIZES, "test_accuracy": None, "test_agreement": 0.6}, by_size)
    assert "in agreement with the given labels of 0.600 of the test split" in given
    (untested,) = on_class_sizes({"class_ratio": 40.0}, by_size)
    assert "test split" not in untested


def test_no_true_accuracy_at_all() -> None:
    said = told({}, None)
    assert said == [
        "warning: no true accuracy is known, since no trusted sample is held out (or the student gives no logits), and "
        "the test split has none but given labels; give more trusted samples, and a --meta-holdout above 0"
    ]
    assert told({"test_accuracy": 0.9}, None) == []
