"""Features of very different sizes, given in Python, are told of with what to do."""

from __future__ import annotations

from typing import Any

import numpy as np

from ray_mentor.data import FeatureInputs
from ray_mentor.data.python.unscaled import note_on_scale

DRAW = np.random.default_rng(0).random((200, 3))
SIZES = np.array([0.03, 1.0, 4000.0])


def note(values: np.ndarray, **more: object) -> str | None:
    return note_on_scale(FeatureInputs(values.astype(np.float32)), **more)  # type: ignore[arg-type]


def test_sizes_that_differ_are_said_with_the_line_that_scales() -> None:
    said = note(DRAW * SIZES, names=("smoothness", "b", "area"))
    assert said is not None
    assert said.startswith("warning: features differ in size (smoothness spreads by 0.03, area spreads by 3,9")
    assert "in Python nothing is scaled" in said
    assert "feature 0 spreads by 0.03" in str(note(DRAW * SIZES))


def test_the_line_that_it_gives_does_it() -> None:
    x = np.concatenate([DRAW * SIZES, np.full((200, 1), 7.0)], axis=1)
    line = str(note(x)).partition("Scale them: ")[2].partition(", and all")[0]
    inside: dict[str, Any] = {"x": x}
    exec(line, inside)  # noqa: S102 - what a reader would type
    assert note(inside["x"]) is None


def test_what_is_alike_or_scaled_already_or_constant_is_not() -> None:
    assert note(DRAW) is None
    assert note(DRAW * np.array([1.0, 50.0, 0.0])) is None
    assert note(np.zeros((5, 2))) is None
    scaled = FeatureInputs((DRAW * SIZES).astype(np.float32))
    assert note_on_scale(scaled.scaled(scaled.statistics())) is None
    rare = np.where(np.arange(200)[:, None] == 3, 1.0, [0.0, 0.0, 0.0])  # one of 200, as one-hot columns have it
    assert note(np.concatenate([rare, DRAW], axis=1)) is None
