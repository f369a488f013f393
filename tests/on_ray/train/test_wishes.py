"""Whose wishes for a checkpoint a rank knows of."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
from ray.train import PreemptionInfo
from small_jobs import job_of

from ray_mentor.core.exchange import Alone
from ray_mentor.data import Splits
from ray_mentor.on_ray.train import wishes as wishes_module
from ray_mentor.on_ray.train.run_board import RunBoard
from ray_mentor.on_ray.train.wishes import AGAIN, Wishes


class Rank(Alone):
    def __init__(self, rank: int) -> None:
        self.rank = rank


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What happens around a worker."""
    state = SimpleNamespace(going=None, now=1000.0, sigterm=SimpleNamespace(came=False, go_on=lambda: None))
    monkeypatch.setattr(wishes_module, "machines_that_go", lambda: state.going)
    monkeypatch.setattr(wishes_module, "HERE", state.sigterm)
    monkeypatch.setattr(wishes_module, "time", SimpleNamespace(monotonic=lambda: state.now))
    return state


def wishes_of(splits: Splits, rank: int = 0, local: bool = False) -> tuple[Wishes, RunBoard]:
    board = RunBoard("wishes")
    job = dataclasses.replace(job_of(splits, {}), local=local, board=board)
    return Wishes(job, Rank(rank)), board


def test_nobody_wishes_for_anything(world: Any, small_splits: Splits) -> None:
    assert not wishes_of(small_splits)[0].any()


@pytest.mark.parametrize("local", [True, False])
def test_whose_process_was_sent_sigterm(world: Any, local: bool, small_splits: Splits) -> None:
    wishes, _ = wishes_of(small_splits, rank=0 if local else 1, local=local)
    world.sigterm.came = True
    assert wishes.any()


def test_checkpoints_follow_each_other_while_a_machine_is_about_to_go(world: Any, small_splits: Splits) -> None:
    wishes, _ = wishes_of(small_splits, rank=1)
    world.going = PreemptionInfo(None, {"node": [0]})
    assert wishes.any()
    wishes.fulfil()
    assert not wishes.any()
    world.now += AGAIN - 1
    assert not wishes.any()
    world.now += 1
    assert wishes.any()


def test_the_drivers_wish_is_rank_0s(world: Any, small_splits: Splits) -> None:
    wishes, board = wishes_of(small_splits)
    assert not board.wish(), "nobody trains who could write one"
    board.post({"kind": "started"})
    assert board.wish()
    assert not wishes_of(small_splits, rank=1)[0].any()
    wishes.fulfil()
    assert board.is_wished(), "that checkpoint was not written for it"
    assert wishes.any()
    wishes.fulfil()
    assert not board.is_wished()
    assert not wishes.any()
    board.post({"kind": "ended"})
    assert not board.wish()
