"""What a meta update descends, sample by sample: the scaled hypergradient, and the anchor.

A linear mentor on the one-hot label, with a label of its own for every sample, has one param a sample
(and a bias): the gradient of that param is the gradient in the sample's logit z_i, w_i = sigmoid(z_i).
"""

from __future__ import annotations

import dataclasses
import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from truth_curriculum import changed, gradient_that_arrived, make_learner

from ray_mentor.config import MentorConfig
from ray_mentor.core.features import Features
from ray_mentor.core.mentor_learner import MentorLearner, MentorState, MetaUpdate

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


def anchor_gradient(update: MetaUpdate) -> Tensor:
    return logit_gradient(CONFIG, update) - logit_gradient(dataclasses.replace(CONFIG, anchor=0.0), update)


def centred(influence: Tensor = INFLUENCE) -> Tensor:
    w, s = weights(), influence / influence.abs().mean()
    return s - (w * s).sum() / w.sum()


def test_the_anchor_in_closed_form() -> None:
    """a·Σ p_i (1 − w_i)² / Σ p_i with p_i = max(−c_i, 0) taken as given: d/dz_i = −2a·p_i/Σp · (1 − w_i)²·w_i."""
    w, pull = weights(), (-centred()).clamp(min=0)
    truth = -2 * 0.3 * pull / pull.sum() * (1 - w) ** 2 * w
    torch.testing.assert_close(anchor_gradient(update_of()), truth, rtol=1e-12, atol=1e-15)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-5, 5, width=32), min_size=N, max_size=N).filter(lambda values: max(map(abs, values)) > 0.01))
def test_the_anchor_touches_no_sample_that_hurt_and_pushes_none_down(values: list[float]) -> None:
    influence = torch.tensor(values, dtype=torch.float64)
    found, c = anchor_gradient(update_of(influence)), centred(influence)
    assert (found[c > 1e-9].abs() <= 1e-15).all()
    assert (found <= 1e-15).all()


def test_the_anchor_leaves_out_what_example_dropout_took_out() -> None:
    keep = torch.tensor([False, True, True, True, True, True])
    assert INFLUENCE[0] == INFLUENCE.min()
    found = anchor_gradient(update_of(keep=keep))
    assert found[0] == 0
    assert found[4] < 0


def test_no_anchor_under_batch_normalisation() -> None:
    config = changed(CONFIG, normalisation="batch")
    with_anchor, without = (logit_gradient(c, update_of()) for c in (config, changed(config, anchor=0.0)))
    assert torch.equal(with_anchor, without)


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


@pytest.mark.parametrize("config", [CONFIG, changed(CONFIG, anchor=0.0), changed(CONFIG, normalisation="batch")])
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
