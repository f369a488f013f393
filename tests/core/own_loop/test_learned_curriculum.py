"""A training loop of one's own: what it learns, what may stand between its lines, and how it goes on."""

from __future__ import annotations

import copy
import dataclasses
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from own_loop import (
    CLASSES,
    Loop,
    adam,
    assert_same,
    assert_same_records,
    blobs,
    coupled_student,
    mentor_bytes,
    momentum,
    noisy,
    params,
    per_sample,
    student,
)
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils.data import DataLoader, TensorDataset

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.batch import Batch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.exchange import Alone
from ray_mentor.core.mentor.access import LocalMentor
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.methods.table import parts_of
from ray_mentor.core.own_loop.learned_curriculum import LearnedCurriculum
from ray_mentor.core.own_loop.meta_set import meta_batches
from ray_mentor.core.step.record import StepRecord
from ray_mentor.errors import UserError

EVERY_STEP = MentorConfig(update_interval=1, mentor_learning_rate=0.01, meta_batch_size=16, meta_loss="loss")
NO_BURN_IN = CurriculumConfig(burn_in=0.0)


def influences_of_a_step(
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    meta: tuple[Tensor, Tensor],
    inputs: Tensor,
    labels: Tensor,
) -> tuple[Tensor, Tensor]:
    """Of one step of a loop: what the curriculum finds, and M after real steps of copies with one sample weight nudged.

    The copies are nudged along ∇M(θ'), by an ordinary backward pass; the meta set is one batch.
    """
    start = copy.deepcopy(model)
    optimizer = momentum(model)
    settings = dataclasses.replace(EVERY_STEP, meta_batch_size=len(meta[1]))
    curriculum = LearnedCurriculum(
        model, optimizer, meta, total_steps=3, loss=loss, mentor=settings, curriculum=NO_BURN_IN
    )
    curriculum.weigh(loss(model(inputs), labels), labels=labels).backward()
    optimizer.step()
    record = curriculum.after_step()
    assert record is not None
    weights = record.sample_weights.double() / record.sample_weights.double().sum()

    def after(more: Tensor) -> nn.Module:
        other = copy.deepcopy(start)
        steps = momentum(other)
        ((weights + more) * loss(other(inputs), labels)).sum().backward()
        steps.step()
        return other

    reached = after(torch.zeros_like(weights))
    slopes = torch.autograd.grad(loss(reached(meta[0]), meta[1]).mean(), list(reached.parameters()))
    truth, h = torch.zeros_like(weights), 1e-4
    for i in range(len(weights)):
        nudge = torch.zeros_like(weights)
        nudge[i] = h
        pairs = zip(slopes, after(nudge).parameters(), after(-nudge).parameters(), strict=True)
        truth[i] = sum(float((slope * (up - down)).detach().sum()) for slope, up, down in pairs) / (2 * h)
    return record.influence.double(), truth


def test_trusted_samples_among_the_others() -> None:
    inputs, labels = blobs(20, 0)
    trusted = torch.arange(20) % 4 == 0
    model = student()
    optimizer = momentum(model)
    curriculum = LearnedCurriculum(
        model, optimizer, blobs(30, 1), total_steps=10, mentor=EVERY_STEP, curriculum=NO_BURN_IN
    )
    for _ in range(3):
        losses = per_sample(model(inputs), labels)
        loss = curriculum.weigh(losses, labels=labels, trusted=trusted)
        w = curriculum.sample_weights
        assert (w[trusted] == 1).all()
        assert (w[~trusted] < 1).all()
        torch.testing.assert_close(loss, (w * losses).sum() / w.sum())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        record = curriculum.after_step()
        assert record is not None
        assert record.batch.rows.tolist() == (~trusted).nonzero()[:, 0].tolist()
    losses = per_sample(model(inputs), labels)
    for wrong in (trusted[:5], trusted.long()):
        with pytest.raises(UserError, match="a boolean for each of the 20 samples"):
            curriculum.weigh(losses, labels=labels, trusted=wrong)


def test_it_tells_wrong_labels_from_right_ones() -> None:
    inputs, truth = blobs(300, 0)
    wrong = torch.arange(300) % 3 == 0
    given = torch.where(wrong, (truth + 1) % CLASSES, truth)
    settings = MentorConfig(update_interval=2, mentor_learning_rate=0.005)
    loop = Loop(meta_loader=blobs(60, 1), total_steps=300, mentor=settings)
    for step in range(300):
        rows = torch.randperm(300, generator=torch.Generator().manual_seed(step))[:100]
        record = loop.step(inputs[rows], given[rows], rows)
    assert torch.equal(record.batch.rows, rows)
    assert record.sample_weights[~wrong[rows]].mean() > 0.7
    assert record.sample_weights[wrong[rows]].mean() < 0.3


@pytest.mark.parametrize("make_student", [student, coupled_student])
@pytest.mark.parametrize("make_optimizer", [momentum, adam])
@pytest.mark.parametrize(
    ("settings", "schedule"),
    [
        (EVERY_STEP, NO_BURN_IN),
        (
            MentorConfig(update_interval=3, meta_batch_size=16, mentor_learning_rate=0.01),
            CurriculumConfig(example_dropout="0.3:1", burn_in=0.2),
        ),
        (
            MentorConfig(
                update_interval=2,
                mentor_features=("loss", "label", "history"),
                history_length=2,
                mentor_learning_rate=0.01,
            ),
            CurriculumConfig(),
        ),
        (
            MentorConfig(mentor="lstm", update_interval=2, history_length=2, mentor_learning_rate=0.01),
            CurriculumConfig(),
        ),
        (MentorConfig(), CurriculumConfig(method="self-paced")),
        (MentorConfig(), CurriculumConfig(method="oracle")),
    ],
    ids=["every step", "dropout, burn-in", "history, label", "lstm", "self-paced", "oracle"],
)
def test_it_is_the_cores_step_in_parts(
    make_student: Callable[[], nn.Module],
    make_optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    settings: MentorConfig,
    schedule: CurriculumConfig,
) -> None:
    arguments: dict[str, Any] = {"total_steps": 10, "n_samples": 60, "seed": 5}
    made = make_student()
    optimizer, device = make_optimizer(made), torch.device("cpu")
    learns = schedule.method == "mentornet"
    access = LocalMentor(MentorLearner(settings, CLASSES, seed=5)) if learns else None
    batches = meta_batches(blobs(30, 1), settings.meta_batch_size, Alone(), device, seed=5)
    parts = parts_of(schedule, settings, access, None, batches)
    core = Curriculum(made, optimizer, parts, Alone(), schedule, settings, **arguments)
    expected = [
        core.step(Batch(rows, rows, inputs, labels, true_labels=blobs(60, 0)[1][rows]))
        for inputs, labels, rows in noisy(7)
    ]

    loop = Loop(make_student, make_optimizer, mentor=settings, curriculum=schedule, n_classes=CLASSES, **arguments)
    found = []
    for inputs, labels, rows in noisy(7):
        outputs = loop.student(inputs)
        losses, truth = per_sample(outputs, labels), blobs(60, 0)[1][rows]
        loss = loop.curriculum.weigh(losses, labels=labels, sample_ids=rows, true_labels=truth, outputs=outputs)
        loop.optimizer.zero_grad()
        loss.backward()
        loop.optimizer.step()
        found.append(loop.curriculum.after_step())
    assert_same_records(found, expected)
    assert_same(params(loop.student), params(made))
    if access is not None:
        assert mentor_bytes(loop.curriculum) == access.state.payload
        assert loop.curriculum.curriculum.meta.done > 1


class TestGoingOn:
    """A run that stops and goes on is the run that did not stop."""

    @pytest.mark.long
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"curriculum": CurriculumConfig(example_dropout="0.3:1", burn_in=0.3)},
            {"mentor": MentorConfig(update_interval=3, mentor_features=("history",), history_length=2)},
            {"mentor": MentorConfig(mentor="lstm", update_interval=3, history_length=2)},
            {"mentor": MentorConfig(mentor="cmw", update_interval=3), "class_sizes": (30, 12, 18)},
            {"meta_loader": DataLoader(TensorDataset(*blobs(30, 1)), batch_size=8, shuffle=True)},
            {"curriculum": CurriculumConfig(method="self-paced")},
            {"mentor": MentorConfig(update_interval=2, mentor_learning_rate=0.01, min_class_share=0.99)},
            {"loss": per_sample, "mentor": MentorConfig(update_interval=2, mentor_learning_rate=0.01)},
        ],
        ids=[
            "plain",
            "schedule",
            "history",
            "lstm",
            "cmw",
            "shuffled loader",
            "no mentor",
            "overruled",
            "a loss of one's own",
        ],
    )
    @pytest.mark.parametrize("stop", [1, 4, 7])
    def test_bit_for_bit(self, changes: dict[str, Any], stop: int) -> None:
        changes = {**changes, "n_samples": 60}
        torch.manual_seed(1)
        whole = Loop(coupled_student, adam, **changes)
        expected = whole.run(12)

        torch.manual_seed(1)
        first = Loop(coupled_student, adam, **changes)
        first.run(stop)
        saved, draws = saved_state(first), torch.get_rng_state()
        first.run(2, first=stop)  # whatever the first one still does is not in what was saved
        second = Loop(coupled_student, adam, **changes)
        load(second, saved)
        torch.set_rng_state(draws)
        assert_same_records(second.run(12 - stop, first=stop), expected[stop:])
        assert_same(params(second.student), params(whole.student))
        assert second.curriculum.guards.state == whole.curriculum.guards.state
        if whole.curriculum.mentor:
            assert mentor_bytes(second.curriculum) == mentor_bytes(whole.curriculum)

    def test_loading_forgets_what_was_weighed(self) -> None:
        loop = Loop()
        saved = saved_state(loop)
        loop.weigh(*next(noisy(1)))
        load(loop, saved)
        assert loop.run(1)[0].step == 0

    def test_a_state_is_a_copy(self) -> None:
        loop = Loop(mentor=MentorConfig(history_length=2), n_samples=60)
        loop.run(1)
        state = loop.curriculum.state_dict()
        kept = copy.deepcopy(state)
        loop.run(2, first=1)
        assert torch.equal(state["curriculum"]["history"].nan_to_num(-7), kept["curriculum"]["history"].nan_to_num(-7))
        assert state["curriculum"]["mentor"] == kept["curriculum"]["mentor"]


def saved_state(loop: Loop) -> bytes:
    buffer = io.BytesIO()
    torch.save([part.state_dict() for part in (loop.student, loop.optimizer, loop.curriculum)], buffer)
    return buffer.getvalue()


def load(loop: Loop, saved: bytes) -> None:
    states = torch.load(io.BytesIO(saved), weights_only=True)
    for part, state in zip((loop.student, loop.optimizer, loop.curriculum), states, strict=True):
        part.load_state_dict(state)


class TestBetweenTheLines:
    """What a loop may do between weigh and after_step."""

    def test_several_backward_passes_before_one_step(self) -> None:
        """Influences of the last micro-batch, as of the whole step: the central difference of M says the same."""
        meta_inputs, meta_labels = blobs(16, 1)
        loop = Loop(
            lambda: student().double(),
            lambda model: torch.optim.SGD(model.parameters(), 0.3),
            meta_loader=(meta_inputs.double(), meta_labels),
            mentor=EVERY_STEP,
        )
        batches = [(inputs.double(), labels, ids) for inputs, labels, ids in noisy(3, size=8)]
        start = copy.deepcopy(loop.student)
        loop.optimizer.zero_grad()
        weights = []
        for inputs, labels, ids in batches:
            loss = loop.weigh(inputs, labels, ids) / 3
            loss.backward()
            weights.append(loop.curriculum._weighed.normalised.clone())  # type: ignore[union-attr]
        loop.optimizer.step()
        record = loop.curriculum.after_step()
        assert record is not None
        assert loop.curriculum.curriculum.step_number == 1

        def meta_loss(shift: Tensor) -> Tensor:
            model = copy.deepcopy(start)
            total = sum(
                ((weight + (shift if i == 2 else 0)) * per_sample(model(inputs), labels)).sum()
                for i, ((inputs, labels, _), weight) in enumerate(zip(batches, weights, strict=True))
            )
            gradients = torch.autograd.grad(total / 3, list(model.parameters()))
            with torch.no_grad():
                for param, gradient in zip(model.parameters(), gradients, strict=True):
                    param.sub_(0.3 * gradient)
                return per_sample(model(meta_inputs.double()), meta_labels).mean()

        shifts = 1e-5 * torch.eye(8, dtype=torch.float64)
        truth = torch.stack([(meta_loss(row) - meta_loss(-row)) / 2e-5 for row in shifts])
        # the loss was divided by 3 after weigh, which weigh cannot know of: a factor common to all samples
        torch.testing.assert_close(record.influence / 3, truth, rtol=1e-6, atol=1e-9)

    def test_after_step_on_every_micro_batch_counts_steps_alone(self) -> None:
        loop = Loop(mentor=EVERY_STEP)
        records = []
        for number, batch in enumerate(noisy(6)):
            (loop.weigh(*batch) / 3).backward()
            if number % 3 == 2:
                loop.optimizer.step()
            records.append(loop.curriculum.after_step())
            if number % 3 == 2:
                loop.optimizer.zero_grad()
        assert [record is None for record in records] == [True, True, False] * 2
        assert loop.curriculum.curriculum.meta.done == loop.curriculum.curriculum.step_number == 2

    def test_clipping_is_in_the_gradient_that_influences_are_of(self) -> None:
        """Adam's step answers to the gradient by how large it is: clipped, it must be looked at clipped."""

        def influence(clip: bool) -> Tensor:
            loop = Loop(make_optimizer=lambda m: torch.optim.Adam(m.parameters(), 0.01, eps=1.0), mentor=EVERY_STEP)
            inputs, labels, ids = next(noisy(1))
            loop.weigh(inputs, labels, ids).backward()
            if clip:
                nn.utils.clip_grad_norm_(loop.student.parameters(), 1e-3)
            else:
                scale = 1e-3 / float(nn.utils.get_total_norm([p.grad for p in loop.student.parameters()]))
                for param in loop.student.parameters():
                    param.grad = param.grad * scale
            loop.optimizer.step()
            record = loop.curriculum.after_step()
            assert record is not None
            return record.influence

        torch.testing.assert_close(influence(clip=True), influence(clip=False), rtol=1e-3, atol=0)

    @pytest.mark.parametrize("fused", [False, True])
    def test_a_gradient_scaler_and_the_steps_it_skips(self, fused: bool) -> None:
        def optimizer(model: nn.Module) -> torch.optim.Optimizer:
            return torch.optim.Adam(model.parameters(), 0.01, fused=fused)

        loop, plain = (
            Loop(make_optimizer=optimizer, mentor=EVERY_STEP),
            Loop(make_optimizer=optimizer, mentor=EVERY_STEP),
        )
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        mentor = mentor_bytes(loop.curriculum)
        batches = list(noisy(4))
        before = params(loop.student)
        scaler.scale(loop.weigh(*batches[0])).backward()
        next(loop.student.parameters()).grad.fill_(torch.inf)  # type: ignore[union-attr]
        scaler.step(loop.optimizer)
        scaler.update()
        assert loop.curriculum.after_step() is None
        assert_same(params(loop.student), before)
        assert mentor_bytes(loop.curriculum) == mentor
        assert loop.curriculum.curriculum.step_number == loop.curriculum.curriculum.meta.done == 0
        loop.curriculum.curriculum.percentile.value = None  # it alone has seen the losses

        for batch in batches[1:]:
            loop.optimizer.zero_grad()
            scaler.scale(loop.weigh(*batch)).backward()
            scaler.step(loop.optimizer)
            scaler.update()
            found, expected = loop.curriculum.after_step(), plain.step(*batch)
            assert found is not None
            torch.testing.assert_close(found.influence, expected.influence, rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(params(loop.student), params(plain.student))

    def test_autocast_may_go_on_until_after_weigh(self) -> None:
        """The mentor's own arithmetic leaves it out."""

        def run(longer: bool) -> Loop:
            loop = Loop(mentor=EVERY_STEP)
            for inputs, labels, ids in noisy(4):
                with torch.autocast("cpu", torch.bfloat16):
                    losses = per_sample(loop.student(inputs), labels)
                    if longer:
                        loss = loop.curriculum.weigh(losses, labels=labels, sample_ids=ids)
                if not longer:
                    loss = loop.curriculum.weigh(losses, labels=labels, sample_ids=ids)
                loop.optimizer.zero_grad()
                loss.backward()
                loop.optimizer.step()
                with torch.autocast("cpu", torch.bfloat16, enabled=longer):
                    loop.curriculum.after_step()
            return loop

        one, other = run(longer=True), run(longer=False)
        assert mentor_bytes(one.curriculum) == mentor_bytes(other.curriculum)
        assert_same(params(one.student), params(other.student))

    def test_autocast_around_the_whole_step(self) -> None:
        """Its cache holds the params as they were before the step; the meta loss is of those after it."""

        def run(whole: bool) -> list[StepRecord]:
            loop = Loop(mentor=EVERY_STEP)
            found = []
            for inputs, labels, ids in noisy(4):
                with torch.autocast("cpu", torch.bfloat16) if whole else nullcontext():
                    with torch.autocast("cpu", torch.bfloat16):
                        losses = per_sample(loop.student(inputs), labels)
                    found.append(loop.finish(loop.curriculum.weigh(losses, labels=labels, sample_ids=ids)))
            return found

        assert_same_records(run(whole=True), run(whole=False))

    def test_autocast_around_the_forward_pass_alone(self) -> None:
        loop, plain = Loop(mentor=EVERY_STEP), Loop(mentor=EVERY_STEP)
        for inputs, labels, ids in noisy(3):
            with torch.autocast("cpu", torch.bfloat16):
                outputs = loop.student(inputs)
                losses = per_sample(outputs, labels)
            assert outputs.dtype == torch.bfloat16
            loss = loop.curriculum.weigh(losses, labels=labels, sample_ids=ids)
            record, expected = loop.finish(loss), plain.step(inputs, labels, ids)
            off = (record.influence - expected.influence).norm() / expected.influence.norm()
            assert off < 0.02  # 8 bits; 0.004 at most when this was written
            assert not torch.equal(record.influence, expected.influence)

    def test_a_student_and_losses_in_bfloat16(self) -> None:
        """Next to a float64 student that begins each step where the bfloat16 one does."""

        def halved() -> nn.Module:
            return student().bfloat16()

        inputs, labels = blobs(30, 1)
        loop = Loop(halved, meta_loader=(inputs.bfloat16(), labels), mentor=EVERY_STEP)
        wide = Loop(lambda: halved().double(), meta_loader=(inputs.double(), labels), mentor=EVERY_STEP)
        for inputs, labels, ids in noisy(3):
            wide.student.load_state_dict(loop.student.state_dict())
            found = loop.step(inputs.bfloat16(), labels, ids).influence.double()
            truth = wide.step(inputs.bfloat16().double(), labels, ids).influence.double()
            assert float((found - truth).norm() / truth.norm()) < 0.1  # 8 bits, rounded in every layer

    def test_a_schedule_may_step_before_or_after(self) -> None:
        def run(early: bool) -> list[Any]:
            loop = Loop(mentor=EVERY_STEP)
            schedule = torch.optim.lr_scheduler.ExponentialLR(loop.optimizer, 0.5)
            records = []
            for batch in noisy(4):
                loop.optimizer.zero_grad()
                loop.weigh(*batch).backward()
                loop.optimizer.step()
                if early:
                    schedule.step()
                records.append(loop.curriculum.after_step())
                if not early:
                    schedule.step()
            return records

        assert_same_records(run(early=True), run(early=False))

    @pytest.mark.parametrize("mode", ["eval", "no_grad", "train, after weigh"])
    def test_other_forward_passes_do_not_disturb(self, mode: str) -> None:
        quiet, disturbed = Loop(mentor=EVERY_STEP), Loop(mentor=EVERY_STEP)
        other = blobs(50, 8)[0]
        for inputs, labels, ids in noisy(4):
            expected = quiet.step(inputs, labels, ids)
            losses = per_sample(disturbed.student(inputs), labels)
            if mode == "eval":
                disturbed.student.eval()(other)
                disturbed.student.train()
            if mode == "no_grad":
                with torch.no_grad():
                    disturbed.student(other)
            loss = disturbed.curriculum.weigh(losses, labels=labels, sample_ids=ids)
            disturbed.student(other)
            disturbed.optimizer.zero_grad()
            loss.backward()
            disturbed.optimizer.step()
            disturbed.student(other)
            record = disturbed.curriculum.after_step()
            assert record is not None
            assert_same_records([record], [expected])
        assert_same(params(disturbed.student), params(quiet.student))


class TestStudents:
    """Whatever a student is made of and called with."""

    @pytest.mark.long
    @pytest.mark.parametrize("backend", ["eager", "aot_eager"])
    @pytest.mark.parametrize("how", ["wrapped", "in place", "a part of it"])
    def test_compiled(self, backend: str, how: str) -> None:
        def compiled() -> nn.Module:
            model = student()
            if how == "in place":
                model.compile(backend=backend)
            if how == "a part of it":
                model[0] = torch.compile(model[0], backend=backend)  # type: ignore[index,operator]
            return torch.compile(model, backend=backend) if how == "wrapped" else model  # type: ignore[return-value]

        plain, loop = Loop(mentor=EVERY_STEP), Loop(compiled, mentor=EVERY_STEP)
        expected, found = plain.run(4), loop.run(4)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one.influence, other.influence, rtol=1e-4, atol=1e-6)
            assert one.influence.abs().max() > 1e-4
        torch.testing.assert_close(params(loop.student), params(plain.student))

    @pytest.mark.parametrize("meta", ["mapping with labels", "pair with a mapping"])
    def test_named_inputs_and_outputs_with_logits(self, meta: str) -> None:
        """As a Hugging Face model is called, and answers."""

        class Model(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = student()

            def forward(self, values: Tensor, *, scale: Tensor, note: str = "") -> SimpleNamespace:
                assert note in ("", "train")
                return SimpleNamespace(logits=self.inner(values * scale))

        def split(inputs: Tensor) -> dict[str, Tensor]:
            return {"values": inputs / 2, "scale": torch.full((len(inputs), 1), 2.0)}

        meta_inputs, meta_labels = blobs(16, 1)
        error = dataclasses.replace(EVERY_STEP, meta_loss="error")
        batch = (
            {**split(meta_inputs), "labels": meta_labels}
            if meta == "mapping with labels"
            else (split(meta_inputs), meta_labels)
        )
        loop = Loop(
            Model,
            meta_loader=[batch],
            mentor=error,
            loss=lambda outputs, labels: per_sample(outputs.logits, labels),
        )
        plain = Loop(meta_loader=[(meta_inputs, meta_labels)], mentor=error)
        for inputs, labels, ids in noisy(3):
            losses = per_sample(loop.student(**split(inputs), note="train").logits, labels)
            loss = loop.curriculum.weigh(losses, labels=labels, sample_ids=ids)
            record, expected = loop.finish(loss), plain.step(inputs, labels, ids)
            assert_same_records([record], [expected])

    def test_labels_that_are_more_than_a_class(self) -> None:
        """A class per pixel: the loss of a sample is the mean of its pixels'."""

        def loss(outputs: Tensor, labels: Tensor) -> Tensor:
            return F.cross_entropy(outputs.view(-1, 3, 4), labels, reduction="none").mean(1)

        torch.manual_seed(0)
        model = nn.Linear(5, 12).double()
        meta = torch.randn(6, 5, dtype=torch.float64), torch.randint(3, (6, 4))
        inputs, labels = torch.randn(8, 5, dtype=torch.float64), torch.randint(3, (8, 4))
        found, truth = influences_of_a_step(model, loss, meta, inputs, labels)
        assert_close(found, truth, rtol=1e-6, atol=0)

    def test_labels_of_a_regression(self) -> None:
        def loss(outputs: Tensor, targets: Tensor) -> Tensor:
            return (outputs[:, 0] - targets).square()

        meta_inputs, meta_labels = blobs(30, 1)
        inputs, labels, _ = next(noisy(1))
        meta = meta_inputs.double(), meta_labels.double()
        found, truth = influences_of_a_step(student().double(), loss, meta, inputs.double(), labels.double())
        assert_close(found, truth, rtol=1e-6, atol=0)

    @pytest.mark.parametrize("meta", ["tensors", "loader"])
    def test_ids_stay_ids(self, meta: str) -> None:
        """Beyond 2**24 float32 merges them. Meta batches and replays, too, are of them as they are."""
        first, seen = 2**24, []

        class Lookup(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                torch.manual_seed(0)
                self.table, self.head = nn.Embedding(8, 4), nn.Linear(4, 2)

            def forward(self, ids: Tensor) -> Tensor:
                seen.append(ids.clone())
                return self.head(self.table(ids - first).mean(1))  # type: ignore[no-any-return]

        draw = torch.Generator().manual_seed(0)
        labels = torch.arange(12) % 2
        ids = first + 1 + 2 * torch.randint(4, (12, 3), generator=draw)
        trusted = ids + 0, labels
        given = trusted if meta == "tensors" else DataLoader(TensorDataset(*trusted), batch_size=6)
        loop = Loop(Lookup, meta_loader=given, mentor=EVERY_STEP)
        for _ in range(3):
            loop.step(ids, labels)
        assert len(seen) > 3 * 2, "the meta batch, and the replay"
        assert all(part.dtype == torch.int64 and bool((part % 2 == 1).all()) for part in seen)

    def test_frozen_params_and_params_without_a_gradient(self) -> None:
        class Model(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner, self.unused = student(), nn.Linear(2, 2)

            def forward(self, inputs: Tensor) -> Tensor:
                return self.inner(inputs)  # type: ignore[no-any-return]

        loop = Loop(Model, mentor=EVERY_STEP)
        loop.student.inner[0].requires_grad_(False)  # type: ignore[union-attr,index]
        assert loop.run(2)[-1].influence.abs().max() > 0


class TestHooks:
    """What the curriculum leaves on student and optimizer."""

    def test_copies_and_pickles_of_the_student_carry_nothing(self) -> None:
        loop = Loop(mentor=EVERY_STEP)
        copied = copy.deepcopy(loop.student)
        pickled = pickle.loads(pickle.dumps(loop.student))  # noqa: S301 - made here
        assert len(pickle.dumps(loop.student)) < 2 * len(pickle.dumps(student()))
        inputs, labels, _ = next(noisy(1))
        for other in (copied, pickled):
            other(inputs).sum().backward()
        with pytest.raises(ValueError, match="the student was not called in training mode"):
            loop.curriculum.weigh(per_sample(copied(inputs), labels), labels=labels)

    def test_copies_of_the_optimizer_carry_nothing(self) -> None:
        loop = Loop()
        other = pickle.loads(pickle.dumps(loop.optimizer))  # noqa: S301 - made here
        loop.weigh(*next(noisy(1)))
        other.step()
        assert loop.curriculum.after_step() is None

    def test_an_average_of_the_student_trains_along(self) -> None:
        loop = Loop(mentor=EVERY_STEP)
        average = torch.optim.swa_utils.AveragedModel(loop.student)
        for batch in noisy(3):
            loop.step(*batch)
            average.update_parameters(loop.student)
            average(batch[0])

    def test_close_takes_them_off(self) -> None:
        loop = Loop()
        loop.run(1)
        loop.curriculum.close()
        assert not loop.student._forward_pre_hooks
        assert not loop.optimizer._optimizer_step_post_hooks

    def test_two_curricula_one_after_the_other(self) -> None:
        loop = Loop()
        loop.run(2)
        loop.curriculum.close()
        loop.curriculum = LearnedCurriculum(
            loop.student, loop.optimizer, blobs(30, 1), total_steps=5, mentor=EVERY_STEP
        )
        assert [record.step for record in loop.run(2)] == [0, 1]


def test_sample_weights_of_the_last_batch() -> None:
    loop = Loop(mentor=EVERY_STEP)
    loop.run(4)
    loop.weigh(*next(noisy(1))).backward()
    weights = loop.curriculum.sample_weights
    loop.optimizer.step()
    record = loop.curriculum.after_step()
    assert record is not None
    assert torch.equal(weights, record.sample_weights)


def test_training_draws_are_the_same_with_and_without_a_mentor() -> None:
    """Meta batches, replays and the schedule draw from elsewhere."""

    def draws(method: str) -> Tensor:
        loader = DataLoader(TensorDataset(*blobs(30, 1)), batch_size=8, shuffle=True)
        schedule = CurriculumConfig(method=method, example_dropout="0.2:1")
        loop = Loop(coupled_student, meta_loader=loader, mentor=EVERY_STEP, curriculum=schedule)
        loop.run(4)
        return torch.rand(3)

    assert torch.equal(draws("mentornet"), draws("uniform"))


@pytest.mark.long
def test_it_has_no_need_of_ray() -> None:
    code = "import sys; from ray_mentor import LearnedCurriculum; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
