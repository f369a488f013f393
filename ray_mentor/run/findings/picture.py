"""A picture of a finished run: how good its student was, how far labels were believed, and at what loss."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

_ACCURACIES = {
    "test_accuracy": "test accuracy",
    "trusted_accuracy": "on held-out trusted samples",
    "test_agreement": "agreement with given labels (test)",
    "validation_agreement": "agreement with given labels",
}
_RIGHT, _WRONG, _ALL = "#1a7f5a", "#c2410c", "#2563c9"
_MOST_DOTS = 20_000


def picture(metrics: Sequence[Mapping[str, float | None]], ledger: pa.Table) -> Figure:
    """Accuracies and mean sample weights over the epochs, and the last epoch's weights against losses.

    Right and wrong labels are told apart where the truth is known.

    Args:
        metrics: a row an epoch.
        ledger: of the run, with at least one row.
    """
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    first, second, third = figure.subplots(1, 3)
    for name, says in _ACCURACIES.items():
        values = [row.get(name) for row in metrics]
        if any(value is not None for value in values):
            first.plot(range(1, len(values) + 1), [np.nan if value is None else value for value in values], label=says)
    epoch, weight = ledger["epoch"].to_numpy() + 1, ledger["scored_weight"].to_numpy()
    loss, last = ledger["loss"].to_numpy(), epoch == epoch.max()
    for rows, says, colour in _groups(ledger):
        epochs = np.unique(epoch[rows])
        second.plot(epochs, [weight[rows & (epoch == one)].mean() for one in epochs], color=colour, label=says)
        dots = np.flatnonzero(rows & last)[:_MOST_DOTS]
        third.scatter(loss[dots], weight[dots], s=8, alpha=0.5, color=colour, linewidths=0)
    first.set(xlabel="epoch", ylim=(0, 1.02), title="how good the student is")
    second.set(xlabel="epoch", ylabel="mean sample weight", ylim=(0, 1.02), title="how far labels are believed")
    third.set(xlabel="loss (nats)", ylabel="sample weight", ylim=(-0.02, 1.02), title="last epoch, a dot per sample")
    for axes in (first, second):
        if axes.lines:  # nothing is measured of a run without a test split and held-out samples
            axes.legend(frameon=False)
    shown: Any = figure
    shown._repr_png_ = functools.partial(_png, figure)  # a notebook shows it without being told to
    return figure


def _groups(ledger: pa.Table) -> list[tuple[Any, str, str]]:
    """Which rows are drawn together, as what, and in which colour."""
    given, known = ledger["given_label"].to_numpy(), ledger["true_label"].is_valid().to_numpy()
    true = ledger["true_label"].fill_null(0).to_numpy()
    if not known.any():
        return [(np.ones(len(given), bool), "all samples", _ALL)]
    return [(known & (given == true), "right labels", _RIGHT), (known & (given != true), "wrong labels", _WRONG)]


def _png(figure: Figure) -> bytes:
    held = io.BytesIO()
    figure.savefig(held, dpi=100)
    return held.getvalue()
