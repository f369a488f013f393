"""States in the place of a plain curriculum's own: taken up as a whole, or refused with nothing changed."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile_data import answer, nothing_is_created
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.own_loop.learned_curriculum import LearnedCurriculum

N, CLASSES = 12, 3


class Loop:
    """A training loop of one's own, with a meta loader that has a place of its own."""

    def __init__(self, **mentor: Any) -> None:
        torch.manual_seed(0)
        self.student = nn.Linear(4, CLASSES)
        self.optimizer = torch.optim.SGD(self.student.parameters(), 0.1)
        inputs, labels = torch.randn(N, 4), torch.arange(N) % CLASSES
        self.curriculum = LearnedCurriculum(
            self.student,
            self.optimizer,
            DataLoader(TensorDataset(inputs, labels), batch_size=4),
            total_steps=20,
            mentor=MentorConfig(update_interval=1, history_length=2, mentor_features=("loss", "history"), **mentor),
            curriculum=CurriculumConfig(burn_in=0.0),
            n_samples=N,
        )

    def run(self, steps: int) -> list[Tensor]:
        weights = []
        for step in range(steps):
            inputs = torch.randn(N, 4, generator=torch.Generator().manual_seed(step))
            labels = torch.arange(N) % CLASSES
            losses = F.cross_entropy(self.student(inputs), labels, reduction="none")
            loss = self.curriculum.weigh(losses, labels=labels, sample_ids=torch.arange(N))
            weights.append(self.curriculum.sample_weights)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.curriculum.after_step()
        return weights


def started() -> Loop:
    loop = Loop()
    loop.run(2)
    return loop


def assert_equal(found: Any, expected: Any) -> None:
    if isinstance(expected, Tensor):
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            assert_equal(found[name], expected[name])
    else:
        assert found == expected


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else ()
    return [place for key, each in inner for place in [(*above, key), *places(each, (*above, key))]]


LOOP = started()
STATE = LOOP.curriculum.state_dict()
VALUES = [
    None, "x", b"x", -1, 10**30, float("nan"), float("inf"), True, [], {}, {"passes": 1}, torch.zeros(()),
    torch.zeros(3), torch.full((N, 2), torch.inf), torch.zeros(N, 2, dtype=torch.long), torch.zeros(1).expand(10**8),
]  # fmt: skip


@settings(max_examples=200, deadline=None, derandomize=True)
@given(place=st.sampled_from(places(STATE)), value=st.sampled_from(VALUES), missing=st.booleans())
def test_any_entry_may_be_anything(place: tuple[Any, ...], value: Any, missing: bool) -> None:
    state = copy.deepcopy(STATE)
    inner = state
    for key in place[:-1]:
        inner = inner[key]
    if missing:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    loop = Loop()
    before = loop.curriculum.state_dict()
    said = answer(lambda: loop.curriculum.load_state_dict(state))
    if said is None:
        loop.run(1)
    else:
        assert_equal(loop.curriculum.state_dict(), before)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    state=st.one_of(st.none(), st.integers(), st.text(), st.lists(st.integers()), st.dictionaries(st.text(), st.none()))
)
def test_anything_in_the_place_of_a_state(state: Any) -> None:
    before = LOOP.curriculum.state_dict()
    assert answer(lambda: LOOP.curriculum.load_state_dict(state)) is not None
    assert_equal(LOOP.curriculum.state_dict(), before)


def test_a_refused_state_leaves_no_trace_in_what_comes_after() -> None:
    """The meta loader, too, goes on with the batch that it was at."""
    straight, disturbed = started(), started()
    wrong = copy.deepcopy(STATE)
    wrong["meta_set"] = {"passes": 1, "position": "first"}
    assert answer(lambda: disturbed.curriculum.load_state_dict(wrong)) is not None
    for one, other in zip(straight.run(3), disturbed.run(3), strict=True):
        assert torch.equal(one, other)
    assert_equal(disturbed.curriculum.state_dict(), straight.curriculum.state_dict())


def test_a_mentor_of_another_make() -> None:
    other = Loop(mentor_hidden=(7,))
    other.run(1)
    said = answer(lambda: LOOP.curriculum.load_state_dict(other.curriculum.state_dict()))
    assert said is not None
    assert said.startswith("the mentor's state can't be taken up (RuntimeError: Error(s) in loading state_dict")
    assert said.endswith("; it is damaged, or of a mentor that was made with other settings")


@pytest.mark.parametrize("what", ["exp_avg", "params", "a step"])
def test_a_mentor_that_would_fail_later(what: str) -> None:
    """Its params fit, but its next step would not work, or would make it NaN."""
    state = copy.deepcopy(STATE)
    payload = torch.load(io.BytesIO(state["curriculum"]["mentor"]["payload"]), weights_only=True)
    if what == "exp_avg":
        payload["optimizer"]["state"][0]["exp_avg"] = torch.zeros(3)
    elif what == "params":
        next(iter(payload["mentor"].values()))[0] = torch.nan
    else:
        payload["optimizer"]["state"][0]["step"] = "first"
    state["curriculum"]["mentor"]["payload"] = saved(payload)
    before = LOOP.curriculum.state_dict()
    said = answer(lambda: LOOP.curriculum.load_state_dict(state))
    assert said is not None
    assert said.startswith("the mentor's state can't be taken up (")
    assert_equal(LOOP.curriculum.state_dict(), before)


def test_a_mentor_learns_at_its_own_rate_whatever_the_state_says() -> None:
    state = copy.deepcopy(STATE)
    payload = torch.load(io.BytesIO(state["curriculum"]["mentor"]["payload"]), weights_only=True)
    payload["optimizer"]["param_groups"][0]["lr"] = float("nan")
    state["curriculum"]["mentor"]["payload"] = saved(payload)
    before = LOOP.curriculum.state_dict()
    LOOP.curriculum.load_state_dict(state)
    assert_equal(LOOP.curriculum.state_dict(), STATE)
    LOOP.curriculum.load_state_dict(before)


def saved(payload: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    torch.save(payload, file)
    return file.getvalue()


def test_a_pickle_in_the_place_of_the_mentor(tmp_path: Path) -> None:
    state = copy.deepcopy(STATE)
    with nothing_is_created(tmp_path / "created") as trap:
        file = io.BytesIO()
        torch.save(trap, file)
        state["curriculum"]["mentor"]["payload"] = file.getvalue()
        said = answer(lambda: LOOP.curriculum.load_state_dict(state))
        assert said is not None
        assert "the mentor's state can't be taken up (UnpicklingError: " in said
