"""The contract that every shipped space keeps."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.sample import Domain
from ray.tune.search.variant_generator import generate_variants

from ray_mentor.config import TrainConfig
from ray_mentor.config.meaning import settled
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.methods.table import METHODS
from ray_mentor.on_ray.tune.objective import OBJECTIVES
from ray_mentor.on_ray.tune.spaces import (
    FoundSpace,
    check_space,
    config_of,
    find_space,
    settings_of,
    shipped_spaces,
)

ROOT = Path(__file__).parents[2]
N = 50


@pytest.fixture(params=["mentor_architecture", "update_frequency", "curriculum", "joint", "smoke"])
def found(request: pytest.FixtureRequest) -> FoundSpace:
    return find_space(request.param)


def drawn(found: FoundSpace, seed: int = 1) -> list[dict[str, Any]]:
    """Samples as Tune's random search draws them."""
    random = np.random.default_rng(seed)
    return [sample for _ in range(N) for _, sample in generate_variants(found.domains, random_state=random)]


def test_these_are_all(found: FoundSpace) -> None:
    assert found.name in shipped_spaces()
    assert shipped_spaces() == sorted(path.stem for path in (ROOT / "tune_spaces").glob("[!_]*.py"))


def test_it_says_what_is_made_large(found: FoundSpace) -> None:
    module = importlib.import_module(f"tune_spaces.{found.name}")
    assert found.objective == module.OBJECTIVE
    assert found.objective in OBJECTIVES
    assert found.trials == (2 if found.name == "smoke" else 16)


def test_its_docstring_names_all_that_it_varies_and_no_other_setting(found: FoundSpace) -> None:
    text = importlib.import_module(f"tune_spaces.{found.name}").space.__doc__
    quoted = set(text.split("``")[1::2])
    assert quoted == set(found.domains)
    assert "Leaves" in text


def test_it_has_domains_alone(found: FoundSpace) -> None:
    assert all(isinstance(domain, Domain) for domain in found.domains.values())
    assert not any(domain.is_grid() or domain.is_function() for domain in found.domains.values())


def test_every_sample_is_a_run_whose_mentor_can_be_built(found: FoundSpace) -> None:
    for sample in drawn(found):
        config = config_of(TrainConfig(), sample)
        assert config.curriculum.method in METHODS
        MentorLearner(config.mentor, n_classes=10, seed=0)


def test_each_sample_reaches_the_run(found: FoundSpace) -> None:
    for sample in drawn(found):
        flat = config_of(TrainConfig(), sample).flat()
        assert {name: flat[name] for name in settings_of(sample)} == settings_of(sample)
        assert flat == {**TrainConfig().flat(), **settled(flat)}


def test_every_domain_makes_a_difference(found: FoundSpace) -> None:
    samples = drawn(found)
    for name in found.domains:
        values = {sample[name] for sample in samples}
        assert len(values) > 1, name
        assert any(
            settings_of({**sample, name: value}) != settings_of(sample) for sample in samples for value in values
        ), name


def test_no_sample_is_only_the_defaults_again(found: FoundSpace) -> None:
    runs = [config_of(TrainConfig(), sample) for sample in drawn(found)]
    assert sum(run != TrainConfig() for run in runs) > N / 2


def test_it_passes_its_own_check(found: FoundSpace) -> None:
    check_space(found, TrainConfig())


def test_optuna_takes_it_and_its_samples_are_runs(found: FoundSpace) -> None:
    distributions = OptunaSearch.convert_search_space(found.domains)
    assert set(distributions) == set(found.domains)
    search = OptunaSearch(space=found.domains, metric="objective", mode="max", seed=0)
    for trial in range(10):
        sample = search.suggest(str(trial))
        assert set(sample) == set(found.domains)
        config_of(TrainConfig(), sample)


def test_joint_is_all_of_the_others() -> None:
    studies = [find_space(name).domains for name in ("mentor_architecture", "update_frequency", "curriculum")]
    assert set(find_space("joint").domains) == {name for domains in studies for name in domains}
    assert sum(map(len, studies)) == len(find_space("joint").domains)


def test_what_one_choice_makes_meaningless_is_left_out_of_joint() -> None:
    samples = [settings_of(sample) for sample in drawn(find_space("joint"))]
    for settings in samples:
        assert ("mentor" in settings) == (settings["method"] == "mentornet")
        assert ("mentor_hidden" in settings) == (settings.get("mentor") == "mlp")
        assert ("history_length" in settings) == ("history" in settings.get("mentor_features", ()))
    assert {settings.get("mentor") for settings in samples} == {None, "mlp", "mentornet"}


@pytest.mark.long
def test_a_space_loads_nothing_of_ours_nor_torch() -> None:
    code = (
        "import tune_spaces.joint, sys;"
        "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'ray_mentor')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.long
@pytest.mark.parametrize("folder", ["", ".."])
def test_the_spaces_of_a_source_tree_are_found_from_anywhere(folder: str, tmp_path: Path) -> None:
    code = "from ray_mentor.on_ray.tune.spaces import find_space; print(find_space('smoke').objective)"
    where = ROOT / folder if folder else tmp_path
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=where, check=False)
    assert done.stdout.strip() == "accuracy", done.stderr
