"""Settings of a comparison: names, presets, levels, methods of one's own, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ray_mentor.config import TrainConfig
from ray_mentor.config.compare import CompareConfig, CompareSettings
from ray_mentor.config.compared import BASELINE, METHODS, ORACLE, PRESETS, own_method
from ray_mentor.config.described import described
from ray_mentor.core.losses import CROSS_ENTROPY, ROBUST
from ray_mentor.core.methods.table import METHODS as CORE_METHODS
from ray_mentor.core.step.gradient_rules import GRADIENT_RULES
from ray_mentor.data.samples.augment import POLICIES
from ray_mentor.errors import UserError


def test_names_are_one_by_one() -> None:
    settings = CompareSettings(methods=("uniform, gce", "mine=a.toml"), noises=("none,symmetric:0.2",))
    assert settings.names == ("uniform", "gce", "mine=a.toml")
    assert settings.noise_levels == ("none", "symmetric:0.2")
    assert CompareSettings(meta_sizes=(500, "0, 10,50")).sizes == (500, 0, 10, 50)


def test_the_preset_counts_where_no_methods_are_named_or_it_is_asked_for() -> None:
    assert CompareSettings().from_preset == PRESETS["quick"]
    assert CompareSettings(methods=("gce",)).from_preset == ()
    assert CompareSettings(methods=("gce",), preset="seed").from_preset == PRESETS["seed"]


def test_presets_are_of_the_table() -> None:
    assert {name for names in PRESETS.values() for name in names} == set(METHODS)
    assert {BASELINE, ORACLE} < set(METHODS)


def test_all_methods_but_two_have_the_trusted_samples_in_training() -> None:
    shares = {name: method.config(TrainConfig()).curriculum.in_training for name, method in METHODS.items()}
    assert (shares.pop("uniform"), shares.pop("mentornet-pseudo-clean")) == (0.0, 0.0)
    assert set(shares.values()) == {1.0}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"methods": ("mentornt",)},
            "unknown method 'mentornt' (nearest: mentornet); valid: uniform, uniform-trusted, ",
        ),
        ({"methods": ("mine=",)}, "methods is 'mine=', but behind = there must be a file; e.g. mine=mine.toml"),
        (
            {"methods": (" =mine.toml",)},
            "methods is '=mine.toml', but before = there must be a name; e.g. mine=mine.toml",
        ),
        (
            {"methods": ("mine=a.toml", "gce,mine=b.toml")},
            "methods is ['mine', 'mine'], but each of your own needs a name of its own",
        ),
        ({"preset": "fast"}, "unknown preset 'fast'; valid: quick, seed, all"),
        ({"seeds": 0}, "seeds is 0, but it must be at least 1"),
        ({"noises": ("symetric:0.4",)}, "unknown noise 'symetric'; valid: none, symmetric, asymmetric, instance"),
        ({"noises": ("none", "none")}, "noises is ('none', 'none'), but each must be there once"),
        (
            {"noises": ("symmetric:0.4,symmetric:.40",)},
            "noises is ('symmetric:0.4', 'symmetric:.40'), but each must be",
        ),
        (
            {"noises": ("symmetric:0.4,symmetric:0.40000001",)},
            "noises is ('symmetric:0.4', 'symmetric:0.40000001'), but",
        ),
        ({"noises": ("none,asymmetric:0",)}, "noises is ('none', 'asymmetric:0'), but each must be there once"),
        ({"meta_sizes": (-1, 10)}, "meta_sizes is -1, but it must be at least 0"),
        ({"meta_sizes": ("0,ten",)}, "meta_sizes is 'ten', but each must be a whole number; e.g. 0,10,100"),
        ({"meta_sizes": (10, "0,10")}, "meta_sizes is (10, 0, 10), but each must be there once"),
        ({"concurrent": 0}, "concurrent is 0, but it must be at least 1"),
    ],
)
def test_what_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as refused:
        CompareSettings(**settings)
    assert str(refused.value).startswith(says)


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        (
            "gce",
            {"loss": "gce"},
            "a method of your own is called 'gce', but there is one of this name; give it another",
        ),
        *(
            (
                name,
                {"loss": "gce"},
                f"a method of your own is called {name!r}, but a name has 1 to 30 characters on one line, so that "
                "tables and figures show it whole; give it another",
            )
            for name in ("", " mine", "my  own", "my\nown", 31 * "a")
        ),
        ("mine", {}, "the method 'mine' has no settings; give some, e.g. method = 'self-paced'"),
        ("mine", {"pacee": "linear"}, "of the method 'mine': unknown setting 'pacee'; nearest valid: pace"),
        (
            "mine",
            {"batch_size": 3},
            "the method 'mine' sets batch_size, but data, trusted samples, student and schedule are the same for all "
            "methods of a comparison; leave it out, or give it to all: --batch-size",
        ),
    ],
)
def test_methods_of_ones_own_that_are_refused(name: str, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as refused:
        own_method(name, settings)
    assert str(refused.value) == says


@pytest.mark.parametrize("setting", ["noise", "meta_size", "epochs", "seed", "student", "schedule", "meta_holdout"])
def test_what_all_share_is_refused(setting: str) -> None:
    with pytest.raises(UserError, match=f"sets {setting}, but data, trusted samples, student and schedule"):
        own_method("mine", {setting: 1})


def test_a_comparison_is_one_flat_table() -> None:
    config = CompareConfig.from_flat({"methods": ["gce"], "seeds": 2, "epochs": 3})
    assert (config.compare.methods, config.compare.seeds, config.train.run.epochs) == (("gce",), 2, 3)
    assert CompareConfig.from_flat(config.flat()) == config
    with pytest.raises(UserError, match="unknown setting 'metods'; nearest valid: methods"):
        CompareConfig.from_flat({"metods": ["gce"]})


def test_every_method_loss_and_rule_of_the_package_is_in_the_table() -> None:
    """A new one is a line there, too."""
    curricula = [method.config(TrainConfig()).curriculum for method in METHODS.values()]
    assert {curriculum.method for curriculum in curricula} == set(CORE_METHODS) - {"mentornet-frozen", "rule"}, (
        "which takes a run"
    )
    assert {curriculum.loss for curriculum in curricula} - {None, CROSS_ENTROPY} == set(ROBUST)
    assert {curriculum.gradient_rule for curriculum in curricula} == set(GRADIENT_RULES)
    assert {method.settings.get("augment") for method in METHODS.values()} - {None} == set(POLICIES)


def test_the_help_names_every_method() -> None:
    [text] = [each.text for each in described(CompareSettings) if each.name == "methods"]
    named = text.partition("being two: ")[2].partition(";")[0].split(", ")
    assert sorted(named) == sorted(METHODS)


def test_the_page_names_every_method() -> None:
    page = (Path(__file__).parents[2] / "docs/compare.md").read_text()
    assert [name for name in METHODS if f"`{name}`" not in page] == []
