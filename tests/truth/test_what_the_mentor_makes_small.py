"""The meta loss and the pull towards equal weights, in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from stand_ins import Spy
from test_anchor import CONFIG, INFLUENCE, N, features, logit_gradient, update_of
from torch import Tensor
from truth_curriculum import as_batch, changed, make_curriculum, make_learner
from truth_students import CLASSES, make_student, samples

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.batch import MetaBatch
from ray_mentor.core.losses import ExpectedError, cross_entropy
from ray_mentor.core.mentor.learner import MentorLearner, divergence
from ray_mentor.core.methods.table import parts_of

FREE = changed(CONFIG, anchor=0.0)


def test_the_expected_error_is_one_minus_the_probability_of_the_label() -> None:
    logits = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(7) % 4
    found = ExpectedError(cross_entropy)(logits, labels)
    p = torch.softmax(logits, dim=1)
    p_y = p[torch.arange(7), labels]
    torch.testing.assert_close(found, 1 - p_y, rtol=1e-12, atol=0)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    expected = p_y[:, None] * (p - torch.nn.functional.one_hot(labels, 4))  # p_y times that of cross-entropy
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss", [1e-30, 1e-10, 1e-5, 0.1, 0.999, 1.0, 3.0])
def test_the_expected_error_keeps_its_digits(loss: float, dtype: torch.dtype) -> None:
    """1 − exp(−ℓ) as it stands would be 0 below the type's rounding. (What rounds there is cross-entropy itself.)"""
    losses = torch.tensor([loss], dtype=dtype, requires_grad=True)
    found = ExpectedError(lambda outputs, labels: outputs)(losses, torch.zeros(1))
    (slope,) = torch.autograd.grad(found.sum(), losses)
    rounding = 32 * torch.finfo(dtype).eps
    given = float(losses.detach())
    assert float(found.detach()) == pytest.approx(-math.expm1(-given), rel=rounding, abs=0)
    assert float(slope) == pytest.approx(math.exp(-given), rel=rounding, abs=0)


@pytest.mark.parametrize(("name", "kind"), [("error", ExpectedError), ("loss", type(cross_entropy))])
def test_the_meta_loss_is_the_one_that_is_named(name: str, kind: type) -> None:
    learner = Spy(make_learner(FREE, N))
    meta = MetaBatch(torch.zeros(1), torch.zeros(1), 1)
    parts = parts_of(CurriculumConfig(), MentorConfig(meta_loss=name), learner, None, lambda _: meta)  # type: ignore[arg-type]
    assert isinstance(parts.meta_loss, kind)
    assert parts.loss is cross_entropy


def test_divergence() -> None:
    assert divergence(torch.full((8,), 0.3)).item() == pytest.approx(0, abs=1e-6)
    assert divergence(torch.tensor([1.0, 0, 0, 0])).item() == pytest.approx(math.log(4))
    w = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    p = w / w.sum()
    assert divergence(w).item() == pytest.approx(float((p * (3 * p).log()).sum()))


def test_the_pull_in_closed_form() -> None:
    """∂KL/∂w_i = (log(n·p_i) − KL)/Σw, and ∂w_i/∂z_i = w_i(1 − w_i)."""
    w = make_learner(CONFIG, N).score(features())
    p = w / w.sum()
    kl = (p * (N * p).log()).sum()
    pull = ((N * p).log() - kl) / w.sum() * w * (1 - w)
    with_pull, without = (logit_gradient(changed(FREE, entropy=strength), update_of()) for strength in (0.7, 0.0))
    torch.testing.assert_close(with_pull - without, 0.7 * pull, rtol=1e-10, atol=1e-14)


def test_dropped_samples_have_no_part_in_the_pull() -> None:
    keep = torch.tensor([True, True, False, True, True, False])
    none = torch.zeros(N, dtype=torch.float64)
    found = logit_gradient(changed(FREE, entropy=0.7), update_of(none, keep))
    assert (found[~keep] == 0).all()
    assert (found[keep] != 0).all()


@pytest.mark.long
@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_the_best_weights_are_exponential_in_the_influence(strength: float) -> None:
    learner = make_learner(changed(FREE, entropy=strength, mentor_learning_rate=0.1), N)
    for _ in range(1500):
        learner.learn(update_of())
    p = learner.score(features())
    expected = torch.softmax(-INFLUENCE / INFLUENCE.abs().mean() / strength, dim=0)
    torch.testing.assert_close(p / p.sum(), expected, rtol=2e-2, atol=2e-4)


def test_a_rarer_update_counts_for_more_steps() -> None:
    def moved(interval: int, rate: float) -> Tensor:
        config = changed(FREE, update_interval=interval, mentor_learning_rate=rate)
        learner: MentorLearner = make_learner(config, N)
        learner.learn(update_of())
        return torch.logit(learner.score(features()))

    assert torch.equal(moved(1, 0.06), moved(6, 0.01))
    assert not torch.equal(moved(1, 0.01), moved(6, 0.01))


def test_no_mentor_learns_during_burn_in() -> None:
    student = make_student("mlp")
    access = Spy(make_learner(changed(), CLASSES))
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    curriculum = make_curriculum(student, optimizer, samples("mlp", 7, seed=2), access=access, burn_in=0.35)
    records = [curriculum.step(as_batch(samples("mlp", 9, seed=step))) for step in range(6)]
    assert [update.update_id for update in access.updates] == [4, 5]  # progress 0.4 and 0.5 of 10 steps
    assert [bool((record.sample_weights == 1).all()) for record in records] == [True] * 4 + [False] * 2
