"""MentorNet PD fitted here: how near it comes to the formula, as a file, and as a mentor that learns on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from own_loop import Loop, noisy

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.mentor.networks import MentorNet, load_published
from ray_mentor.core.mentor.networks.mentornet import save_published
from ray_mentor.core.mentor.offline.predefined import PD_PARAMS, fitted_pd, pd_rows, predefined
from ray_mentor.core.mentor.offline.supervised import Fitting, error_of
from ray_mentor.errors import UserError


def test_the_formula_by_hand() -> None:
    difference = torch.tensor([-1.0, 0.0, 0.25, 2.0])
    for percent, expected in ((18, [1, 1, 1, 1]), (19, [1, 1, 0, 0]), (89, [1, 1, 0, 0]), (90, [1, 1, 0.75, 0])):
        assert predefined(difference, torch.full((4,), percent)).tolist() == expected


def test_the_rows_are_those_of_the_published_grid() -> None:
    learnt, tested = pd_rows(0)
    assert (len(learnt), len(tested)) == (80_000, 20_000)
    loss, difference = learnt.features.loss, learnt.features.loss_difference
    assert (float(loss.min()), float(loss.max())) == (0.0, 29.0)
    assert len(loss.unique()) == 120
    assert (float(difference.min()), float(difference.max())) == (-5.0, pytest.approx(4.9))
    assert len(torch.cat([rows.features.progress for rows in (learnt, tested)]).unique()) == 100
    both = [
        torch.stack([r.features.loss, r.features.loss_difference, r.features.progress], 1) for r in (learnt, tested)
    ]
    assert len(torch.cat(both).unique(dim=0)) == 100_000, "no row is tested that was learnt from"


def test_the_params_that_come_with_the_package_are_nearer_than_a_hundredth() -> None:
    """A test MSE below 1e-4, as with a trainable embedding of the percent."""
    network = load_published(PD_PARAMS)
    with torch.no_grad():
        assert error_of(network, pd_rows(0)[1], squared=True) < 1e-4
        assert error_of(network, pd_rows(7)[1], squared=True) < 1e-4, "rows of another draw"
    assert network.label_embedding.shape == (2, 2)
    assert network.percent_embedding.shape == (100, 5)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("train_percent", "least"), [(True, 1e-4), (False, 0.015)])
def test_what_the_published_recipe_reaches(train_percent: bool, least: float) -> None:
    network, error = fitted_pd(train_percent=train_percent, seed=1)
    assert error < least
    fresh = MentorNet(train_percent=train_percent, seed=1)
    assert torch.equal(network.percent_embedding, fresh.percent_embedding) == (not train_percent)


def test_a_fit_goes_towards_the_formula_and_its_file_is_the_network(tmp_path: Path) -> None:
    network, error = fitted_pd(how=Fitting(steps=60, batch_size=256, rate=0.03, last_rate=0.01, squared=True))
    _, before = fitted_pd(how=Fitting(steps=0, batch_size=256, rate=0.03, last_rate=0.01, squared=True))
    assert error < 0.8 * before
    save_published(network, tmp_path / "pd.npz")
    features = pd_rows(0)[1].features[:50]
    assert torch.equal(load_published(tmp_path / "pd.npz").sample_weights(features), network.sample_weights(features))


def scored(method: str, **mentor: str) -> tuple[Loop, list[torch.Tensor]]:
    settings = MentorConfig(update_interval=1, mentor_learning_rate=0.01, **mentor)  # type: ignore[arg-type]
    loop = Loop(mentor=settings, curriculum=CurriculumConfig(method=method, burn_in=0.0), total_steps=20)
    return loop, [loop.step(*batch).scored for batch in noisy(20)]


@pytest.mark.parametrize("own_params", [False, True])
def test_a_refined_mentor_begins_as_the_frozen_one_and_learns_on(own_params: bool, tmp_path: Path) -> None:
    params = {}
    if own_params:  # of the public checkpoint's shape
        network = MentorNet(n_labels=3, label_width=5, percent_width=10, train_percent=True, seed=2)
        with torch.no_grad():
            network.output_matrix.normal_(generator=torch.Generator().manual_seed(0))
        save_published(network, tmp_path / "own.npz")
        params = {"mentor_params": str(tmp_path / "own.npz")}
    (_, frozen), (loop, refined) = scored("mentornet-pd", **params), scored("mentornet-refined", **params)
    torch.testing.assert_close(refined[0], frozen[0])
    assert not torch.allclose(refined[-1], frozen[-1], atol=1e-3)
    assert loop.curriculum.curriculum.meta.done > 10


def test_refine_is_another_way_to_say_it() -> None:
    assert CurriculumConfig(method="mentornet-pd", refine=True) == CurriculumConfig(method="mentornet-refined")
    assert CurriculumConfig(method="mentornet-refined", refine=True) == CurriculumConfig(method="mentornet-refined")
    with pytest.raises(UserError) as refused:
        CurriculumConfig(method="uniform", refine=True)
    assert str(refused.value) == (
        "refine is True, but method 'uniform' has no params to go on from; give --method mentornet-pd, too"
    )
