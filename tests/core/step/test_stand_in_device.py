"""A step on a device whose reads raise: what a GPU would have to wait for, or refuse, is an error here."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from ordinary_loops import LOOPS, NEVER, ordinary_steps
from own_loop import assert_same_records, blobs, noisy, per_sample, student
from stand_in_device import DEVICE, OnDevice, StandInDevice, WaitedError
from tiny_run import batch_of, student_of
from torch import Tensor, nn

from ray_mentor import CurriculumConfig, LearnedCurriculum, MentorConfig
from ray_mentor.core.batch import MetaBatch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.exchange import Alone
from ray_mentor.core.mentor.access import LocalMentor
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.methods.table import parts_of
from ray_mentor.core.step.memorising import MemorisingState
from ray_mentor.core.step.record import StepRecord
from ray_mentor.core.student.pair import pair_of
from ray_mentor.errors import NonFiniteLossError


def test_it_refuses_what_waits() -> None:
    with StandInDevice() as device:
        values = torch.ones(3).to(DEVICE)
        assert isinstance(values + 1, OnDevice)
        for wait in (
            lambda: float(values.sum()),
            lambda: values[values > 0],
            lambda: (values > 0).nonzero(),
            lambda: values.cpu(),
            lambda: values + torch.ones(3),
            lambda: bool((values > 0).all()),
        ):
            with pytest.raises(WaitedError):
                wait()
        assert values.to("cpu", non_blocking=True).tolist() == [1.0] * 3
        assert device.fetched == 1


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("name", LOOPS)
def test_ordinary_steps_run_there_with_the_same_bits(name: str, trusted: bool) -> None:
    expected = ordinary_steps(name, torch.device("cpu"), trusted=trusted)
    with StandInDevice() as device:
        found = ordinary_steps(name, DEVICE, trusted=trusted)
        assert device.fetched <= 2 * len(found.records), "numbers in one piece, labels in another"
        device.may_wait = True
        assert found.known() == expected.known()
    assert_same_records(found.records, expected.records)
    for one, other in zip(found.records, expected.records, strict=True):
        assert torch.equal(one.ids, other.ids)
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.predicted_label, other.predicted_label)
        assert torch.equal(one.margin, other.margin)
    for key, value in expected.params.items():
        assert torch.equal(found.params[key].inner, value), key


SCHEDULES: dict[str, dict[str, Any]] = {
    "mixed by weight": {"mixing": "mentormix"},
    "mixed by weight, as published": {"mixing": "mentormix-published"},
    "mixed before": {"mixing": "mixup"},
    "trusted by given labels": {"meta_from": "pseudo-clean"},
    "a loss that remembers": {"loss": "elr", "mixing": "none"},
    "a robust loss": {"loss": "gce", "mixing": "none"},
    "the oracle": {"method": "oracle"},
    "two students": {"method": "co-teaching", "forget_epochs": 1.0},
}


def trainer_steps(name: str, device: torch.device, count: int = 3) -> tuple[list[StepRecord], dict[str, Tensor]]:
    """So many ordinary steps of a trainer, from a batch on the host."""
    schedule, settings = CurriculumConfig(burn_in=0.0, **SCHEDULES[name]), MentorConfig(update_interval=NEVER)
    torch.manual_seed(3)
    made = pair_of(lambda: nn.Linear(4, 3)) if name == "two students" else student_of()
    model = made.to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    learner = MentorLearner(settings, 3, seed=0)
    access = LocalMentor(learner) if schedule.method == "mentornet" else None
    meta = batch_of(6, seed=9)
    parts = parts_of(schedule, settings, access, None, lambda _: MetaBatch(meta.inputs, meta.labels, len(meta)))
    curriculum = Curriculum(
        model, optimizer, parts, Alone(), schedule, settings, total_steps=NEVER, n_samples=20, seed=0, n_classes=3
    )
    curriculum.step_number = 1
    curriculum.meta._tried = True
    curriculum.memorising.state = MemorisingState(share=1.0)
    records = []
    for seed in range(count):
        batch = dataclasses.replace(batch_of(8, seed), trusted=torch.arange(8) > 5)
        records.append(curriculum.step(batch))
    return records, dict(model.named_parameters())


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_trainers_ordinary_steps_do(name: str) -> None:
    expected, params = trainer_steps(name, torch.device("cpu"))
    with StandInDevice() as device:
        found, theirs = trainer_steps(name, DEVICE)
    assert device.fetched <= 6 * len(found), "a batch that is looked at twice is noted twice"
    assert_same_records(found, expected)
    assert [record.ids.tolist() for record in found] == [record.ids.tolist() for record in expected]
    assert [record.true_labels.tolist() for record in found] == [record.true_labels.tolist() for record in expected]
    for key, value in params.items():
        assert torch.equal(theirs[key].inner, value), key


@pytest.mark.parametrize("loss_of_ones_own", [None, per_sample], ids=["in nats", "in units of its own"])
def test_losses_that_are_not_finite_are_refused_before_the_update_and_leave_no_trace(loss_of_ones_own: Any) -> None:
    with StandInDevice() as device:
        model = student().to(DEVICE)
        optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
        meta = tuple(part.to(DEVICE) for part in blobs(30, 1))
        settings = MentorConfig(update_interval=NEVER, mentor_features=("loss",), history_length=2)
        curriculum = LearnedCurriculum(
            model,
            optimizer,
            meta,
            n_samples=60,
            total_steps=NEVER,
            mentor=settings,
            loss=loss_of_ones_own,
            curriculum=CurriculumConfig(burn_in=0.0),
        )
        inside, mentor = curriculum.curriculum, curriculum.mentor
        assert mentor is not None
        mentor._learner.move(lambda network: nn.init.normal_(network.head.weight))  # or all weights are the same
        inside.step_number, inside.meta._tried = 1, True

        def step(factor: float) -> None:
            [(inputs, labels, ids)] = list(noisy(1))
            losses = per_sample(model(inputs.to(DEVICE)), labels.to(DEVICE))
            spoilt = losses * torch.tensor([1.0] * 19 + [factor]).to(DEVICE)
            loss = curriculum.weigh(spoilt, labels=labels.to(DEVICE), sample_ids=ids)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            curriculum.after_step()

        def known() -> str:
            device.may_wait = True
            units, buffers = inside.units, [state["momentum_buffer"].inner for state in optimizer.state.values()]
            found = (
                [param.inner.clone() for param in model.parameters()], buffers, inside.percentile.value,
                units and units.value,
                inside.guards.state, inside.history.table.inner.nansum(), inside.memorising.state,
            )  # fmt: skip
            device.may_wait = False
            return repr(found)

        step(1.0)
        before = known()
        with pytest.raises(NonFiniteLossError, match=r"at step 2 for 1 of 20 samples \(sample ids \d+\)"):
            step(torch.inf)
        assert known() == before
        step(1.0)
        assert known() != before
