"""What became of each class: how often the student is right on it, and what its samples weighed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.names import class_names, table_in
from ray_mentor.run.findings.predictions import PREDICTIONS
from ray_mentor.run.ledger.files import ledger_parts

MOST = 100
"""Classes that are told of one by one."""

_RARE, _UNEVEN = 0.1, 0.5  # of the training samples; of an equal share
_MANY, _FEW = 100, 20  # training samples of a class, above and below (Liu et al. 2019)

OF_SIZES = ("many", "medium", "few")
"""Classes of above 100, 20 to 100 and below 20 training samples."""


def class_figures(directory: RunDirectory, epoch: int) -> dict[str, Any]:
    """For ``result.json``; from the predictions on the test split, and the ledger's rows of an epoch.

    Returns:
        ``test_balanced_accuracy``: mean accuracy over the classes that the test split has; ``test_macro_f1``: mean F1,
        2·TP / (2·TP + FP + FN), over the classes that it has or the student says; ``test_many_accuracy``,
        ``test_medium_accuracy``, ``test_few_accuracy``: mean accuracy over the classes of above 100, 20 to 100 and
        below 20 training samples, by true label where that is known; ``test_worst_class_accuracy`` and
        ``test_worst_class``, its name; ``class_ratio``: the size of the largest class over that of the smallest;
        ``test_confusion``: counts, a row a label, a column a predicted class, None above 100 classes; ``classes``: of
        each, the rarest first and 100 at most, its name, its share of the training samples by given label, whether it
        is rare (below a tenth of them, below half of an equal share, and not absent), its mean sample weight in that
        epoch, the accuracy on the test split (its recall), and the precision there (of what is called so, the share
        that is of it); ``mean_sample_weight_elsewhere``: of the samples of all classes that are not rare. Each is None
        where it is not known.
    """
    names = class_names(directory)
    assert names is not None
    shares, weights, sizes = _of_training(directory, epoch, len(names))
    figures, accuracies, precisions = _of_predictions(directory, len(names))
    figures |= _of_sizes(sizes, accuracies, names)
    is_rare = (shares > 0) & (shares < min(_RARE, _UNEVEN / len(names)))
    rarest = np.argsort(shares, kind="stable")[:MOST]
    classes = [
        {
            "class": names[label],
            "training_share": float(shares[label]),
            "is_rare": bool(is_rare[label]),
            "mean_sample_weight": _known(weights[label]),
            "test_accuracy": _known(accuracies[label]),
            "test_precision": _known(precisions[label]),
        }
        for label in rarest.tolist()
    ]
    others = ~is_rare & ~np.isnan(weights)
    elsewhere = float(np.average(weights[others], weights=shares[others])) if others.any() else None
    return {**figures, "classes": classes, "mean_sample_weight_elsewhere": elsewhere}


def _of_training(
    directory: RunDirectory, epoch: int, count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Share of the samples and mean sample weight by given label, NaN where no sample is of the class; and samples by
    true label, where that is known; a class each.
    """
    counts, sums, sizes = np.zeros(count, np.int64), np.zeros(count), np.zeros(count, np.int64)
    for rows in ledger_parts(directory, epoch, ("given_label", "true_label", "sample_weight")):
        labels = rows["given_label"].to_numpy()
        truth = pc.fill_null(rows["true_label"], -1).to_numpy()
        sizes += np.bincount(np.where(truth < 0, labels, truth), minlength=count)
        counts += np.bincount(labels, minlength=count)
        sums += np.bincount(labels, rows["sample_weight"].to_numpy().astype(np.float64), minlength=count)
    with np.errstate(invalid="ignore"):
        return counts / counts.sum(), sums / counts, sizes


def _of_sizes(sizes: NDArray[np.int64], accuracies: NDArray[np.float64], names: Sequence[str]) -> dict[str, Any]:
    """Accuracy of classes by their numbers of training samples, and of the worst one."""
    known, there = ~np.isnan(accuracies), sizes > 0
    groups = dict(
        zip(OF_SIZES, (sizes > _MANY, (sizes >= _FEW) & (sizes <= _MANY), there & (sizes < _FEW)), strict=True)
    )
    worst = int(np.nanargmin(accuracies)) if known.any() else None
    return {
        **{f"test_{name}_accuracy": _mean(accuracies[of & known]) for name, of in groups.items()},
        "test_worst_class_accuracy": None if worst is None else float(accuracies[worst]),
        "test_worst_class": None if worst is None else names[worst],
        "class_ratio": float(sizes[there].max() / sizes[there].min()) if there.any() else None,
    }


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None


def _of_predictions(
    directory: RunDirectory, count: int
) -> tuple[dict[str, Any], NDArray[np.float64], NDArray[np.float64]]:
    """The figures of the whole test split; accuracy a class, NaN where it has no sample of it; and precision a class,
    NaN where nothing is called so.
    """
    table = table_in(directory, PREDICTIONS, {"label": pa.int64(), "predicted": pa.int64()})
    if table is None:
        names = ("test_balanced_accuracy", "test_macro_f1", "test_confusion")
        return dict.fromkeys(names), np.full(count, np.nan), np.full(count, np.nan)
    labels, predicted = table["label"].to_numpy(), table["predicted"].to_numpy()
    of_label = np.bincount(labels, minlength=count)
    said = np.bincount(predicted, minlength=count)  # more, where a student has more outputs than there are classes
    right = np.bincount(labels[labels == predicted], minlength=count)
    with np.errstate(invalid="ignore"):
        accuracies: NDArray[np.float64] = right / of_label
        precisions: NDArray[np.float64] = right / said[:count]
        scores = 2 * np.pad(right, (0, len(said) - count)) / (np.pad(of_label, (0, len(said) - count)) + said)
    confusion = None
    if len(said) <= MOST:
        counted = np.bincount(labels * len(said) + predicted, minlength=count * len(said))
        confusion = counted.reshape(count, len(said)).tolist()
    figures = {
        "test_balanced_accuracy": float(np.nanmean(accuracies)),
        "test_macro_f1": float(np.nanmean(scores)),
        "test_confusion": confusion,
    }
    return figures, accuracies, precisions


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
