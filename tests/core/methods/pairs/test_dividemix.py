"""DivideMix: its step is that of the published loop, on what each student believes by the losses of the other."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn
from truth_curriculum import as_batch, curriculum_of_settings
from truth_students import CLASSES, make_student, samples

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.batch import Batch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.epoch import EpochEnd
from ray_mentor.core.exchange import Alone
from ray_mentor.core.methods.pairs import CoDivide, DivideMix, check_can_be_relabelled
from ray_mentor.core.methods.pairs.dividemix import balance, shares
from ray_mentor.core.mixture import fitted
from ray_mentor.core.state.checked import read_curriculum_state
from ray_mentor.core.state.curriculum import CurriculumState, capture_curriculum, restore_curriculum
from ray_mentor.core.step.record import StepRecord
from ray_mentor.core.student.pair import Pair
from ray_mentor.errors import UserError

N, EPOCHS = 12, 4
WEIGHT, ALPHA, SHARPNESS, RISE = 7.0, 4.0, 0.5, 16.0


def curriculum_of(student: nn.Module, burn_in: float = 0.25) -> Curriculum:
    """Two steps an epoch, of the twelve samples there are."""
    schedule = CurriculumConfig("dividemix", burn_in=burn_in, unlabelled_weight=WEIGHT)
    made = curriculum_of_settings(student, schedule, MentorConfig(), n_samples=N, total_steps=2 * EPOCHS)
    made._epochs = EPOCHS
    return made


def pair(name: str = "mlp") -> Pair:
    return Pair(make_student(name, seed=0), make_student(name, seed=1))


def batch_at(step: int, name: str = "mlp", views: int = 1) -> Batch:
    rows = torch.arange(N)[step % 2 :: 2]
    whole = as_batch(samples(name, N, 1))
    inputs = torch.cat([whole.inputs[rows] + 0.1 * view for view in range(views)])  # as if augmented
    return Batch(rows, rows, inputs, whole.labels[rows])


def run(curriculum: Curriculum, steps: range, name: str = "mlp") -> list[StepRecord]:
    records = []
    for step in steps:
        records.append(curriculum.step(batch_at(step, name, curriculum.views)))
        if step % 2:
            curriculum.end_epoch(step // 2 + 1, list, list)
    return records


def published(both: Pair, batch: Batch, weights: Tensor, l: float, order: Tensor, lam: float) -> Tensor:  # noqa: E741
    """The authors' loop for each student in turn: labelled and unlabelled samples apart, views one after the other."""
    views = batch.inputs.split(len(batch))
    with torch.no_grad():
        frozen = copy.deepcopy(both)
        said = [torch.softmax(frozen(batch.inputs)[:, k], 1).split(len(batch)) for k in (0, 1)]
    logits = both(l * batch.inputs + (1 - l) * batch.inputs[order])
    loss = torch.zeros((), dtype=torch.float64)
    for k in (0, 1):
        labelled = weights[:, k] > 0.5
        w = weights[:, k : k + 1]
        y = nn.functional.one_hot(batch.labels, CLASSES).double()
        px = w * y + (1 - w) * sum(said[k]) / len(views)
        pu = sum(sum(said[one]) for one in (0, 1)) / (2 * len(views))
        px, pu = px ** (1 / SHARPNESS), pu ** (1 / SHARPNESS)
        px, pu = px / px.sum(1, keepdim=True), pu / pu.sum(1, keepdim=True)
        target = torch.where(labelled[:, None], px, pu).repeat(len(views), 1)
        target = l * target + (1 - l) * target[order]
        mine, is_x = logits[:, k], labelled.repeat(len(views))
        lx = -torch.mean(torch.sum(nn.functional.log_softmax(mine[is_x], dim=1) * target[is_x], dim=1))
        lu = torch.mean((torch.softmax(mine[~is_x], dim=1) - target[~is_x]) ** 2)
        prior = torch.full((CLASSES,), 1 / CLASSES, dtype=torch.float64)
        penalty = torch.sum(prior * torch.log(prior / torch.softmax(mine, dim=1).mean(0)))
        loss = loss + lx + lam * lu + penalty
    return loss


WEIGHTS = torch.tensor([[0.9, 0.2], [0.7, 0.8], [0.1, 0.95], [0.51, 0.3], [0.05, 0.4], [1.0, 0.6]], dtype=torch.float64)


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("name", ["mlp", "conv with batch norm"])
def test_a_step_is_the_published_one(name: str, views: int, monkeypatch: pytest.MonkeyPatch) -> None:
    both = pair(name)
    curriculum = curriculum_of(both)
    run(curriculum, range(4), name)
    other = copy.deepcopy(both)
    monkeypatch.setattr(CoDivide, "__call__", lambda self, seen: WEIGHTS)
    for step in range(4, 7):
        batch = batch_at(step, name, views)
        draw = curriculum.generator("mixing", 0)
        seed = int(torch.randint(2**31, (1,), generator=draw))
        l = float(np.random.default_rng(seed).beta(ALPHA, ALPHA))  # noqa: E741
        order = torch.randperm(6 * views, generator=draw)
        lam = WEIGHT * (step / 2 - 1) / RISE  # the warm-up took an epoch
        record = curriculum.step(batch)
        optimizer = torch.optim.SGD(other.parameters(), 0.1)
        optimizer.zero_grad()
        published(other, batch, WEIGHTS, max(l, 1 - l), order, lam).backward()
        optimizer.step()
        torch.testing.assert_close(both.state_dict(), other.state_dict(), rtol=1e-9, atol=1e-11)
        assert torch.equal(record.sample_weights, WEIGHTS.mean(1))


def test_each_student_believes_what_the_other_finds_easy() -> None:
    """By scikit-learn's mixture, of the losses that it had at the last visits."""
    curriculum = curriculum_of(pair(), burn_in=0.0)
    run(curriculum, range(2))
    kept = curriculum.history.beside(torch.arange(N)).double()
    seen = curriculum.observe(batch_at(0))
    found = curriculum.score(seen)
    rows = seen.batch.rows
    for student in (0, 1):
        losses = kept[:, 1 - student]
        x = ((losses - losses.min()) / (losses.max() - losses.min())).numpy()
        own = fitted(losses)
        assert own is not None
        model = GaussianMixture(
            2, max_iter=1, weights_init=own.shares, means_init=np.array(own.means)[:, None],
            precisions_init=1 / np.array(own.variances)[:, None, None],
        )  # fmt: skip
        model._initialize(x[:, None], None)
        expected = model.predict_proba(x[:, None])[:, 0]
        np.testing.assert_allclose(found[:, student].numpy(), expected[rows], rtol=1e-6, atol=1e-9)
    assert not torch.allclose(found[:, 0], found[:, 1])


def test_warm_up_is_plain_training_to_the_end_of_an_epoch() -> None:
    """Burn-in ends in mid-epoch, after three of eight steps; what there is to divide by comes with the fourth."""
    both, plain = pair(), pair()
    curriculum = curriculum_of(both, burn_in=0.3)
    other = curriculum_of(plain, burn_in=0.99)
    records, expected = run(curriculum, range(4)), run(other, range(4))
    assert all((record.sample_weights == 1).all() for record in records)
    for found, param in zip(both.parameters(), plain.parameters(), strict=True):
        assert torch.equal(found, param)
    assert curriculum.views == 2
    assert other.views == 1
    assert all(torch.equal(one.losses, two.losses) for one, two in zip(records, expected, strict=True))
    run(curriculum, range(4, 5))
    run(other, range(4, 5))
    assert not torch.equal(both.first[0].weight, plain.first[0].weight)


def test_lambda_rises_from_the_end_of_the_warm_up() -> None:
    divide = CoDivide(0.1)
    mix = DivideMix(divide, WEIGHT)
    divide.state = torch.cat([torch.tensor([3.0]), torch.zeros(16)]).double()
    assert [mix.strength(epochs) for epochs in (2.5, 3.0, 7.0, 19.0, 40.0)] == [0, 0, WEIGHT / 4, WEIGHT, WEIGHT]


def test_shares_by_hand() -> None:
    believed = torch.tensor([[1, 0], [1, 0], [0, 0], [0, 0]]).bool()
    assert shares(believed).tolist() == [[0.5, 0.25], [0.5, 0.25], [0.5, 0.25], [0.5, 0.25]]
    assert shares(torch.tensor([[1, 1], [1, 0], [1, 0]]).bool())[:, 1].tolist() == [1.0, 0.5, 0.5]


def test_the_slope_of_the_balance_is_that_of_the_divergence() -> None:
    z = torch.randn(5, 2, CLASSES, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (found,) = torch.autograd.grad(balance(z, 5, Alone()), z)
    mean = torch.softmax(z, 2).mean(0)
    (expected,) = torch.autograd.grad(-(mean.log() / CLASSES).sum(), z)
    torch.testing.assert_close(found, expected)


def test_trusted_samples_are_believed_and_not_fitted() -> None:
    curriculum = curriculum_of(pair(), burn_in=0.0)
    trusted = torch.arange(6) < 2
    for step in range(2):
        curriculum.step(dataclasses.replace(batch_at(step), trusted=trusted))
    kept = curriculum.history.beside(torch.arange(N))
    assert kept.isnan().all(1).sum() == 4
    curriculum.end_epoch(1, list, list)
    seen = curriculum.observe(dataclasses.replace(batch_at(0), trusted=trusted))
    assert (curriculum.score(seen)[:2] == 1).all()


def test_it_goes_on_as_if_it_had_never_stopped() -> None:
    whole = pair()
    curriculum = curriculum_of(whole)
    run(curriculum, range(5))
    state, table = capture_curriculum(curriculum, curriculum.history.table.clone()), copy.deepcopy(whole.state_dict())
    run(curriculum, range(5, 8))
    again = pair()
    other = curriculum_of(again)
    again.load_state_dict(table)
    restore_curriculum(read_curriculum_state(state.table()), other)
    run(other, range(5, 8))
    for found, expected in zip(again.parameters(), whole.parameters(), strict=True):
        assert torch.equal(found, expected)


def test_states_that_no_mixture_has() -> None:
    curriculum = curriculum_of(pair())
    run(curriculum, range(4))
    table = capture_curriculum(curriculum, curriculum.history.table.clone()).table()
    [good] = table["at_epoch"]
    for bad in (good[:-1], -good, torch.zeros_like(good)):
        with pytest.raises(UserError, match="found out at the ends of epochs is not what this curriculum's could have"):
            restore_curriculum(CurriculumState.from_table({**table, "at_epoch": [bad]}), curriculum_of(pair()))


def test_without_two_kinds_of_losses_the_warm_up_goes_on() -> None:
    divide = CoDivide(0.0)
    divide.at_epoch(EpochEnd(1, 0.5, lambda: torch.zeros(1), remembered=lambda: torch.ones(4, 2)))
    assert divide.state is None


def test_what_it_can_not_go_with() -> None:
    with pytest.raises(UserError, match=r"^method is 'dividemix', which blends inputs, but .*that are floats$"):
        check_can_be_relabelled(CurriculumConfig("dividemix"), floats=False)
    with pytest.raises(UserError, match=r"^example_dropout is '0\.5:1', which sets .*; leave --example-dropout out$"):
        check_can_be_relabelled(CurriculumConfig("dividemix", example_dropout="0.5:1"), floats=True)
