"""Which settings an objective depends on: known dependences are found again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest

from ray_mentor.report.sweep.importance import importances

pytestmark = pytest.mark.long  # forests

N = 64


def table(objective: Any, **settings: Any) -> pd.DataFrame:
    columns = {f"setting.{name}": pd.Series(list(values), dtype=object) for name, values in settings.items()}
    return pd.DataFrame({"objective": objective, **columns})


def draws(seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {
        "rate": 10 ** random.uniform(-4, 0, N),
        "share": random.uniform(0, 1, N),
        "interval": random.integers(1, 11, N),
        "kind": random.choice(["a", "b", "c"], N),
        "flag": random.random(N) < 0.5,
    }


EFFECTS = {
    "rate": lambda values: np.log(values),
    "share": lambda values: values,
    "interval": lambda values: values.astype(float),
    "kind": lambda values: (values == "b").astype(float),
    "flag": lambda values: values.astype(float),
}


@pytest.mark.parametrize("name", list(EFFECTS))
def test_the_only_setting_that_counts_has_nearly_all_importance(name: str) -> None:
    settings = draws()
    found = importances(table(EFFECTS[name](settings[name]), **settings))
    assert found is not None
    assert next(iter(found)) == name, "the greatest comes first"
    assert found[name] > 0.95
    assert all(share < 0.02 for other, share in found.items() if other != name)


def test_additive_effects_have_their_shares_of_the_variance() -> None:
    """Var(2u) : Var(v) is 4 : 1 for two uniform settings."""
    settings = {"u": draws(1)["share"], "v": draws(2)["share"]}
    found = importances(table(2 * settings["u"] + settings["v"], **settings))
    assert found is not None
    assert found["u"] == pytest.approx(0.8, abs=0.08)
    assert found["v"] == pytest.approx(0.2, abs=0.08)


def test_a_setting_that_was_searched_by_its_logarithm_counts_by_it() -> None:
    """Both have the same effect over their ranges; by its size, most of the rate's range would be its last decade."""
    settings = {"rate": draws()["rate"], "share": draws(1)["share"]}
    found = importances(table(np.log10(settings["rate"]) / 4 + settings["share"], **settings))
    assert found is not None
    assert found["rate"] == pytest.approx(found["share"], abs=0.2)


def test_what_only_two_settings_together_decide_is_no_share_of_either() -> None:
    settings = {"u": draws(1)["flag"], "v": draws(2)["flag"]}
    found = importances(table((settings["u"] ^ settings["v"]).astype(float), **settings))
    assert found is not None
    assert sum(found.values()) < 0.3, "of finitely many trials, a little"


def test_noise_is_no_setting() -> None:
    settings = draws()
    noisy = settings["share"] + np.random.default_rng(9).normal(0, 0.02, N)
    found = importances(table(noisy, **settings))
    assert found is not None
    assert found["share"] > 0.9


def test_the_objectives_unit_does_not_matter() -> None:
    settings = draws()
    found = importances(table(settings["share"] * 1e-9, **settings))
    assert found is not None
    assert found["share"] > 0.95


def test_a_setting_that_is_meaningless_in_some_trials() -> None:
    """It decides where it means something; where it does not, the trials still say what the others do."""
    settings = draws()
    learned = settings["flag"]
    given = [float(value) if means else None for value, means in zip(settings["share"], learned, strict=True)]
    objective = np.where(learned, settings["share"], 0.5)
    found = importances(table(objective, given=given, kind=settings["kind"]))
    assert found is not None
    assert found["given"] > 0.9


def test_none_among_few_numbers_is_a_kind_of_its_own() -> None:
    given = [[None, 1, 2][number % 3] for number in range(30)]
    found = importances(table([float(value is None) for value in given], given=given, other=list(range(30))))
    assert found is not None
    assert found["given"] > 0.95


def test_trials_without_an_objective_do_not_count() -> None:
    settings = draws()
    objective = settings["share"].copy()
    objective[::3] = math.nan
    objective[1] = math.inf
    whole, part = table(objective, **settings), table(objective, **settings)
    assert importances(whole) == importances(part[np.isfinite(objective)])


def test_another_column_can_be_explained() -> None:
    settings = draws()
    found = importances(table(0.0, **settings).assign(accuracy=settings["share"]), objective="accuracy")
    assert found is not None
    assert found["share"] > 0.95


NAN = math.nan


@pytest.mark.parametrize(
    ("objective", "settings"),
    [
        ([], {"a": []}),
        ([0.1, 0.2, 0.3], {"a": [1, 2, 3]}),
        ([0.1, 0.2, 0.3, NAN], {"a": [1, 2, 3, 4]}),
        ([NAN] * 5, {"a": [1, 2, 3, 4, 5]}),
        ([0.5] * 5, {"a": [1, 2, 3, 4, 5]}),
        ([0.1, 0.2, 0.3, 0.4], {}),
        ([0.1, 0.2, 0.3, 0.4], {"a": [7, 7, 7, 7], "b": [None] * 4}),
        ([0.1, 0.2, 0.3, 0.4], {"a": [0.5, 0.5 + 1e-17, 0.5, 0.5]}),
    ],
)
def test_what_cannot_be_said_is_none(objective: list[float], settings: dict[str, Any]) -> None:
    assert importances(table(objective, **settings)) is None


def test_a_constant_setting_has_no_importance() -> None:
    found = importances(table(draws()["share"], share=draws()["share"], same=["x"] * N, nothing=[None] * N))
    assert found is not None
    assert (found["same"], found["nothing"]) == (0.0, 0.0)


def test_the_same_sweep_has_the_same_importances() -> None:
    settings = draws()
    noisy = settings["share"] + np.random.default_rng(1).normal(size=N)
    assert importances(table(noisy, **settings)) == importances(table(noisy, **settings))


def test_nothing_is_said_and_optuna_is_left_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    before = optuna.logging.get_verbosity()
    assert importances(table(draws()["share"], **draws())) is not None
    assert caplog.records == []
    assert optuna.logging.get_verbosity() == before
    optuna.create_study()
    assert "A new study created" in caplog.text, "what would have been said"
