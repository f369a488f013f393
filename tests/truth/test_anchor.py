"""What a meta update descends, sample by sample: the scaled hypergradient; and where the anchor holds it.

A linear mentor on the one-hot label, with a label of its own for every sample, has one param a sample
(and a bias): the gradient of that param is the gradient in the sample's logit z_i, w_i = sigmoid(z_i).
"""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from torch import Tensor
from truth_curriculum import changed, gradient_that_arrived, make_learner

from ray_mentor.config import MentorConfig
from ray_mentor.core.mentor.learner import MentorLearner, MentorState, MetaUpdate
from ray_mentor.core.step.features import Features

N = 6
INFLUENCE = torch.tensor([-2.0, -0.5, 0.4, 3.0, -1.1, 0.0], dtype=torch.float64)
CONFIG = changed(mentor_features=("label",), mentor_hidden=(), anchor=0.3)


def features() -> Features:
    zero = torch.zeros(N, dtype=torch.float64)
    return Features(zero, zero, torch.arange(N), zero, torch.zeros(N, 0, dtype=torch.float64))


def update_of(influence: Tensor = INFLUENCE, keep: Tensor | None = None) -> MetaUpdate:
    return MetaUpdate(7, features(), influence, torch.ones(N, dtype=torch.bool) if keep is None else keep)


def logit_gradient(config: MentorConfig, update: MetaUpdate) -> Tensor:
    learner = make_learner(config, N)
    learner.learn(update)
    per_label, bias = gradient_that_arrived(learner.state())
    torch.testing.assert_close(bias[0], per_label.sum())
    return per_label[0]


def weights() -> Tensor:
    return make_learner(CONFIG, N).score(features())


def params_of(state: MentorState) -> dict[str, Tensor]:
    return torch.load(io.BytesIO(state.payload), weights_only=True)["mentor"]


@pytest.mark.parametrize("normalisation", ["sum", "batch"])
def test_the_hypergradient_in_closed_form(normalisation: str) -> None:
    """∂M/∂w_i is s_i/B, or c_i/Σw with c_i = s_i − Σ_j ŵ_j s_j; ∂w_i/∂z_i = w_i(1 − w_i)."""
    w, s = weights(), INFLUENCE / INFLUENCE.abs().mean()
    slope = s / N if normalisation == "batch" else (s - (w * s).sum() / w.sum()) / w.sum()
    found = logit_gradient(changed(CONFIG, anchor=0.0, normalisation=normalisation), update_of())
    torch.testing.assert_close(found, slope * w * (1 - w), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("anchor", [0.3, 0.9])
def test_the_anchor_holds_the_upper_quartile(anchor: float) -> None:
    """Whatever an update did, numpy's upper quartile of the logits sits at log(a/(1 − a)) after it."""
    learner = make_learner(changed(CONFIG, anchor=anchor), N)
    for _ in range(3):
        learner.learn(update_of())
        logits = torch.logit(learner.score(features())).numpy()
        assert np.quantile(logits, 0.75) == pytest.approx(np.log(anchor / (1 - anchor)), abs=1e-9)


def test_the_anchor_moves_all_logits_alike() -> None:
    anchored, free = (make_learner(config, N) for config in (CONFIG, changed(CONFIG, anchor=0.0)))
    anchored.learn(update_of())
    free.learn(update_of())
    moved = torch.logit(anchored.score(features())) - torch.logit(free.score(features()))
    torch.testing.assert_close(moved, moved[:1].expand(N), rtol=1e-9, atol=1e-9)
    assert moved[0].abs() > 0.1


def test_no_anchor_under_batch_normalisation() -> None:
    config = changed(CONFIG, normalisation="batch")
    with_anchor, without = (make_learner(c, N) for c in (config, changed(config, anchor=0.0)))
    with_anchor.learn(update_of())
    without.learn(update_of())
    assert torch.equal(with_anchor.score(features()), without.score(features()))


@pytest.mark.parametrize("anchor", [0.0, 0.3])
@pytest.mark.parametrize("scale", [1e-30, 1e-6, 3.0, 1e9])
def test_the_scale_of_the_influences_changes_nothing(scale: float, anchor: float) -> None:
    config = changed(CONFIG, anchor=anchor)
    found = logit_gradient(config, update_of(scale * INFLUENCE))
    torch.testing.assert_close(found, logit_gradient(config, update_of()), rtol=1e-12, atol=1e-15)


def test_influences_of_some_samples_stand_for_all() -> None:
    """N/K·Σ over the K known of s_i ∂ŵ_i/∂φ, s over its mean size among the known."""
    known = torch.tensor([True, False, True, True, False, False])
    influence = torch.where(known, INFLUENCE, torch.nan)
    w = weights().requires_grad_()
    s = INFLUENCE[known] / INFLUENCE[known].abs().mean()
    (slope,) = torch.autograd.grad(N / 3 * (s * (w / w.sum())[known]).sum(), w)
    found = logit_gradient(changed(CONFIG, anchor=0.0), update_of(influence))
    torch.testing.assert_close(found, (slope * w * (1 - w)).detach(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("config", [changed(CONFIG, anchor=0.0), changed(CONFIG, normalisation="batch")])
@pytest.mark.parametrize("value", [0.0, torch.nan])
def test_an_update_that_says_nothing_moves_nothing(value: float, config: MentorConfig) -> None:
    learner = make_learner(config, N)
    before = params_of(learner.state())
    learner.learn(update_of(torch.full((N,), value, dtype=torch.float64)))
    after = params_of(learner.state())
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert learner.version == 1
    assert learner.update_id == 7


@pytest.mark.parametrize("anchor", [0.0, 0.3])
@pytest.mark.parametrize(
    "influence",
    [
        [torch.inf, -1.0, 1.0, 0.5, -0.5, 2.0],
        [-torch.inf, torch.inf, 1.0, torch.nan, -0.5, 2.0],
        [torch.nan] * 5 + [0.0],
        [3e38, 3e38, -3e38, 3e38, 3e38, 3e38],
        [1e-45, -1e-45, 0.0, 0.0, 0.0, 0.0],
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_influences_leave_a_sound_mentor(dtype: torch.dtype, influence: list[float], anchor: float) -> None:
    config = changed(CONFIG, anchor=anchor)
    learner = MentorLearner(config, N, seed=0) if dtype == torch.float32 else make_learner(config, N)
    for keep in (torch.ones(N, dtype=torch.bool), torch.zeros(N, dtype=torch.bool)):
        learner.learn(update_of(torch.tensor(influence, dtype=dtype), keep))
    assert all(value.isfinite().all() for value in params_of(learner.state()).values())
    assert learner.score(features()).isfinite().all()
