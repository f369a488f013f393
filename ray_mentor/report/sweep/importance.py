"""Which settings the objective of a sweep depends on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator

from ray_mentor.report.amounts import is_amount, logarithmic
from ray_mentor.report.sweep.trials import setting_names, setting_values

_SEED = 0
_FEWEST = 4  # trials: fewer say nothing of several settings
_FEW = 6  # different numbers: with an empty place among them, these are kinds rather than amounts


def importances(trials: pd.DataFrame, objective: str = "objective") -> dict[str, float] | None:
    """Share of the objective's variance over the searched ranges that each setting explains alone, by fANOVA.

    The shares add up to at most 1; what is left is explained only by settings together. A trial that was stopped
    counts with its last value. A setting whose values spread by their logarithms counts by these.

    Args:
        trials: a row a trial, with a column ``setting.NAME`` for each setting.
        objective: the column to explain.

    Returns:
        Setting to share in [0, 1], greatest first. None where it can't be said: fewer than four trials with an
        objective, all objectives equal, or no setting that varies.
    """
    known = trials[np.isfinite(pd.to_numeric(trials[objective]))]
    values = [float(value) for value in known[objective]]
    if len(values) < _FEWEST or len(set(values)) == 1:
        return None
    columns = {name: _column(setting_values(known, name)) for name in setting_names(known)}
    if all(kind.single() for _, kind in columns.values()):
        return None
    with _quiet():
        study = _study(columns, _from_0_to_1(values))
        try:
            shares = FanovaImportanceEvaluator(seed=_SEED).evaluate(study)
        except RuntimeError:  # no tree found anything to split by: settings that differ by less than float32 tells
            return None
    return {name: float(share) for name, share in shares.items()}


Column = tuple[list[Any], BaseDistribution]
"""A setting's value in every trial, and the range that these came from."""


def _study(columns: dict[str, Column], values: Sequence[float]) -> optuna.Study:
    kinds = {name: kind for name, (_, kind) in columns.items()}
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={name: column[number] for name, (column, _) in columns.items()},
                distributions=kinds,
                value=value,
            )
            for number, value in enumerate(values)
        ]
    )
    return study


def _column(values: list[Any]) -> Column:
    there = [value for value in values if value is not None]
    if not all(is_amount(value) for value in there) or (len(there) < len(values) and len(set(there)) <= _FEW):
        return _kinds(values)
    middle = median(there)  # the most neutral value for trials in which the setting means nothing
    return _amounts([middle if value is None else value for value in values])


def _kinds(values: list[Any]) -> Column:
    words = [repr(value) for value in values]
    return words, CategoricalDistribution(sorted(set(words)))


def _amounts(values: list[int | float]) -> Column:
    low, high = min(values), max(values)
    if low == high:
        return [0.0] * len(values), FloatDistribution(0.0, 0.0)
    if logarithmic(values):  # Optuna's fANOVA ignores log=True: the logarithms themselves are handed over
        return _from_0_to_1([math.log(value) for value in values]), FloatDistribution(0.0, 1.0)
    if all(isinstance(value, int) for value in values):
        return values, IntDistribution(int(low), int(high))
    return _from_0_to_1(values), FloatDistribution(0.0, 1.0)


def _from_0_to_1(values: Sequence[float]) -> list[float]:
    """A forest takes differences below 1e-8 for none."""
    low, high = min(values), max(values)
    return [(value - low) / (high - low) for value in values]


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna reports every study that is made."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
