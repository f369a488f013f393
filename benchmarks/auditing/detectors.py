"""Published ways to rank labels by what a ledger says of their samples: a number each, the higher the more suspect."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Scores = NDArray[np.float64]


def _last_loss(ledger: pd.DataFrame) -> pd.Series:
    return ledger.sort_values("epoch").groupby("sample_id")["loss"].last()


def _mean_loss(ledger: pd.DataFrame) -> pd.Series:
    return ledger.groupby("sample_id")["loss"].mean()


def _area_under_margin(ledger: pd.DataFrame) -> pd.Series:
    return -ledger.groupby("sample_id")["margin"].mean()


def _wrong_predictions(ledger: pd.DataFrame) -> pd.Series:
    wrong = ledger["predicted_label"] != ledger["given_label"]
    return wrong.groupby(ledger["sample_id"]).sum()


def _forgetting(ledger: pd.DataFrame) -> pd.Series:
    """Times that a right prediction is followed by a wrong one; never learnt: 1000, as published."""
    right = (ledger["predicted_label"] == ledger["given_label"]).to_numpy()
    table = ledger.assign(right=right).pivot_table(index="sample_id", columns="epoch", values="right")
    events = (table.diff(axis=1) < 0).sum(axis=1)
    return events.where(table.any(axis=1), 1000)


DETECTORS: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "last loss": _last_loss,
    "mean loss": _mean_loss,
    "AUM": _area_under_margin,
    "wrong predictions": _wrong_predictions,
    "forgetting": _forgetting,
}
"""By name."""


def missed(wrong: NDArray[np.bool_], scores: Scores) -> float:
    """The share of wrong labels that is not among as many first ones as there are wrong; ties in the order given."""
    first = np.argsort(-scores, kind="stable")[: wrong.sum()]
    return 1 - float(wrong[first].mean())
