"""The contract that every access to a mentor passes, wherever the mentor lives.

Its scores depend on features and version alone; an update is applied once, whoever repeats it; and a mentor that has
lost its state is handed the last one.
"""

from __future__ import annotations

import dataclasses
import io
import pickle
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import ray
import torch
from torch import Tensor, nn

from ray_mentor.config import FEATURES, CurriculumConfig, MentorConfig
from ray_mentor.core.exchange import Alone
from ray_mentor.core.mentor.access import AbstractMentorAccess, LocalMentor
from ray_mentor.core.mentor.learner import MentorLearner, MentorState, MetaUpdate
from ray_mentor.core.own_loop.learned_curriculum import LearnedCurriculum
from ray_mentor.core.step.features import Features
from ray_mentor.errors import MentorLostError
from ray_mentor.on_ray.mentor import shared as shared_mentor
from ray_mentor.on_ray.mentor.actor import LearnReply, MentorActor, ScoreReply
from ray_mentor.on_ray.mentor.shared import SharedMentor

C, H, SEED = 4, 2, 5
HANG = 60.0  # seconds that an actor may be silent
CONFIG = MentorConfig(mentor_features=FEATURES, history_length=H, mentor_hidden=(16,), mentor_learning_rate=0.1)
KINDS = ("local", *(pytest.param(kind, marks=pytest.mark.ray(shared=True)) for kind in ("actor", "replica")))


def fresh() -> MentorLearner:
    return MentorLearner(CONFIG, C, SEED)


def features(seed: int, n: int = 9) -> Features:
    draw = torch.Generator().manual_seed(seed)
    return Features(
        loss=3 * torch.rand(n, generator=draw),
        loss_difference=torch.randn(n, generator=draw),
        label=torch.randint(0, C, (n,), generator=draw),
        progress=torch.full((n,), 0.1),
        history=torch.rand(n, H, generator=draw),
    )


def update(step: int, n: int = 9) -> MetaUpdate:
    """A meta update in which one influence is not known and one sample was dropped out."""
    draw = torch.Generator().manual_seed(100 + step)
    influence = torch.randn(n, generator=draw)
    influence[1] = torch.nan
    keep = torch.ones(n, dtype=torch.bool)
    keep[2] = False
    return MetaUpdate(step, features(200 + step, n), influence, keep)


def not_finite(step: int) -> MetaUpdate:
    """A meta update whose first influence was computed, and is not finite."""
    sound = update(step)
    influence = sound.influence.clone()
    influence[0] = torch.inf
    return dataclasses.replace(sound, influence=influence)


def learnt(*steps: int) -> MentorLearner:
    """A mentor that nothing ever happened to but these updates."""
    learner = fresh()
    for step in steps:
        learner.learn(update(step))
    return learner


def contents(state: MentorState) -> dict[str, Tensor]:
    """Every tensor of a state, by its place."""
    payload = torch.load(io.BytesIO(state.payload), weights_only=True)
    moments = payload["optimizer"]["state"]
    return {
        **payload["mentor"],
        **{f"optimizer {index} {name}": value for index, each in moments.items() for name, value in each.items()},
    }


def assert_same_mentor(found: MentorState, expected: MentorState) -> None:
    """Bit for bit."""
    numbers = [(state.version, state.update_id, state.skipped) for state in (found, expected)]
    assert numbers[0] == numbers[1]
    one, other = contents(found), contents(expected)
    assert one.keys() == other.keys()
    for name, value in other.items():
        assert torch.equal(one[name], value), name


def make_actor() -> Any:
    """As the trainer makes it."""
    actor: Any = ray.remote(MentorActor).options(num_cpus=0, num_gpus=0, max_restarts=-1, max_task_retries=-1)
    return actor.remote(CONFIG, C, SEED)


@pytest.mark.slow
def test_an_actor_that_dies_before_the_first_update_begins_where_it_began(local_ray: None) -> None:
    started: Any = ray.remote(MentorActor).options(num_cpus=0, num_gpus=0, max_restarts=-1, max_task_retries=-1)
    start = dataclasses.replace(learnt(0).state(), version=0, update_id=-1)
    actor = started.remote(CONFIG, C, SEED, start)
    rows, asked = features(0).matrix(), []
    for _ in range(2):
        asked.append(torch.from_numpy(ray.get(actor.score.remote(0, rows)).sample_weights.copy()))
        ray.kill(actor, no_restart=False)
    assert torch.equal(asked[0], learnt(0).score(features(0)))
    assert torch.equal(asked[1], asked[0])


def kill_and_restart(actor: Any) -> None:
    """Returns when the actor is back, and knows nothing: only an actor that has learnt can be seen to forget."""
    assert ray.get(actor.state.remote()).version > 0
    ray.kill(actor, no_restart=False)
    deadline = time.monotonic() + 60
    while ray.get(actor.state.remote()).version > 0:
        assert time.monotonic() < deadline, "the actor is still the old one"
        time.sleep(0.05)


def learn_behind_its_back(actor: Any, version: int, step: int) -> LearnReply:
    """What an access sends for this update, and a reply that it never sees."""
    sent = update(step)
    reply: LearnReply = ray.get(
        actor.learn.remote(version, step, sent.features.matrix(), sent.influence.numpy(), sent.keep.numpy())
    )
    return reply


@pytest.fixture(scope="module")
def one_actor(local_ray: None) -> Any:
    """One actor for the tests that don't kill it: each starts by loading a fresh mentor."""
    return make_actor()


@pytest.fixture(params=KINDS)
def access(request: pytest.FixtureRequest) -> AbstractMentorAccess:
    if request.param == "local":
        return LocalMentor(fresh())
    shared = SharedMentor(
        request.getfixturevalue("one_actor"), Alone(), fresh(), HANG, scores_here=request.param == "replica"
    )
    shared.load(fresh().state())
    return shared


def test_a_fresh_one_has_learnt_nothing(access: AbstractMentorAccess) -> None:
    assert (access.state.version, access.state.update_id) == (0, -1)
    assert torch.equal(access.score(features(0)), fresh().score(features(0)))


def test_scoring_gives_a_weight_per_sample(access: AbstractMentorAccess) -> None:
    access.learn(update(0))
    weights = access.score(features(0))
    assert weights.shape == (9,)
    assert weights.dtype == torch.float32
    assert not weights.requires_grad
    assert 0 <= weights.min() < weights.max() <= 1


def test_scoring_is_pure(access: AbstractMentorAccess) -> None:
    access.learn(update(0))
    before = access.state
    first = access.score(features(1))
    access.score(features(2))
    assert torch.equal(access.score(features(1)), first)
    assert_same_mentor(access.state, before)


def test_scoring_does_not_change_the_features(access: AbstractMentorAccess) -> None:
    seen = features(1)
    access.score(seen)
    assert all(torch.equal(getattr(seen, f.name), getattr(features(1), f.name)) for f in dataclasses.fields(seen))


def test_the_scores_are_those_of_the_latest_update(access: AbstractMentorAccess) -> None:
    reference = fresh()
    for step in range(5):
        assert torch.equal(access.score(features(step)), reference.score(features(step)))
        access.learn(update(step))
        reference.learn(update(step))
        assert_same_mentor(access.state, reference.state())
    assert access.state.version == 5


def test_an_update_raises_the_version_by_one_and_leaves_its_id(access: AbstractMentorAccess) -> None:
    for version, step in enumerate((0, 10, 20), start=1):
        access.learn(update(step))
        assert (access.state.version, access.state.update_id) == (version, step)


def test_an_update_without_any_known_influence_is_an_update(access: AbstractMentorAccess) -> None:
    nothing_known = dataclasses.replace(update(0), influence=torch.full((9,), torch.nan))
    access.learn(nothing_known)
    assert access.state.version == 1
    assert all(value.isfinite().all() for value in contents(access.state).values())


def test_an_update_that_is_not_finite_is_counted_and_changes_nothing(access: AbstractMentorAccess) -> None:
    access.learn(update(0))
    before = contents(access.state)
    access.learn(not_finite(10))
    after = contents(access.state)
    assert all(torch.equal(after[name], before[name]) for name in after.keys() | before.keys())
    assert (access.state.version, access.state.update_id, access.state.skipped, access.skipped) == (2, 10, 1, 1)
    assert torch.equal(access.score(features(1)), learnt(0).score(features(1)))
    access.learn(update(20))
    reference = learnt(0)
    reference.learn(not_finite(10))
    reference.learn(update(20))
    assert_same_mentor(access.state, reference.state())
    assert access.skipped == 1


def test_an_older_mentor_takes_the_place_of_a_newer_one(access: AbstractMentorAccess) -> None:
    """No mentor from the future: what a checkpoint held is what scores, and what learns."""
    access.learn(update(0))
    old = access.state
    for step in (10, 20, 30):
        access.learn(update(step))
    access.load(old)
    assert_same_mentor(access.state, old)
    assert torch.equal(access.score(features(1)), learnt(0).score(features(1)))
    access.learn(update(10))
    assert_same_mentor(access.state, learnt(0, 10).state())


def test_a_newer_mentor_takes_the_place_of_a_fresh_one(access: AbstractMentorAccess) -> None:
    access.load(learnt(0, 10, 20).state())
    assert torch.equal(access.score(features(1)), learnt(0, 10, 20).score(features(1)))
    access.learn(update(30))
    assert_same_mentor(access.state, learnt(0, 10, 20, 30).state())


def test_a_mentor_that_took_a_side_road_is_replaced_too(access: AbstractMentorAccess) -> None:
    """The version alone doesn't tell two mentors apart: a run that goes on from a checkpoint hands its own over."""
    access.learn(update(77))
    access.load(learnt(0).state())
    assert torch.equal(access.score(features(1)), learnt(0).score(features(1)))


def test_what_a_step_sends_and_gets_does_not_depend_on_the_student() -> None:
    def traffic(width: int) -> tuple[int, int]:
        torch.manual_seed(0)
        student = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, C))
        meta = torch.randn(8, 6), torch.arange(8) % C
        optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
        curriculum = LearnedCurriculum(
            student, optimizer, meta, total_steps=1, update_interval=1, curriculum=CurriculumConfig(burn_in=0.0)
        )
        assert curriculum.mentor is not None
        sent: list[int] = []
        learn = curriculum.mentor.learn

        def spy(update: MetaUpdate) -> None:
            columns = update.features.matrix(), update.influence.numpy(), update.keep.numpy()
            sent.append(len(pickle.dumps(columns)))
            learn(update)

        curriculum.mentor.learn = spy  # type: ignore[method-assign]
        labels = torch.arange(12) % C
        losses = nn.functional.cross_entropy(student(torch.randn(12, 6)), labels, reduction="none")
        curriculum.weigh(losses, labels=labels).backward()
        optimizer.step()
        curriculum.after_step()
        reply = LearnReply(1, curriculum.mentor.state)
        return sent[0], len(pickle.dumps(reply))

    assert traffic(width=4) == traffic(width=4000)


# The actor's side: what it answers, to whom.


@pytest.fixture
def actor_alone() -> MentorActor:
    """The actor's class, without Ray."""
    return MentorActor(CONFIG, C, SEED)


def tell(actor: MentorActor, version: int, step: int) -> LearnReply:
    sent = update(step)
    return actor.learn(version, step, sent.features.matrix(), sent.influence.numpy(), sent.keep.numpy())


def test_the_same_update_told_twice_is_applied_once(actor_alone: MentorActor) -> None:
    first, again = tell(actor_alone, 0, 0), tell(actor_alone, 0, 0)
    assert first.version == again.version == 1
    assert first.state is not None
    assert again.state is not None
    assert_same_mentor(again.state, first.state)
    assert_same_mentor(actor_alone.state(), learnt(0).state())


def test_an_update_that_is_skipped_is_counted_once_too(actor_alone: MentorActor) -> None:
    sent = not_finite(0)
    columns = (sent.features.matrix(), sent.influence.numpy(), sent.keep.numpy())
    first, again = actor_alone.learn(0, 0, *columns), actor_alone.learn(0, 0, *columns)
    assert first.version == again.version == 1
    assert first.state is not None
    assert again.state is not None
    assert_same_mentor(again.state, first.state)
    assert again.state.skipped == 1


@pytest.mark.parametrize(
    ("version", "step"),
    [(0, 0), (0, 20), (1, 20), (3, 20)],
    ids=["an update of long ago", "two versions back", "one version back, another update", "from the future"],
)
def test_an_update_for_another_version_is_refused(actor_alone: MentorActor, version: int, step: int) -> None:
    tell(actor_alone, 0, 0)
    tell(actor_alone, 1, 10)
    assert tell(actor_alone, version, step) == LearnReply(2, None)
    assert_same_mentor(actor_alone.state(), learnt(0, 10).state())


@pytest.mark.parametrize("version", [0, 2])
def test_scores_of_another_version_are_refused(actor_alone: MentorActor, version: int) -> None:
    tell(actor_alone, 0, 0)
    assert actor_alone.score(version, features(0).matrix()) == ScoreReply(1, None)


def test_read_only_arrays_are_taken(actor_alone: MentorActor) -> None:
    """As they arrive from another process."""
    sent = update(0)
    columns = (sent.features.matrix(), sent.influence.numpy(), sent.keep.numpy())
    for column in columns:
        column.setflags(write=False)
    assert actor_alone.learn(0, 0, *columns).version == 1
    assert np.isfinite(actor_alone.score(1, columns[0]).sample_weights).all()


def test_an_actor_that_forgets_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Remote:
        def __init__(self, answer: Callable[..., Any]) -> None:
            self.remote = answer

    class Forgetful:
        def __init__(self) -> None:
            self.score = Remote(lambda *_: ScoreReply(0, None))
            self.load = Remote(lambda _: None)

    forgetful: Any = Forgetful()
    monkeypatch.setattr(shared_mentor.ray, "get", lambda reply, timeout: reply)
    with pytest.raises(MentorLostError) as raised:
        SharedMentor(forgetful, Alone(), learnt(0, 10), HANG).score(features(0))
    assert str(raised.value) == (
        "the mentor actor lost version 2 20 times in a row: it keeps dying; look at the memory of its node"
    )


@pytest.mark.parametrize(("scores_here", "times"), [(False, 3), (True, 0)])
def test_whoever_wants_to_know_is_told_how_long_each_answer_took(one_actor: Any, scores_here: bool, times: int) -> None:
    took: list[float] = []
    access = SharedMentor(one_actor, Alone(), fresh(), HANG, scored=took.append, scores_here=scores_here)
    access.load(fresh().state())
    began = time.perf_counter()
    for step in range(3):
        access.score(features(step))
    assert len(took) == times
    assert all(seconds > 0 for seconds in took)
    assert sum(took) <= time.perf_counter() - began


# A real actor that dies, or whose reply is lost.


@pytest.mark.parametrize("scores_here", [False, True])
def test_an_update_whose_reply_was_lost_is_applied_once(one_actor: Any, scores_here: bool) -> None:
    access = SharedMentor(one_actor, Alone(), fresh(), HANG, scores_here=scores_here)
    access.load(fresh().state())
    access.learn(update(0))
    lost = learn_behind_its_back(one_actor, 1, 10)
    access.learn(update(10))
    assert lost.state is not None
    assert_same_mentor(access.state, lost.state)
    assert_same_mentor(ray.get(one_actor.state.remote()), learnt(0, 10).state())


@pytest.mark.parametrize("scores_here", [False, True])
@pytest.mark.slow
def test_an_actor_that_died_is_handed_the_last_mentor(one_actor: Any, scores_here: bool) -> None:
    """It dies between score and learn, and after an update, before its reply was used."""
    access = SharedMentor(one_actor, Alone(), fresh(), HANG, scores_here=scores_here)
    access.load(fresh().state())
    access.learn(update(0))
    assert torch.equal(access.score(features(1)), learnt(0).score(features(1)))

    kill_and_restart(one_actor)
    access.learn(update(10))
    assert torch.equal(access.score(features(2)), learnt(0, 10).score(features(2)))

    learn_behind_its_back(one_actor, 2, 20)
    kill_and_restart(one_actor)
    access.learn(update(20))

    undisturbed = learnt(0, 10, 20)
    assert_same_mentor(access.state, undisturbed.state())
    assert_same_mentor(ray.get(one_actor.state.remote()), undisturbed.state())
    assert torch.equal(access.score(features(3)), undisturbed.score(features(3)))


@pytest.mark.slow
def test_an_actor_that_died_is_handed_the_count(one_actor: Any) -> None:
    access = SharedMentor(one_actor, Alone(), fresh(), HANG)
    access.load(fresh().state())
    access.learn(not_finite(0))
    kill_and_restart(one_actor)
    access.learn(not_finite(10))
    assert (access.state.version, access.state.skipped, access.skipped) == (2, 2, 2)
    assert ray.get(one_actor.state.remote()).skipped == 2


@pytest.mark.slow
def test_a_call_to_an_actor_that_is_dying_is_answered_in_the_end(one_actor: Any) -> None:
    """Ray repeats the call; the actor that comes back lacks the version, and is handed it."""
    access = SharedMentor(one_actor, Alone(), fresh(), HANG)
    access.load(learnt(0, 10).state())
    ray.kill(one_actor, no_restart=False)
    assert torch.equal(access.score(features(1)), learnt(0, 10).score(features(1)))
    access.learn(update(20))
    assert_same_mentor(ray.get(one_actor.state.remote()), learnt(0, 10, 20).state())


@pytest.mark.parametrize(
    "state", [MentorState(0, -1, b""), MentorState(3, 60, b"\0payload" * 999, 2), MentorState(1 << 40, 1 << 40, b"x")]
)
def test_a_state_that_ranks_tell_each_other_is_the_same_state(state: MentorState) -> None:
    assert shared_mentor.unpacked(shared_mentor.packed(state)) == state


@pytest.mark.parametrize("data", [b"", b"\0" * 23, None, [1, 2, 3], "x" * 40])
def test_what_is_no_state_is_refused(data: Any) -> None:
    with pytest.raises(RuntimeError, match=r"what rank 0 has sent is .*, and no mentor's state"):
        shared_mentor.unpacked(data)
