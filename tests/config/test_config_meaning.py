"""Settings that mean nothing beside others: by the rules, and by training with and without them."""

from __future__ import annotations

import dataclasses
import functools
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_runs import assert_same_bits, trainer_for
from torch import Tensor

from ray_mentor.config import CurriculumConfig, MentorConfig, StudentConfig, TrainConfig
from ray_mentor.config.meaning import LEARNED, LEARNING_METHODS, RULES, reason_against, settled
from ray_mentor.core.methods.table import METHODS
from ray_mentor.core.student.optimizers import make_optimizer
from ray_mentor.data import Splits

Table = dict[str, Any]

VALUES: dict[str, list[Any]] = {
    "method": ["mentornet", "self-paced", "uniform", "oracle", "l2rw", "mentornet-dd"],
    "gradient_rule": ["none", "pcgrad"],
    "mentor": ["mlp", "mentornet", "lstm", "cmw"],
    "mentor_hidden": [(8,), (), (4, 4)],
    "mentor_embedding": [(2, 5), (3, 4)],
    "mentor_features": [("loss", "loss_difference"), ("loss",), ("label", "loss"), ("loss", "history")],
    "history_length": [1, 3],
    "mentor_learning_rate": [0.025, 0.01],
    "mentor_weight_decay": [0.0, 0.1],
    "initial_sample_weight": [0.9, 0.5],
    "update_interval": [2, 3],
    "meta_batch_size": [20, 10],
    "influence_samples": [0, 16],
    "estimator": ["jvp", "last_layer", "unrolled"],
    "unroll_steps": [1, 2],
    "meta_loss": ["error", "loss"],
    "entropy": [0.25, 1.0],
    "class_evidence": [0.5, 0.0],
    "anchor": [0.9, 0.0],
    "normalisation": ["sum", "batch"],
    "min_effective_share": [0.05, 0.9],
    "min_class_share": [0.05, 0.9],
    "meta_holdout": [0.1, 0.0],
    "mentor_patience": [0, 1],
    "scoring": ["auto", "actor", "replica"],
    "loss_percentile": [0.6, 0.3],
    "percentile_decay": [0.9, 0.5],
    "pace": ["hard", "linear"],
    "taught_at": [(0.21, 0.75), (0.3,)],
    "forget_rate": [0.3, 0.5],
    "forget_epochs": [10.0, 0.0],
    "unlabelled_weight": [25.0, 0.0],
    "mixing": [None, "none", "mixup", "mentormix"],
    "meta_in_training": [1.0, 0.0],
    "meta_from": ["trusted", "pseudo-clean"],
    "mixup_alpha": [1.0, 0.2],
    "burn_in": [0.0, 0.3],
    "example_dropout": ["", "0.5:0.5,0.1:0.5"],
    "optimizer": ["sgd", "adamw"],
    "momentum": [0.9, 0.5],
    "nesterov": [True, False],
    "group_rate": [0.01, 0.1],
}
"""Some for each setting that a rule speaks of or looks at, published params aside."""

ANY = {name: st.sampled_from(values) for name, values in VALUES.items()}
TABLES = st.fixed_dictionaries({}, optional=ANY)


def dropped(table: Table) -> set[str]:
    return {name for name in table if reason_against(name, table) is not None}


# The table of rules


def test_each_mentor_setting_is_the_learning_mentors_or_every_methods() -> None:
    fields = {field.name for field in dataclasses.fields(MentorConfig)}
    assert fields - set(LEARNED) == {
        "normalisation",
        "loss_percentile",
        "percentile_decay",
        "mentor_from",
        "mentor_params",
        "meta_batch_size",
        "meta_holdout",
        "meta_loss",
    }
    assert set(LEARNED) <= fields


def test_the_methods_that_learn_are_those_of_the_core() -> None:
    assert set(LEARNING_METHODS) == {name for name, method in METHODS.items() if method.learns}


def test_the_rules_speak_of_student_mentor_and_curriculum_alone() -> None:
    groups = (StudentConfig, MentorConfig, CurriculumConfig)
    names = {field.name for group in groups for field in dataclasses.fields(group)}
    assert {name for rule in RULES for name in (*rule.settings, *rule.where)} <= names


def test_the_values_of_these_tests_leave_no_setting_of_the_rules_out() -> None:
    named = {name for rule in RULES for name in (*rule.settings, *rule.where)}
    assert named - set(VALUES) == {"mentor_params", "mentor_from"}


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"method": "uniform", "update_interval": 3, "entropy": 0.5, "learning_rate": 0.1},
         {"method": "uniform", "learning_rate": 0.1}),
        ({"method": "self-paced", "mentor": "mentornet", "loss_percentile": 0.4},
         {"method": "self-paced", "loss_percentile": 0.4}),
        ({"mentor": "mentornet", "mentor_hidden": (8,), "mentor_embedding": (3, 4), "history_length": 2},
         {"mentor": "mentornet", "mentor_embedding": (3, 4)}),
        ({"mentor": "mlp", "mentor_hidden": (8,), "mentor_embedding": (3, 4)},
         {"mentor": "mlp", "mentor_hidden": (8,)}),
        ({"mentor": "mlp", "mentor_features": ("loss",), "history_length": 2},
         {"mentor": "mlp", "mentor_features": ("loss",)}),
        ({"mentor": "lstm", "mentor_features": ("loss",), "history_length": 2, "mentor_hidden": (8,)},
         {"mentor": "lstm", "history_length": 2}),
        ({"method": "mentornet", "mentor": "cmw", "mentor_features": ("loss",), "history_length": 2,
          "mentor_embedding": (3, 4), "loss_percentile": 0.4}, {"method": "mentornet", "mentor": "cmw"}),
        ({"mentor_features": ("history",), "history_length": 2},
         {"mentor_features": ("history",), "history_length": 2}),
        ({"estimator": "jvp", "unroll_steps": 2}, {"estimator": "jvp"}),
        ({"estimator": "unrolled", "unroll_steps": 2}, {"estimator": "unrolled", "unroll_steps": 2}),
        ({"normalisation": "batch", "anchor": 0.5}, {"normalisation": "batch"}),
        ({"mixing": "none", "mixup_alpha": 0.2}, {"mixing": "none"}),
        ({"method": "uniform", "mixing": None, "gradient_rule": "none", "meta_loss": "loss", "meta_batch_size": 9},
         {"method": "uniform", "mixing": None, "gradient_rule": "none"}),
        ({"method": "uniform", "mixing": None, "gradient_rule": "pcgrad", "meta_loss": "loss", "meta_batch_size": 9},
         {"method": "uniform", "mixing": None, "gradient_rule": "pcgrad", "meta_loss": "loss", "meta_batch_size": 9}),
        ({"method": "uniform", "mixing": "mentormix", "meta_loss": "loss"},
         {"method": "uniform", "mixing": "mentormix", "meta_loss": "loss"}),
        ({"optimizer": "adam", "momentum": 0.0, "nesterov": False}, {"optimizer": "adam"}),
        ({"meta_holdout": 0.0, "mentor_patience": 3}, {"meta_holdout": 0.0}),
        ({"method": "mentornet", "mentor_params": "a.npz"}, {"method": "mentornet"}),
        ({"method": "mentornet-pd", "mentor_params": "a.npz", "anchor": 0.5},
         {"method": "mentornet-pd", "mentor_params": "a.npz"}),
        ({"method": "uniform", "example_dropout": "", "normalisation": "batch"},
         {"method": "uniform", "example_dropout": ""}),
        ({"method": "uniform", "example_dropout": "0.2:1", "normalisation": "batch"},
         {"method": "uniform", "example_dropout": "0.2:1", "normalisation": "batch"}),
        ({"seed": 3, "data": "digits", "workers": 0}, {"seed": 3, "data": "digits", "workers": 0}),
    ],
)  # fmt: skip
def test_what_stays_of_a_table(table: Table, expected: Table) -> None:
    assert settled(table) == expected


@pytest.mark.parametrize(
    ("features", "seen"),
    [
        (("loss",), {}),
        (("loss", "history"), {}),
        (("label",), {"mentor_features": ("loss", "loss_difference", "label")}),
        (("history", "label", "loss"), {"mentor_features": ("loss", "loss_difference", "label")}),
    ],
)
def test_of_the_features_a_mentornet_reads_the_label_alone(features: tuple[str, ...], seen: Table) -> None:
    assert settled({"mentor": "mentornet", "mentor_features": features}) == {"mentor": "mentornet", **seen}


def test_a_reason_is_given() -> None:
    assert reason_against("anchor", {"method": "uniform", "anchor": 0.5}) == "the method has no mentor that learns"
    assert reason_against("anchor", {"normalisation": "sum", "anchor": 0.5}) is None


# Any table


@given(TABLES)
def test_settling_twice_is_settling_once(table: Table) -> None:
    assert settled(settled(table)) == settled(table)


@given(TABLES)
def test_what_stays_has_the_value_that_it_had(table: Table) -> None:
    found = settled(table)
    features_are_read_in_part = found.get("mentor") in ("mentornet", "lstm")
    for name, value in found.items():
        assert value == table[name] or (name == "mentor_features" and features_are_read_in_part)
    assert table.keys() - found.keys() - {"mentor_features"} == dropped(table) - {"mentor_features"}


@given(TABLES, st.fixed_dictionaries(ANY))
def test_tables_that_differ_in_what_means_nothing_settle_alike(table: Table, other: Table) -> None:
    changed = {**table, **{name: other[name] for name in dropped(table)}}
    assert settled(changed) == settled(table)


@given(TABLES, ANY["mentor_features"], ANY["mentor_features"])
def test_mentornets_that_see_the_same_settle_alike(table: Table, one: tuple[str, ...], other: tuple[str, ...]) -> None:
    tables = [{**table, "mentor": "mentornet", "mentor_features": features} for features in (one, other)]
    assert (settled(tables[0]) == settled(tables[1])) == (
        ("label" in one) == ("label" in other) or table.get("method", "mentornet") not in ("mentornet", "mentornet-dd")
    )


@given(st.fixed_dictionaries(ANY))
def test_a_run_that_is_valid_stays_valid(table: Table) -> None:
    table = {**table, "unroll_steps": 1}  # the one value that goes with every estimator
    if table["meta_holdout"] == 0:
        table["mentor_patience"] = 0
    TrainConfig.from_flat(table)
    TrainConfig.from_flat(settled(table))


@given(TABLES)
def test_what_a_table_lacks_drops_nothing(table: Table) -> None:
    deciding = {name for rule in RULES for name in rule.where}
    unknown = {name: value for name, value in table.items() if name not in deciding}
    assert settled(unknown) == unknown


# By training

SMALL: Table = {
    "learning_rate": 0.02,
    "mentor_hidden": (8,),
    "mentor_learning_rate": 0.025,
    "update_interval": 2,
    "meta_batch_size": 20,
    "burn_in": 0.0,
}


def trained(table: Table, splits: Splits, folder: Path, name: str) -> dict[str, Tensor]:
    """The student after a few epochs, in this process."""
    config = TrainConfig.from_flat({**SMALL, **table})
    trainer = trainer_for(
        splits,
        folder,
        name,
        mentor=config.mentor,
        curriculum=config.curriculum,
        optimizer=functools.partial(make_optimizer, config=config.student),
        epochs=4,
        checkpoint_steps=0,
    )
    return trainer.fit().student_state


def differ(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return any(not torch.equal(one[name], other[name]) for name in one)


SEES_THE_LOSS: Table = {"mentor_features": ("loss",)}
MIXES: Table = {
    "meta_from": "trusted",
    "mixing": None,
    "learning_rate": 0.3,
    "meta_holdout": 0.1,
}  # at which the student memorises


@pytest.mark.long
@pytest.mark.parametrize(
    ("changed", "nothing", "something"),
    [
        ({"mentor_hidden": (4, 4)}, {"mentor": "mentornet"}, {"mentor": "mlp"}),
        ({"mentor_embedding": (3, 4)}, {"mentor": "mlp"}, {"mentor": "mentornet"}),
        ({"anchor": 0.5}, {"normalisation": "batch"}, {"normalisation": "sum"}),
        ({"mixup_alpha": 0.2}, {"mixing": "none"}, {"mixing": "mixup"}),
        ({"mixup_alpha": 0.2}, {**MIXES, "method": "uniform"}, {**MIXES, "method": "mentornet"}),
        ({"mixup_alpha": 0.2}, {**MIXES, "meta_in_training": 0.0}, {**MIXES, "meta_in_training": 1.0}),
        ({"mixup_alpha": 0.2}, {**MIXES, "meta_holdout": 0.0}, {**MIXES, "meta_holdout": 0.1}),
        ({"burn_in": 0.6}, {"method": "uniform"}, {"method": "self-paced"}),
        ({"entropy": 3.0, "update_interval": 3}, {"method": "self-paced"}, {"method": "mentornet"}),
        ({"loss_percentile": 0.3}, {"method": "mentornet", "mentor": "mlp", **SEES_THE_LOSS}, {"method": "mentornet"}),
        ({"normalisation": "batch"}, {"method": "uniform", "example_dropout": ""},
         {"method": "uniform", "example_dropout": "0.5:1"}),
        ({"forget_rate": 0.6, "forget_epochs": 0.0}, {"method": "self-paced"}, {"method": "co-teaching"}),
        ({"normalisation": "batch"}, {"method": "dividemix"}, {"method": "self-paced"}),
        ({"unlabelled_weight": 5.0}, {"method": "self-paced"}, {"method": "dividemix"}),
        ({"taught_at": (0.5,)}, {"method": "self-paced"}, {"method": "mentornet-dd"}),
        ({"mentor_hidden": (4, 4)}, {"method": "self-paced"}, {"method": "mentornet-dd"}),
        ({"initial_sample_weight": 0.4}, {"method": "mentornet-dd"}, {"method": "mentornet"}),
        ({"momentum": 0.5}, {"optimizer": "adamw"}, {"optimizer": "sgd"}),
        ({"history_length": 3}, {**SEES_THE_LOSS, "mentor": "mlp", "history_length": 1},
         {"mentor_features": ("loss", "history"), "history_length": 1}),
        ({"history_length": 3}, {"mentor": "mentornet", "history_length": 1}, {"mentor": "lstm", "history_length": 1}),
        ({"loss_percentile": 0.3}, {"method": "mentornet", "mentor": "cmw"}, {"method": "mentornet", "mentor": "lstm",
          "history_length": 1}),
    ],
)  # fmt: skip
def test_a_setting_that_means_nothing_changes_no_bit(
    changed: Table, nothing: Table, something: Table, small_splits: Splits, tmp_path: Path
) -> None:
    assert dropped({**nothing, **changed}) >= set(changed)
    assert not dropped({**something, **changed}) & set(changed)
    run = functools.partial(trained, splits=small_splits, folder=tmp_path)
    assert_same_bits(run({**nothing, **changed}, name="changed"), run(nothing, name="plain"))
    assert differ(run({**something, **changed}, name="changed, where it counts"), run(something, name="counts"))


def valid(draw: random.Random) -> Table:
    """A run of any settings whose combination is one."""
    table = {name: draw.choice(values) for name, values in VALUES.items()}
    if table["estimator"] != "unrolled":
        table["unroll_steps"] = 1
    if table["meta_holdout"] == 0:
        table["mentor_patience"] = 0
    if table["meta_holdout"] == 0 or table["meta_in_training"] == 0:  # mixing by weight is refused then
        table["mixing"] = {"mentormix": "mixup"}.get(table["mixing"], table["mixing"])
    if table["mentor"] == "mentornet" and "history" in table["mentor_features"]:  # refused, and not settled
        table["mentor_features"] = ("label",)
    return table


@pytest.mark.long
@pytest.mark.parametrize(("seed", "method"), list(enumerate(["mentornet"] * 5 + ["self-paced", "uniform", "oracle"])))
def test_a_settled_run_trains_the_same_student(seed: int, method: str, small_splits: Splits, tmp_path: Path) -> None:
    table = {**valid(random.Random(seed)), "method": method}
    assert dropped(table)
    found, expected = (trained(each, small_splits, tmp_path, name) for each, name in
                       ((settled(table), "settled"), (table, "as drawn")))  # fmt: skip
    assert_same_bits(found, expected)
