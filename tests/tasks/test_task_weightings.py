"""Weightings of tasks against tables that were worked out by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from ray_mentor import UserError
from ray_mentor.tasks import WEIGHTINGS, TaskSet, TaskSettings
from ray_mentor.tasks.base import AbstractWeighting, Seen, TaskInfluences
from ray_mentor.tasks.pooled import PooledInfluences

IDS = ("a", "b", "c", "d")


def weighting(name: str, trusted: tuple[int, ...] = (1, 3), **settings: Any) -> AbstractWeighting:
    return WEIGHTINGS[name](TaskSet(IDS), TaskSettings(**settings), np.array(trusted, np.int64))


def told(found: AbstractWeighting, *reports: tuple[int, float, float, int]) -> AbstractWeighting:
    for task, success, advantage, version in reports:
        found.report(task, Seen(success, advantage, version))
    return found


def test_at_first() -> None:
    for name in ("uniform", "plr", "learnability", "learning-progress", "sec", "influence", "mentor"):
        np.testing.assert_allclose(weighting(name).shares(), 0.25)
    np.testing.assert_allclose(weighting("trusted-only").shares(), [0, 0.5, 0, 0.5])


def test_trusted_only_needs_a_trusted_task_of_the_set() -> None:
    with pytest.raises(UserError, match="none of the trusted ones is in the set"):
        weighting("trusted-only", trusted=())


def test_manual_practises_the_first_that_are_not_mastered() -> None:
    found = weighting("manual", order=("c", "a", "d"), window=2, mastered=0.4, score_rate=0.5)
    np.testing.assert_allclose(found.shares(), [0.5, 0, 0.5, 0])
    told(found, (2, 1.0, 0.0, 0))  # .5
    np.testing.assert_allclose(found.shares(), [0.5, 0, 0, 0.5])
    told(found, (0, 1.0, 0.0, 0), (3, 0.9, 0.0, 0))  # .5, .45
    np.testing.assert_allclose(found.shares(), [1 / 3, 0, 1 / 3, 1 / 3])
    with pytest.raises(UserError, match="manual needs an order"):
        weighting("manual")


def test_learnability() -> None:
    """p: .5 → .75, .25, .5, .5; p(1 − p) = .1875, .1875, .25, .25."""
    found = told(weighting("learnability"), (0, 1.0, 0.0, 0), (1, 0.0, 0.0, 0))
    np.testing.assert_allclose(found.shares(), np.array([3, 3, 4, 4]) / 14)
    sure = told(weighting("learnability", score_rate=1.0), *((task, 1.0, 0.0, 0) for task in range(4)))
    np.testing.assert_allclose(sure.shares(), 0.25)


def test_sec() -> None:
    """Q = .4 after one report of .8, .5·.4 + .5·.2 = .3 after a second of .2; others keep 0."""
    found = told(weighting("sec"), (0, 0.0, 0.8, 0), (0, 0.0, 0.2, 0), (2, 0.0, 0.6, 0))
    powers = np.exp(np.array([0.3, 0, 0.3, 0]) / 0.2)
    np.testing.assert_allclose(found.shares(), powers / powers.sum())


def test_learning_progress() -> None:
    """α = ½: fast .5, slow .25 of a; b fails; c: fast .25, slow .125. f(p) = .9p/(p + .1(1 − 2p))."""
    found = told(
        weighting("learning-progress", progress_rate=0.5), (0, 1.0, 0.0, 0), (1, 0.0, 0.0, 0), (2, 0.5, 0.0, 0)
    )

    def f(p: float) -> float:
        return 0.9 * p / (p + 0.1 * (1 - 2 * p))

    assert f(0.5) == pytest.approx(0.9)
    progress = np.array([f(0.5) - f(0.25), f(0.25) - f(0.125)])
    z = (progress - progress.mean()) / progress.std()
    assert sorted(z) == pytest.approx([-1, 1])
    weights = 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(found.shares(), np.array([weights[0], 0, weights[1], 0]) / weights.sum())


def test_prioritized_level_replay() -> None:
    """Of four, a, b, c are seen: ¾ are replayed, ¼ is d. Ranks 3, 1, 2; β ½: weights 1/9, 1, 1/4; stale: 3, 1, 0."""
    found = told(weighting("plr", rank_temperature=0.5, staleness=0.2), (0, 0, 0.1, 2), (1, 0, 0.9, 4), (2, 0, 0.5, 5))
    by_rank = np.array([1 / 9, 1, 1 / 4]) / (49 / 36)
    replayed = 0.8 * by_rank + 0.2 * np.array([3, 1, 0]) / 4
    np.testing.assert_allclose(found.shares(), [*(0.75 * replayed), 0.25])


def test_one_task_of_which_all_is_known_is_replayed_by_score_alone() -> None:
    found = told(weighting("plr", staleness=0.5), *((task, 0.0, 0.1, 7) for task in range(4)))
    assert found.shares().sum() == pytest.approx(1)


def test_influences_are_pooled_by_source() -> None:
    """Of x: 1, 3 (of a) and 2 (of b); of y: −1 (of c). d of z was never seen, and is as good as the best."""
    tasks = TaskSet(IDS, ["x", "x", "y", "z"])
    pooled = PooledInfluences(tasks, TaskSettings(pooling="source"))
    assert pooled.is_empty
    pooled.take_in(TaskInfluences(np.array([0, 0, 1, 2]), np.array([1.0, 3.0, 2.0, -1.0])))
    np.testing.assert_allclose(pooled.usefulness(), [2, 2, -1, 2])


def test_old_influences_fade() -> None:
    pooled = PooledInfluences(TaskSet(["a"]), TaskSettings(pooling="none", influence_decay=0.5))
    for value in (1.0, 4.0):
        pooled.take_in(TaskInfluences(np.array([0]), np.array([value])))
    np.testing.assert_allclose(pooled.usefulness(), [(0.5 * 1 + 4) / 1.5])


def test_influences_are_pooled_by_parameters() -> None:
    """Two tasks at a distance of 1, e^(−½) alike, groups 1, 1 of a and 0, 2 of b, one far away without any."""
    tasks = TaskSet(["a", "b", "far"], parameters=np.array([[0.0], [1.0], [50.0]]))
    pooled = PooledInfluences(tasks, TaskSettings(influence_decay=0.9))
    pooled.take_in(TaskInfluences(np.array([0, 0, 1, 1]), np.array([1.0, 2.0, 0.0, 2.0])))
    like = np.exp(-0.5)
    near = 2 * (1 + like)
    means = np.array([(3 + 2 * like) / near, (2 + 3 * like) / near])
    source, variance = 5 / 4, 9 / 4 - (5 / 4) ** 2
    between = np.var(means)
    share = between / (between + variance / near)
    expected = [*(source + share * (means - source)), source]
    np.testing.assert_allclose(pooled.usefulness(), expected, rtol=1e-12)


def test_the_best_weight_of_two_tasks() -> None:
    """Influences 2 and 1 in two sources, availability alike: weights 4 to 1 at a sharpness of 2; harm has none."""
    for name in ("influence", "mentor"):
        found = WEIGHTINGS[name](TaskSet(["a", "b"], ["x", "y"]), TaskSettings(), np.array([0]))
        found.learn(TaskInfluences(np.array([0, 1]), np.array([2.0, 1.0])))
        np.testing.assert_allclose(found.shares(), [0.8, 0.2])
        found = WEIGHTINGS[name](TaskSet(["a", "b"], ["x", "y"]), TaskSettings(), np.array([0]))
        found.learn(TaskInfluences(np.array([0, 1]), np.array([2.0, -1.0])))
        np.testing.assert_allclose(found.shares(), [1, 0])


def test_the_mentor_is_sec_until_something_helps_and_where_all_tasks_help_alike() -> None:
    settings = TaskSettings(temperature=0.3)
    tasks = TaskSet(IDS)
    sec, mentor = (WEIGHTINGS[name](tasks, settings, np.array([0])) for name in ("sec", "mentor"))
    for one in (sec, mentor):
        told(one, (0, 0.0, 0.9, 0), (1, 0.0, 0.4, 0))
    np.testing.assert_allclose(mentor.shares(), sec.shares())
    mentor.learn(TaskInfluences(np.array([0, 1]), np.array([-1.0, -1.0])))
    np.testing.assert_allclose(mentor.shares(), sec.shares())
    mentor = WEIGHTINGS["mentor"](tasks, settings, np.array([0]))
    told(mentor, (0, 0.0, 0.9, 0), (1, 0.0, 0.4, 0))
    mentor.learn(TaskInfluences(np.array([0, 1]), np.array([1.0, 1.0])))
    np.testing.assert_allclose(mentor.shares(), sec.shares())


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_a_state_is_plain_and_goes_on(name: str) -> None:
    def made() -> AbstractWeighting:
        return weighting(name, order=("a", "b", "c", "d"))

    found = told(made(), (0, 0.2, 0.9, 1), (2, 0.7, 0.1, 3))
    found.learn(TaskInfluences(np.array([0, 1]), np.array([1.0, 2.0])))
    again = made()
    again.load(json.loads(json.dumps(found.table())))
    for one in (found, again):
        told(one, (1, 1.0, 0.3, 4))
    np.testing.assert_array_equal(again.shares(), found.shares())


@pytest.mark.parametrize(
    "table", [None, {}, {"available": [1.0]}, {"available": [1.0, 2.0, "x", 4.0]}, {"available": [float("nan")] * 4}]
)
def test_a_state_that_is_none_is_refused(table: Any) -> None:
    found = weighting("sec")
    with pytest.raises(UserError):
        found.load(table)
    np.testing.assert_allclose(found.shares(), 0.25)


@pytest.mark.parametrize(
    ("ids", "more", "says"),
    [
        ((), {}, "must name tasks"),
        (("a", "a"), {}, "more than once"),
        (("a", "b"), {"sources": ["x"]}, "1 entries for 2 tasks"),
        (("a", "b"), {"parameters": np.zeros((3, 1))}, "for 2 tasks"),
        (("a",), {"parameters": np.array([[np.nan]])}, "finite"),
    ],
)
def test_what_is_no_task_set(ids: tuple[str, ...], more: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        TaskSet(ids, **more)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("exploration", 1.0),
        ("gradient_decay", -0.1),
        ("score_rate", 0.0),
        ("staleness", 1.1),
        ("temperature", 0.0),
        ("sharpness", float("nan")),
        ("window", 0),
        ("trusted_interval", 1.5),
        ("pooling", "all"),
        ("trusted_draw", "best"),
    ],
)
def test_settings_that_are_none(name: str, value: Any) -> None:
    with pytest.raises(UserError, match=name):
        TaskSettings(**{name: value})
