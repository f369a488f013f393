"""A mentor whose weights collapse is overruled, counted, and finds back; one that overfits is stopped."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from own_loop import Loop, noisy
from set_mentors import CLASSES, SIZE, batch, contents, linear, run_of, with_mentor
from stand_ins import Spy
from tiny_run import curriculum_of, student_of
from torch import Tensor
from torch.nn import functional as F

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.batch import MetaBatch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.mentor.class_shares import PLACES, RunningClassShares
from ray_mentor.core.mentor.guards import Guards, GuardState, effective_share
from ray_mentor.core.methods.weightings import SelfPaced
from ray_mentor.core.state.curriculum import CurriculumState, capture_curriculum, restore_curriculum
from ray_mentor.core.step.record import StepRecord

LABEL_0_OUT = [-12.0, 2.0, 2.0]
"""Logits of a mentor on the one-hot label."""


def one_sample(**settings: Any) -> Spy:
    """A mentor for which a batch's hardest sample is all there is."""
    hardest = batch_losses().topk(2).values
    slope = 40 / float(hardest[0] - hardest[1])
    return linear(("loss",), [slope], -slope * float(hardest.mean()), anchor=0.0, **settings)


def batch_losses() -> Tensor:
    made = batch()
    return F.cross_entropy(student_of()(made.inputs), made.labels, reduction="none").detach()


def equal_step(dropped: Tensor | None = None) -> dict[str, Tensor]:
    """The student after a plain step on the batch, less the samples that were dropped."""
    student, made = student_of(), batch()
    keep = torch.ones(SIZE) if dropped is None else (~dropped).float()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    losses = F.cross_entropy(student(made.inputs), made.labels, reduction="none")
    ((losses * keep).sum() / keep.sum()).backward()
    optimizer.step()
    return student.state_dict()


def is_overruled(record: StepRecord) -> bool:
    """Whether a step without example dropout had equal weights, which the mentor had not given."""
    return bool((record.sample_weights == 1).all() and not torch.equal(record.scored, record.sample_weights))


# The shares


def share_of(w: Tensor, normalisation: str = "sum") -> float:
    return float(effective_share(w.mean(), w.square().mean(), normalisation))


@given(st.integers(1, 50), st.integers(1, 50), st.floats(1e-30, 1.0))
def test_k_equal_weights_of_n_count_for_k(k: int, rest: int, size: float) -> None:
    w = torch.cat([torch.full((k,), size), torch.zeros(rest)]).double()
    assert share_of(w) == pytest.approx(k / (k + rest))
    assert share_of(w, "batch") == pytest.approx(min(1.0, size) * k / (k + rest))


def test_no_weight_at_all_counts_for_nothing() -> None:
    assert share_of(torch.zeros(5).double()) == share_of(torch.zeros(5).double(), "batch") == 0


def test_the_effective_share_in_closed_form() -> None:
    w = torch.tensor([0.9, 0.5, 0.1]).double()
    assert share_of(w) == pytest.approx(1.5**2 / (3 * (0.81 + 0.25 + 0.01)))


def falls(shares: RunningClassShares, w: list[float], labels: list[int], floor: float = 0.0, says: bool = True) -> bool:
    weights, given_labels = torch.tensor(w, dtype=torch.float64), torch.tensor(labels)
    known = given_labels >= 0
    return bool(shares.fall_below(floor, weights, given_labels, known, weights.mean(), torch.tensor(says)))


def test_class_shares_are_running_mean_weights_over_the_batchs() -> None:
    shares = RunningClassShares()
    of_batch = {4: 0.5 / 0.56, 0: 0.5 / 0.56}
    falls(shares, [1.0, 0.0, 0.5, 0.5, 0.8], [4, 4, 0, 0, -1])
    assert shares.value.keys() == {0, 4}, "a label that is not known is no class"
    expected = {label: 1 + 2 / 18 * (share - 1) for label, share in of_batch.items()}
    assert shares.value == pytest.approx(expected)
    expected |= {4: expected[4] + 1 / 17 * (0.5 - expected[4]), 7: 1 + 1 / 17 * (1.5 - 1)}
    assert falls(shares, [0.2, 0.6], [4, 7], floor=expected[4] + 1e-9)
    assert shares.value == pytest.approx(expected)


def test_a_class_that_is_not_in_the_batch_does_not_fall() -> None:
    shares = RunningClassShares()
    falls(shares, [0.0, 0.6], [4, 7])
    assert shares.value[4] < 0.95
    assert not falls(shares, [0.5, 0.5], [7, -1], floor=0.95)


def test_a_batch_that_says_nothing_leaves_class_shares_as_they_are() -> None:
    shares = RunningClassShares()
    falls(shares, [0.2, 0.6], [0, 1])
    before = shares.value
    assert not falls(shares, [0.0, 0.0], [0, 5], floor=2.0, says=False)
    assert shares.value == before
    assert not falls(shares, [0.5], [-1], floor=2.0), "of no class"


def test_labels_beyond_the_places_share_them() -> None:
    few, many = RunningClassShares(), RunningClassShares(2 * PLACES)
    for shares in (few, many):
        falls(shares, [0.2, 0.6], [3, 3 + PLACES])
    assert few.value.keys() == {3}
    assert many.value.keys() == {3, 3 + PLACES}, "where there are known to be so many, none does"


# Collapse onto few samples


@pytest.mark.parametrize("normalisation", ["sum", "batch"])
def test_all_weight_on_one_sample_is_overruled(normalisation: str) -> None:
    student = student_of()
    curriculum = run_of(one_sample(), student, normalisation=normalisation)
    record = curriculum.step(batch())
    assert record.scored.max() > 0.99
    assert record.scored.sum() < 1.01, "the mentor has collapsed"
    assert record.sample_weights.tolist() == [1.0] * SIZE
    torch.testing.assert_close(student.state_dict(), equal_step())
    assert curriculum.guards.fallbacks == 1


def test_example_dropout_still_applies() -> None:
    student = student_of()
    curriculum = run_of(one_sample(), student, schedule=CurriculumConfig(example_dropout="0.25:1"))
    record = curriculum.step(batch())
    assert sorted(record.sample_weights.tolist()) == [0.0] * 10 + [1.0] * 30
    torch.testing.assert_close(student.state_dict(), equal_step(record.sample_weights == 0))


def test_example_dropout_is_no_collapse() -> None:
    curriculum = run_of(linear(("loss",), [0.0]), schedule=CurriculumConfig(example_dropout="0.97:1"))
    assert curriculum.step(batch()).sample_weights.count_nonzero() == 1
    assert curriculum.guards.fallbacks == 0


def test_floors_of_0_switch_the_guard_off() -> None:
    curriculum = run_of(one_sample(), min_effective_share=0.0, min_class_share=0.0)
    record = curriculum.step(batch())
    assert torch.equal(record.sample_weights, record.scored)
    assert curriculum.guards.state.class_shares == {}, "nor are there class shares to keep"


@pytest.mark.parametrize(("floor", "overruled"), [(0.59, False), (0.61, True)])
def test_the_floor_is_the_settings(floor: float, overruled: bool) -> None:
    """24 of 40 samples have a weight, all the same."""
    mentor = linear(("label",), LABEL_0_OUT)
    made = batch(labels=torch.arange(SIZE) % 5 % CLASSES)  # class 0 has 16
    curriculum = run_of(mentor, min_effective_share=floor, min_class_share=0.0)
    assert is_overruled(curriculum.step(made)) == overruled


def test_no_weight_at_all_is_overruled() -> None:
    student = student_of()
    curriculum = run_of(linear(("loss",), [0.0], -200.0), student)
    record = curriculum.step(batch())
    assert record.scored.count_nonzero() == 0
    assert curriculum.guards.state.class_shares == {}, "0/0 says nothing of a class"
    torch.testing.assert_close(student.state_dict(), equal_step())
    assert curriculum.guards.fallbacks == 1


@pytest.mark.parametrize("floors", [{}, {"min_effective_share": 0.0, "min_class_share": 0.0}])
def test_weights_that_are_not_finite_are_overruled_whatever_the_floors(floors: dict[str, float]) -> None:
    student = student_of()
    curriculum = run_of(linear(("loss",), [torch.nan]), student, **floors)
    record = curriculum.step(batch())
    assert record.scored.isnan().all()
    torch.testing.assert_close(student.state_dict(), equal_step())
    assert (curriculum.guards.fallbacks, curriculum.guards.skipped_updates) == (1, 1)


@pytest.mark.parametrize(("normalisation", "overruled"), [("sum", False), ("batch", True)])
def test_small_equal_weights_are_a_collapse_where_they_make_small_steps(normalisation: str, overruled: bool) -> None:
    curriculum = run_of(linear(("loss",), [0.0], -5.0), normalisation=normalisation)
    assert is_overruled(curriculum.step(batch())) == overruled


def test_printed_guards_say_how_often_they_were_needed() -> None:
    guards = Guards(MentorConfig(), None)
    guards.count_fallback()
    assert repr(guards) == (
        "Guards(fallbacks=1, skipped_updates=0, inconsistent_updates=0, updates_without_influence=0)"
    )


def test_nobody_is_overruled_in_burn_in() -> None:
    curriculum = run_of(one_sample(), total_steps=4, burn_in=0.5)
    overruled = []
    for _ in range(3):
        curriculum.step(batch())
        overruled.append(curriculum.guards.fallbacks)
    assert overruled == [0, 0, 1]
    assert len(curriculum.guards.state.class_shares) == CLASSES
    assert max(curriculum.guards.state.class_shares.values()) <= 1 + 40 / 56 * 40, "one batch, no more"


def test_a_method_without_a_mentor_is_left_alone() -> None:
    """Self-paced weights may all be 0."""
    curriculum = curriculum_of(student_of(), weighting=SelfPaced(), total_steps=4)
    curriculum.percentile.value, curriculum.percentile.decay = -1.0, 1.0
    record = curriculum.step(batch())
    assert record.sample_weights.count_nonzero() == 0
    assert (curriculum.guards.fallbacks, curriculum.guards.skipped_updates) == (0, 0)


# A class that is shut out


def class_run(**changes: Any) -> Curriculum:
    """Of a mentor that does not learn: it would at step 0 alone."""
    curriculum = run_of(linear(("label",), LABEL_0_OUT), **{"update_interval": 1000, **changes})
    curriculum.step_number = 1
    return curriculum


def test_a_class_that_is_shut_out_is_noticed_and_taken_back() -> None:
    """Of 13 samples a batch; a class that has no weight has its share multiplied by 16/(16 + 13) each time."""
    curriculum = class_run()
    made = batch(labels=1 - torch.arange(SIZE) % CLASSES % 2)
    assert (made.labels == 0).sum() == 13
    overruled = [is_overruled(curriculum.step(made)) for _ in range(8)]
    needed = math.ceil(math.log(0.05) / math.log(16 / 29))
    assert overruled == [step + 1 >= needed for step in range(8)]
    assert curriculum.guards.fallbacks == sum(overruled) == 3


def test_a_batch_without_that_class_is_not_overruled() -> None:
    curriculum = class_run()
    for _ in range(8):
        curriculum.step(batch(labels=torch.arange(SIZE) % CLASSES))
    assert is_overruled(curriculum.step(batch(labels=torch.arange(SIZE) % CLASSES)))
    assert not is_overruled(curriculum.step(batch(labels=1 + torch.arange(SIZE) % 2)))


def test_one_batch_in_which_all_of_a_class_is_wrong_is_chance() -> None:
    labels = torch.full((SIZE,), 1)
    labels[:8] = 0
    assert not is_overruled(class_run().step(batch(labels=labels)))


@pytest.mark.parametrize("settings", [{"min_class_share": 0.0}, {"min_class_share": 1e-7}])
def test_the_floor_of_a_class_is_the_settings(settings: dict[str, float]) -> None:
    curriculum = class_run(**settings)
    for _ in range(12):
        curriculum.step(batch(labels=torch.arange(SIZE) % CLASSES))
    assert curriculum.guards.fallbacks == 0


@pytest.mark.parametrize("labels", [torch.arange(SIZE) % CLASSES * 1.0, torch.eye(SIZE), torch.eye(SIZE).long()])
def test_labels_that_are_no_classes_have_no_class_guard(labels: Tensor) -> None:
    """A target to regress on, soft labels, and a mask."""
    curriculum = class_run(min_class_share=0.999)
    seen = curriculum.observe_losses(batch(labels=labels), torch.rand(SIZE))
    assert not curriculum.guards.collapsed(seen, torch.rand(SIZE))
    assert curriculum.guards.state.class_shares == {}
    seen = curriculum.observe_losses(batch(labels=torch.arange(SIZE) % CLASSES), torch.rand(SIZE))
    assert curriculum.guards.collapsed(seen, torch.rand(SIZE))


# Finding back


def clusters(seed: int, n: int = SIZE) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % CLASSES
    return torch.eye(CLASSES, 4)[labels] * 2 + torch.randn(n, 4, generator=draw), labels


@pytest.mark.long
@pytest.mark.parametrize(
    ("features", "weight", "bias", "settings"),
    [
        (("loss",), [6.0], -15.0, {"anchor": 0.0, "min_effective_share": 0.25}),
        (("loss",), [0.0], -200.0, {}),  # the anchor lifts it
        (("loss",), [0.0], -7.0, {"normalisation": "batch"}),
        (("label",), LABEL_0_OUT, 0.0, {}),
    ],
    ids=["few samples", "no sample", "all small", "a class shut out"],
)
def test_a_collapsed_mentor_finds_back(
    features: tuple[str, ...], weight: list[float], bias: float, settings: dict[str, Any]
) -> None:
    """It learns from the steps that it is overruled on."""
    mentor = linear(features, weight, bias, mentor_learning_rate=0.1, **settings)
    meta = MetaBatch(*clusters(1000, 30), 30)
    curriculum = run_of(mentor, total_steps=1000, meta_batch=lambda _: meta, **settings)
    overruled = []
    for seed in range(150):
        inputs, labels = clusters(seed)
        given = torch.where(torch.arange(SIZE) % 4 == 0, (labels + 1) % CLASSES, labels)
        overruled.append(is_overruled(curriculum.step(batch(labels=given).with_inputs(inputs))))
    assert any(overruled[:10])
    assert not any(overruled[-50:])
    assert curriculum.guards.fallbacks == sum(overruled)


def test_what_it_learns_from_is_the_influence_at_equal_weights() -> None:
    mentor, student = one_sample(), student_of(torch.float64)
    curriculum = run_of(mentor, student)
    made = batch()
    made = made.with_inputs(made.inputs.double())
    before = {name: value.clone() for name, value in student.state_dict().items()}
    record = curriculum.step(made)
    assert is_overruled(record)

    meta = curriculum.parts.meta_batch(0)

    def meta_loss(extra: Tensor) -> Tensor:
        other = student_of(torch.float64)
        other.load_state_dict(before)
        losses = F.cross_entropy(other(made.inputs), made.labels, reduction="none")
        gradients = torch.autograd.grad(((1 / SIZE + extra) * losses).sum(), list(other.parameters()))
        with torch.no_grad():
            for param, gradient in zip(other.parameters(), gradients, strict=True):
                param -= 0.1 * gradient
            return F.cross_entropy(other(meta.inputs), meta.labels)

    shifts = 1e-5 * torch.eye(SIZE, dtype=torch.float64)
    truth = torch.stack([(meta_loss(row) - meta_loss(-row)) / 2e-5 for row in shifts])
    torch.testing.assert_close(record.influence, truth, rtol=1e-6, atol=1e-9)
    (update,) = mentor.updates
    assert torch.equal(update.influence, record.influence)


# Overfitting


def noted(losses: list[float], patience: int) -> GuardState:
    guards = Guards(MentorConfig(mentor_patience=patience), None)
    for epoch, loss in enumerate(losses, start=1):
        guards.note_holdout(loss, 10 * epoch)
    return guards.state


@pytest.mark.parametrize(
    ("losses", "patience", "stopped_at"),
    [
        ([0.5, 0.4, 0.3], 1, None),
        ([0.5, 0.6], 1, 20),
        ([0.5, 0.5], 1, 20),
        ([0.5, 0.6, 0.4, 0.5, 0.4], 2, 50),
        ([0.5, 0.6, 0.6, 0.1, 0.6, 0.6, 0.6], 3, 70),
        ([0.5, 0.6, 0.7, 0.8, 0.9], 2, 30),
        ([0.5, 0.6, 0.7, 0.2, 0.1], 2, 30),
        ([0.5] * 9, 0, None),
        ([math.nan, 0.5, 0.6], 2, None),
        ([math.nan, math.nan, 0.5], 2, 20),
    ],
)
def test_patience(losses: list[float], patience: int, stopped_at: int | None) -> None:
    assert noted(losses, patience).stopped_at == stopped_at


def test_the_lowest_loss_is_remembered() -> None:
    state = noted([0.5, 0.4, math.nan, 0.45], 9)
    assert (state.lowest_holdout, state.epochs_since) == (0.4, 2)


def test_a_mentor_that_is_stopped_learns_no_more_and_still_scores() -> None:
    mentor = linear(("loss",), [1.0])
    curriculum = run_of(mentor, mentor_patience=1, update_interval=2)
    curriculum.note_holdout(0.1)  # before the first update: not of the mentor's making
    assert curriculum.guards.state.lowest_holdout is None
    curriculum.step(batch())
    for loss in (0.3, 0.4):
        curriculum.note_holdout(loss)
    payload = mentor.state.payload
    records = [curriculum.step(batch(seed)) for seed in range(1, 6)]
    assert [record.meta_loss for record in records] == [None] * 5
    assert mentor.state.payload == payload
    assert curriculum.meta.done == 1
    assert curriculum.guards.stopped_at == 1
    assert all(torch.equal(record.sample_weights, record.scored) for record in records)


def test_an_update_that_has_begun_is_finished() -> None:
    """Else no checkpoint could follow: none is taken while an update waits."""
    mentor = linear(("loss",), [1.0], estimator="unrolled")
    settings: dict[str, Any] = {"estimator": "unrolled", "unroll_steps": 3, "update_interval": 4}
    curriculum = run_of(mentor, mentor_patience=1, **settings)
    for seed in range(5):
        curriculum.step(batch(seed))
    for loss in (0.3, 0.4):
        curriculum.note_holdout(loss)
    for seed in range(5, 20):
        curriculum.step(batch(seed))
    assert [update.update_id for update in mentor.updates] == [0, 4]


# Going on, and loops of one's own


def test_a_run_that_goes_on_remembers_what_its_guards_knew() -> None:
    settings: dict[str, Any] = {"mentor_patience": 3, "update_interval": 1000}

    def go_on(curriculum: Curriculum, steps: range) -> list[Any]:
        made = [curriculum.step(batch(labels=torch.arange(SIZE) % CLASSES)) for _ in steps]
        return [[*record.sample_weights.tolist(), *record.losses.tolist()] for record in made]

    whole = run_of(linear(("label",), LABEL_0_OUT), **settings)
    go_on(whole, range(4))
    for loss in (0.3, 0.4, 0.5):
        whole.note_holdout(loss)
    buffer = io.BytesIO()
    student = {name: value.clone() for name, value in whole.bare.state_dict().items()}
    torch.save(capture_curriculum(whole, None).table(), buffer)
    kept = capture_curriculum(whole, None)
    expected = go_on(whole, range(4, 9))
    whole.note_holdout(0.6)
    assert whole.guards.stopped_at == 9
    assert whole.guards.fallbacks > 0

    again = run_of(linear(("label",), [0.0, 0.0, 0.0]), **settings)
    again.bare.load_state_dict(student)
    found = CurriculumState.from_table(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
    assert found.guards == kept.guards, "a state stays as it was when its run goes on"
    restore_curriculum(found, again)
    assert go_on(again, range(4, 9)) == expected
    again.note_holdout(0.6)
    assert again.guards.state == whole.guards.state


class TestOwnLoop:
    def loop(self, **settings: Any) -> Loop:
        """Of a mentor that gives no weight to anything."""
        made = Loop(mentor=MentorConfig(update_interval=2, meta_batch_size=16, normalisation="batch", **settings))
        mentor = made.curriculum.mentor
        assert mentor is not None
        params = contents(mentor.state)["mentor"]
        params["logit_offset"].fill_(-200.0)
        mentor.load(with_mentor(mentor.state, params))
        return made

    def test_it_counts_the_steps_that_were_overruled(self) -> None:
        loop = self.loop()
        records = loop.run(3)
        assert all(is_overruled(record) for record in records)
        assert (loop.curriculum.guards.fallbacks, loop.curriculum.guards.skipped_updates) == (3, 0)

    def test_a_batch_that_is_weighed_in_vain_counts_for_nothing(self) -> None:
        loop = self.loop()
        for step in noisy(3):
            loss = loop.weigh(*step)
        loop.finish(loss)
        assert loop.curriculum.guards.fallbacks == 1

    def test_counts_go_on(self) -> None:
        first, second = self.loop(), Loop(mentor=MentorConfig(update_interval=2, meta_batch_size=16))
        first.run(3)
        second.curriculum.load_state_dict(first.curriculum.state_dict())
        assert second.curriculum.guards.fallbacks == 3
        assert second.curriculum.guards.state == first.curriculum.guards.state

    def test_it_may_measure_what_it_holds_out(self) -> None:
        loop = Loop(mentor=MentorConfig(update_interval=1, meta_batch_size=16, mentor_patience=2))
        loop.run(2)
        for loss in (0.3, 0.4, 0.35):
            loop.curriculum.note_holdout(loss)
        assert loop.curriculum.guards.stopped_at == 2
        assert [record.meta_loss for record in loop.run(2, first=2)] == [None, None]
