"""Calls of the mentor actor that can't be served: an error in the caller, and a mentor that is what it was."""

from __future__ import annotations

import dataclasses
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from hostile_data import answer, nothing_is_created
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_mentor.config import FEATURES, MentorConfig
from ray_mentor.core.mentor.learner import MentorState
from ray_mentor.errors import UserError
from ray_mentor.on_ray.mentor.actor import MentorActor

C, H, N = 4, 2, 9
CONFIG = MentorConfig(mentor_features=FEATURES, history_length=H, mentor_hidden=(6,), mentor_learning_rate=0.01)
COLUMNS = 6 + H


def rows(seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    matrix = draw.random((N, COLUMNS))
    matrix[:, 2] = draw.integers(0, C, N)
    matrix[:, 4] = draw.integers(0, 2, N)
    return matrix


def call(**changes: Any) -> dict[str, Any]:
    """The arguments of a good update of a fresh mentor."""
    influence = np.linspace(-1, 1, N, dtype=np.float32)
    good = {"version": 0, "update_id": 3, "features": rows(), "influence": influence, "keep": np.ones(N, bool)}
    return {**good, **changes}


def fresh() -> MentorActor:
    return MentorActor(CONFIG, C, seed=0)


def learnt() -> MentorActor:
    actor = fresh()
    actor.learn(**call())
    return actor


def bits(state: MentorState) -> tuple[Any, ...]:
    """Version, update and every byte of params and optimizer."""
    payload = torch.load(io.BytesIO(state.payload), weights_only=True)
    moments = payload["optimizer"]["state"]
    tensors = [*payload["mentor"].values(), *(value for each in moments.values() for value in each.values())]
    return state.version, state.update_id, state.skipped, [tensor.numpy().tobytes() for tensor in tensors]


def changed(matrix: np.ndarray, row: int, column: int, value: float) -> np.ndarray:
    matrix = matrix.copy()
    matrix[row, column] = value
    return matrix


BAD_FEATURES = [
    None, "x", [[1.0] * COLUMNS] * N, rows().tolist(), rows()[0], rows()[:, :-1], rows()[:0], rows().T, rows()[None],
    np.zeros((N, COLUMNS + 1)), *(rows().astype(kind) for kind in (np.int64, complex, object, str)),
    *(changed(rows(), 1, column, value) for column in range(COLUMNS) for value in (np.nan, np.inf, -np.inf, 1e39)),
    *(changed(rows(), 1, 2, label) for label in (-1, C, 0.5, 1e30)),
    *(changed(rows(), 1, 4, trusted) for trusted in (-1, 2, 0.5, 1e30)),
]  # fmt: skip
BAD_COUNTS = [None, "0", 0.0, -1, True, 2**63, 10**400, [0], np.array([0])]

BAD_INFLUENCES = [None, [0.0] * N, np.zeros(N - 1), np.zeros((N, 1)), np.zeros(N, int), np.zeros(0)]
BAD_KEEPS = [None, [True] * N, np.ones(N - 1, bool), np.ones(N, int), np.ones(N), np.ones((N, 1), bool)]

BAD_LEARN: list[dict[str, Any]] = [
    *({"features": value} for value in BAD_FEATURES),
    *({name: value} for name in ("version", "update_id") for value in BAD_COUNTS),
    *({"influence": value} for value in BAD_INFLUENCES),
    *({"keep": value} for value in BAD_KEEPS),
    {"version": 1, "update_id": 2},
]  # fmt: skip
BAD_SCORE: list[dict[str, Any]] = [
    *({"features": value} for value in BAD_FEATURES),
    *({"version": value} for value in BAD_COUNTS),
]  # fmt: skip


@pytest.mark.parametrize("changes", BAD_LEARN, ids=lambda changes: "-".join(changes))
def test_an_update_that_cannot_be_applied(changes: dict[str, Any]) -> None:
    actor = learnt()
    before = bits(actor.state())
    said = answer(lambda: actor.learn(**call(**{"version": 1, "update_id": 4, **changes})))
    assert said is not None
    assert bits(actor.state()) == before
    assert actor.learn(**call(version=1, update_id=4)).version == 2


@pytest.mark.parametrize("changes", BAD_SCORE, ids=lambda changes: "-".join(changes))
def test_a_batch_that_cannot_be_scored(changes: dict[str, Any]) -> None:
    actor = learnt()
    before = bits(actor.state())
    said = answer(lambda: actor.score(**{"version": 1, "features": rows(), **changes}))
    assert said is not None
    assert bits(actor.state()) == before


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38, 1e-45, -0.0])
def test_any_influence_gives_a_mentor_that_is_finite(value: float) -> None:
    """NaN and infinity stand for what is not known; they are answered, not refused."""
    for influence in (np.full(N, value, np.float32), np.array([value] + [1.0] * (N - 1), np.float32)):
        actor = learnt()
        reply = actor.learn(**call(version=1, update_id=4, influence=influence))
        assert reply.version == 2
        assert all(np.isfinite(np.frombuffer(data, np.float32)).all() for data in bits(actor.state())[3])


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    loss=st.lists(finite, min_size=N, max_size=N),
    difference=finite,
    progress=finite,
    influence=st.lists(st.floats(width=32), min_size=N, max_size=N),
    keep=st.lists(st.booleans(), min_size=N, max_size=N),
)
def test_numbers_of_any_size(
    loss: list[float], difference: float, progress: float, influence: list[float], keep: list[bool]
) -> None:
    actor = learnt()
    features = rows()
    features[:, 0], features[:, 1], features[:, 3] = loss, difference, progress
    before = bits(actor.state())
    scores = actor.score(1, features).sample_weights
    assert scores is not None
    reply = actor.learn(1, 4, features, np.array(influence, np.float32), np.array(keep, bool))
    after = bits(actor.state())
    assert reply.state == actor.state()
    assert after[0] == 2
    assert after[2] == 0 or after[3] == before[3], "a skipped update changes nothing"
    assert all(np.isfinite(np.frombuffer(data, np.float32)).all() for data in after[3])


def with_payload(change: Callable[[dict[str, Any]], Any]) -> MentorState:
    state = learnt().state()
    payload = torch.load(io.BytesIO(state.payload), weights_only=True)
    replaced = change(payload)
    file = io.BytesIO()
    torch.save(payload if replaced is None else replaced, file)
    return dataclasses.replace(state, payload=file.getvalue())


def set_in(payload: dict[str, Any], *place: Any, value: Any) -> None:
    for key in place[:-1]:
        payload = payload[key]
    payload[place[-1]] = value


MOMENT = ("optimizer", "state", 0, "exp_avg")
BAD_STATES: list[Any] = [
    None, 3, b"", "x", {}, learnt().state().payload, dataclasses.asdict(learnt().state()),
    *(dataclasses.replace(learnt().state(), **{name: value}) for name in ("version", "update_id", "skipped")
      for value in (None, "1", 1.0, -2, True, 2**63)),
    *(dataclasses.replace(learnt().state(), payload=value)
      for value in (None, "x", b"", b"junk", learnt().state().payload[:-9])),
    MentorActor(dataclasses.replace(CONFIG, mentor_hidden=(7,)), C, 0).state(),
    MentorActor(CONFIG, C + 1, 0).state(),
    MentorActor(dataclasses.replace(CONFIG, mentor="mentornet", mentor_features=("label",)), C, 0).state(),
    with_payload(lambda payload: []),
    with_payload(lambda payload: {"mentor": payload["mentor"]}),
    with_payload(lambda payload: set_in(payload, "mentor", value={})),
    with_payload(lambda payload: next(iter(payload["mentor"].values())).fill_(torch.nan) and None),
    *(with_payload(lambda payload, value=value: set_in(payload, *MOMENT, value=value))
      for value in (None, "x", 1.0, torch.zeros(3), torch.full((6, 9), torch.nan), torch.zeros(1).expand(10**8))),
    *(with_payload(lambda payload, value=value: set_in(payload, "optimizer", "param_groups", 0, "lr", value=value))
      for value in (None, "x", float("nan"), float("inf"), -1.0, 1e300)),
    with_payload(lambda payload: set_in(payload, "optimizer", "state", value={7: {}})),
]  # fmt: skip


@pytest.mark.parametrize("state", BAD_STATES, ids=lambda state: type(state).__name__)
def test_a_state_that_cannot_be_taken_up(state: Any) -> None:
    actor = learnt()
    before = bits(actor.state())
    said = answer(lambda: actor.load(state))
    if said is not None:
        assert "mentor's state" in said
        assert bits(actor.state()) == before
    reply = actor.learn(**call(version=actor.state().version, update_id=actor.state().update_id + 1))
    assert reply.state is not None
    assert reply.state.skipped == actor.state().skipped


def test_a_good_state_is_taken_up() -> None:
    """So that the tests above can fail."""
    actor = fresh()
    actor.load(learnt().state())
    assert bits(actor.state()) == bits(learnt().state())


def test_a_learner_that_fails_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    actor = learnt()
    before = bits(actor.state())
    learn = type(actor._learner).learn

    def half(self: Any, update: Any) -> None:
        learn(self, update)
        raise MemoryError

    monkeypatch.setattr(type(actor._learner), "learn", half)
    with pytest.raises(MemoryError):
        actor.learn(**call(version=1, update_id=4))
    monkeypatch.undo()
    assert bits(actor.state()) == before
    expected = learnt()
    expected.learn(**call(version=1, update_id=4))
    actor.learn(**call(version=1, update_id=4))
    assert bits(actor.state()) == bits(expected.state())


def test_a_pickle_in_the_place_of_a_state(tmp_path: Path) -> None:
    actor = learnt()
    before = bits(actor.state())
    with nothing_is_created(tmp_path / "created") as trap:
        for payload in (pickle.dumps(trap), with_payload(lambda payload: {**payload, "more": trap}).payload):
            state = dataclasses.replace(learnt().state(), payload=payload)
            assert answer(lambda state=state: actor.load(state)) is not None
    assert bits(actor.state()) == before


@pytest.mark.usefixtures("local_ray")
@pytest.mark.slow
def test_through_a_real_actor() -> None:
    """The error is the caller's, the actor lives on, and holds the mentor that it held."""
    actor: Any = ray.remote(MentorActor).options(num_cpus=0, max_restarts=-1, max_task_retries=-1).remote(CONFIG, C, 0)
    ray.get(actor.learn.remote(*call().values()))
    before = bits(ray.get(actor.state.remote()))
    bad = [
        actor.learn.remote(*call(version=1, update_id=4, features=changed(rows(), 0, 0, np.nan)).values()),
        actor.learn.remote(*call(version=1, update_id=4, keep=np.ones(3, bool)).values()),
        actor.learn.remote(*call(version=1, update_id=1).values()),
        actor.score.remote(1, rows()[:, :3]),
        actor.load.remote(dataclasses.replace(learnt().state(), payload=b"junk")),
        actor.load.remote(None),
    ]
    for reply in bad:
        with pytest.raises(UserError):
            ray.get(reply, timeout=30)
    assert bits(ray.get(actor.state.remote())) == before
    assert ray.get(actor.learn.remote(*call(version=1, update_id=4).values())).version == 2
    ray.kill(actor)
