"""The curriculum of tasks as a loop meets it: draws, order of calls, states, and what a mentor learns in two tasks."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from practising.chain import CONFLICT, LADDER, Chain, Policy, grpo, probabilities
from practising.running import METHODS, run

from ray_mentor import UserError
from ray_mentor.tasks import WEIGHTINGS, PolicyRows, Rollouts, TaskCurriculum, TaskSet, TaskSettings
from ray_mentor.tasks.draws import drawn, uniforms


class Loop:
    """A short training on the chain."""

    unit = 1.0

    def __init__(self, method: str = "mentor", tasks: TaskSet | None = None, seed: int = 0, **settings: Any) -> None:
        self.chain = Chain(junk=True, seed=1)
        self.policy = Policy(self.chain.states)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), 0.05)
        self.curriculum = TaskCurriculum(
            tasks or self.chain.tasks,
            method,
            trusted=self.chain.trusted((f"{LADDER}-0-1", f"{LADDER}-1-1", f"{LADDER}-2-1")),
            policy=self.policy,
            optimizer=self.optimizer,
            settings=TaskSettings(trusted_groups=3, order=(f"{LADDER}-0-1",), trusted_interval=4, **settings),
            seed=seed,
        )

    def play(self, task: str, place: int) -> tuple[np.ndarray, Rollouts]:
        draw = np.random.default_rng([self.curriculum.iteration, place])
        played = self.chain.play(probabilities(self.policy), self.chain.tasks.place(task), 16, draw, grpo)
        return played.successes, Rollouts(task, played.rows)

    def iterate(self) -> list[str]:
        tasks = self.curriculum.sample(4)
        groups = [self.play(task, place) for place, task in enumerate(tasks)]
        for successes, one in groups:
            version = self.curriculum.iteration
            self.curriculum.report(one.task, successes, one.rows.advantages, version=version, rows=one.rows)
        trusted = [self.play(task, 100 + place)[1] for place, task in enumerate(self.curriculum.trusted_tasks())]
        self.curriculum.before_step()
        self.optimizer.zero_grad()
        for one in (*(group for _, group in groups), *trusted):
            chosen = self.policy(one.rows.observations).log_softmax(1).gather(1, one.rows.actions[:, None])[:, 0]
            (-(one.rows.advantages * chosen).sum() / one.rows.episodes).backward()
        self.optimizer.step()
        self.curriculum.learn([self.scaled(one) for one in trusted])
        return tasks

    def scaled(self, one: Rollouts) -> Rollouts:
        """What learn is given, in units that grow."""
        unit = self.unit**self.curriculum.iteration
        return Rollouts(one.task, dataclasses.replace(one.rows, advantages=unit * one.rows.advantages))


@pytest.mark.parametrize("method", WEIGHTINGS)
@pytest.mark.parametrize("stopped", [7, 8])
def test_a_curriculum_goes_on_with_the_same_draws(method: str, stopped: int) -> None:
    """Also between two updates, when what was reported waits for the next."""
    loop = Loop(method)
    for _ in range(stopped):
        loop.iterate()
    kept = io.BytesIO()
    parts = loop.policy.state_dict(), loop.optimizer.state_dict(), loop.curriculum.state_dict()
    torch.save(parts, kept)
    kept.seek(0)
    again = Loop(method)
    policy, optimizer, curriculum = torch.load(kept, weights_only=True)
    again.policy.load_state_dict(policy)
    again.optimizer.load_state_dict(optimizer)
    again.curriculum.load_state_dict(curriculum)
    for _ in range(6):
        assert again.iterate() == loop.iterate()
        np.testing.assert_array_equal(again.curriculum.probabilities, loop.curriculum.probabilities)
    assert torch.equal(again.policy.table, loop.policy.table)


def test_a_draw_depends_on_seed_worker_and_episode_alone() -> None:
    whole = uniforms(3, 1, 0, 20)
    np.testing.assert_array_equal(uniforms(3, 1, 13, 7), whole[13:])
    assert len({*whole, *uniforms(3, 0, 0, 20), *uniforms(4, 1, 0, 20)}) == 60
    assert (whole >= 0).all()
    assert (whole < 1).all()


def test_tasks_are_drawn_as_often_as_they_should() -> None:
    shares = np.array([0.0, 0.5, 0.0, 0.3, 0.2, 0.0])
    counts = np.bincount(drawn(shares, 0, 0, 0, 20_000), minlength=6)
    assert counts[[0, 2, 5]].sum() == 0
    off = (counts - 20_000 * shares)[[1, 3, 4]] / np.sqrt(20_000 * (shares * (1 - shares))[[1, 3, 4]])
    assert np.abs(off).max() < 4


def test_exploration() -> None:
    tasks = TaskSet([f"t{place}" for place in range(5)])
    trusted = TaskSet(["t1", "elsewhere"])
    settings = TaskSettings(exploration=0.5, order=("t0",))
    manual = TaskCurriculum(tasks, "manual", settings=settings)
    np.testing.assert_allclose(manual.probabilities, [0.6, 0.1, 0.1, 0.1, 0.1])
    alone = TaskCurriculum(tasks, "trusted-only", trusted=trusted, settings=settings)
    np.testing.assert_allclose(alone.probabilities, [0, 1, 0, 0, 0])


def test_of_two_tasks_the_mentor_practises_the_one_that_helps() -> None:
    """A task that is trusted itself, and one that wants other actions in the same states: all but exploration."""
    loop = Loop(tasks=TaskSet([f"{LADDER}-0-1", f"{CONFLICT}-0-1"], [LADDER, CONFLICT]))
    for _ in range(40):
        loop.iterate()
    assert loop.curriculum.probabilities[0] > 0.9
    assert loop.chain.success(probabilities(loop.policy), 0) > 0.5


def test_updates_without_any_success_say_nothing() -> None:
    loop = Loop()
    loop.curriculum.sample(4)
    none = Rollouts(f"{LADDER}-0-1", loop.play(f"{LADDER}-0-12", 0)[1].rows)  # which nobody gets right
    update = None
    for _ in range(4):
        loop.curriculum.report(none.task, np.zeros(16), none.rows.advantages, rows=none.rows)
        asked = loop.curriculum.trusted_tasks()
        loop.curriculum.before_step()
        loop.policy.table.grad = torch.zeros_like(loop.policy.table)
        loop.optimizer.step()
        update = loop.curriculum.learn([Rollouts(task, none.rows) for task in asked])
        loop.curriculum.sample(4)
    assert update is None
    assert (loop.curriculum.version, loop.curriculum.without_signal) == (1, 1)
    np.testing.assert_allclose(loop.curriculum.probabilities, 1 / len(loop.chain.tasks))


@pytest.mark.parametrize("of_trusted", [False, True])
def test_an_update_that_is_not_finite_changes_nothing(of_trusted: bool) -> None:
    loop = Loop()
    for _ in range(3):
        loop.iterate()
    before = loop.curriculum.weighting.table()
    loop.curriculum.sample(1)
    _, one = loop.play(f"{LADDER}-0-1", 0)
    rows = one.rows
    endless = torch.full_like(rows.log_probs, -800.0)  # a ratio beyond what a number holds
    bad = PolicyRows(rows.observations, rows.actions, endless, torch.ones_like(rows.advantages), 16)
    loop.curriculum.report(one.task, 0.5, np.zeros(1), rows=rows if of_trusted else bad)
    asked = loop.curriculum.trusted_tasks()
    came = [Rollouts(task, bad) if of_trusted else loop.play(task, 7)[1] for task in asked]
    loop.curriculum.before_step()
    loop.policy.table.grad = torch.zeros_like(loop.policy.table)
    loop.optimizer.step()
    assert loop.curriculum.learn(came) is None
    assert loop.curriculum.skipped == 1
    after = loop.curriculum.weighting.table()
    assert after["sum"] == before["sum"]
    loop.curriculum.load_state_dict(loop.curriculum.state_dict())  # which refuses what is not finite


def test_units_of_trusted_returns_say_nothing() -> None:
    one, other = (Loop(gradient_decay=0.0, trusted_draw="uniform") for _ in range(2))
    other.unit = 3.0
    for _ in range(24):
        assert one.iterate() == other.iterate()
    np.testing.assert_allclose(other.curriculum.probabilities, one.curriculum.probabilities, rtol=1e-9)
    assert one.curriculum.probabilities.max() > 2 / len(one.chain.tasks)


def out_of_turn(loop: Loop) -> None:
    for _ in range(4):
        loop.curriculum.sample(1)
    loop.curriculum.learn([])


def others(loop: Loop) -> None:
    for _ in range(4):
        loop.curriculum.sample(1)
    loop.curriculum.before_step()
    loop.curriculum.learn([loop.play(f"{LADDER}-0-9", 0)[1]])


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (out_of_turn, "without before_step"),
        (others, "give one for each that it names"),
        (lambda loop: loop.curriculum.sample(0), "n is 0"),
        (lambda loop: loop.curriculum.report("x", 1, 1), "no task 'x'"),
        (lambda loop: loop.curriculum.report(f"{LADDER}-0-1", 2, 1), r"must lie in \[0, 1\]"),
        (lambda loop: loop.curriculum.report(f"{LADDER}-0-1", 1, float("nan")), "finite"),
        (lambda loop: loop.curriculum.load_state_dict({}), "no state of tasks"),
        (lambda loop: loop.curriculum.load_state_dict(Loop("sec").curriculum.state_dict()), "trusted_ids|method"),
        (lambda loop: loop.curriculum.load_state_dict(Loop(seed=1).curriculum.state_dict()), "seed"),
        (lambda loop: Loop("best"), "unknown method"),
        (lambda loop: TaskCurriculum(TaskSet(["a"])), "give trusted, policy, optimizer, too"),
        (lambda loop: PolicyRows(*[torch.zeros(2)] * 3, torch.zeros(1), 1), "1 rows for 2 actions"),
        (lambda loop: PolicyRows(*[torch.zeros(0)] * 4, 1), "leave out tasks that nobody played"),
    ],
)
def test_what_is_refused(how: Callable[[Loop], Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        how(Loop())


def test_the_benchmark_of_the_chain_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """All methods, for 20 of the 400 steps; trusted episodes are counted."""
    monkeypatch.setattr("practising.running.STEPS", 20)
    for method in METHODS:
        figures = run(method, {}, 0, junk=True, trusted=())
        assert 0 < figures["last"] < 1
        assert (0.05 < figures["trusted_share"] < 0.25) == (method in ("influence", "mentor"))


def test_with_junk_the_mentor_goes_far_beyond_what_goes_by_availability_alone() -> None:
    """A whole run of each; the benchmark's table has the means over seeds."""
    mentor, sec = (run(method, {}, 1, junk=True, trusted=()) for method in ("mentor", "sec"))
    assert mentor["area"] > 0.35
    assert mentor["ladder_share"] > 0.6
    assert sec["area"] < 0.1
    assert sec["ladder_share"] < 0.2
