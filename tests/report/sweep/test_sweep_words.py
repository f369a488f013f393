"""A sweep's values as a person reads them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ray_mentor.report.page import words
from ray_mentor.report.page.words import (
    duration_text,
    figure_text,
    listed_text,
    numbered,
    one_line,
    setting_texts,
    value_text,
)
from ray_mentor.report.sweep.words import counts_text, verdict_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (True, "true"),
        (10, "10"),
        (10.0, "10"),
        (0.25, "0.25"),
        (0.00012345, "0.0001234"),
        (1e9, "1e+09"),
        (-0.0, "0"),
        (math.inf, "inf"),
        ("", '""'),
        ("sum", "sum"),
        ((64, 32), "(64, 32)"),
        ("a\n\tb\x1b", "a b\\x1b"),
        ("x" * 100, "x" * 59 + "…"),
    ],
)
def test_a_value(value: Any, text: str) -> None:
    assert value_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (599, "599 s"),
        (600, "10 min"),
        (10_799, "180 min"),
        (10_800, "3.0 h"),
        (360_000, "100.0 h"),
    ],
)
def test_a_duration(seconds: float | None, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_figure_that_is_none() -> None:
    assert [figure_text(value) for value in (0.5, None, math.nan, -math.inf)] == ["0.5000", "–", "–", "–"]


def test_words_around_values() -> None:
    assert setting_texts({"a\n": 1, "b": None}) == ["a = 1", "b = –"]
    assert [listed_text(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert [numbered(count, "trial") for count in (0, 1, 2)] == ["0 trials", "1 trial", "2 trials"]
    assert counts_text({"failed": 2, "odd": 1, "finished": 3, "stopped": 0}) == "3 finished, 2 failed, 1 odd"
    assert one_line("abcdef", most=4) == "abc…"
    assert one_line(" a" * 100, most=4) == "a a…"
    assert one_line("a" + " " * 100, most=4) == "a…", "what lies far behind is not looked for"


def test_of_a_name_of_megabytes_little_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(words, "printable", lambda text: seen.append(len(text)) or text)
    assert one_line("x" * 10**7) == "x" * 59 + "…"
    assert max(seen) < 1000


def test_a_verdict_without_its_interval() -> None:
    confirm = {
        "seeds": [4],
        "on": "test_accuracy",
        "best": {"test_accuracy": [0.5]},
        "default": {"test_accuracy": [0.75]},
        "difference": {"mean": -0.25, "low": math.nan, "high": math.nan},
        "verdict": "no difference shown",
    }
    assert verdict_text(confirm) == (
        "No difference shown from the settings that the sweep began from, on fresh seed 4: test accuracy 0.5000 "
        "against 0.7500; difference -0.2500, no interval from so few seeds."
    )
