"""How a trained student does on labelled data that are right: accuracy, class by class, and how far it is to be trusted
when it says how sure it is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_mentor.errors import UserError
from ray_mentor.run.accuracy import wilson
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.class_figures import MOST
from ray_mentor.run.trained.about import as_lines
from ray_mentor.run.trained.predictions import LABEL, PROBABILITY, ROW

EVALUATION = "evaluation.json"
"""In the run's folder: the newest evaluation."""

BINS = 15
_MOST_BYTES = 2**26


class Evaluation:
    """Counts that are taken as predictions pass.

    With n samples, p̂_i the probability of the class that is said, and B_m the samples with p̂_i in ((m−1)/15, m/15]:

        ECE = Σ_m |B_m|/n · |acc(B_m) − mean p̂ of B_m|

    (Guo et al., On calibration of modern neural networks, ICML 2017).

    Args:
        classes: in order.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        count = len(classes)
        self._of_label, self._said, self._right = (np.zeros(count, np.int64) for _ in range(3))
        self._confusion = np.zeros((count, count), np.int64) if count <= MOST else None
        self._bin_counts, self._bin_right = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
        self._bin_sums = np.zeros(BINS)

    def take(self, labels: NDArray[np.int64], table: pa.Table) -> None:
        """Takes in predictions of some of the samples, all of which have these labels."""
        of_rows = labels[table[ROW].to_numpy()]
        self._add(of_rows, table[LABEL].to_numpy(), table[PROBABILITY].to_numpy().astype(np.float64))

    def _add(self, labels: NDArray[np.int64], said: NDArray[Any], sure: NDArray[np.float64]) -> None:
        count, hit = len(self._classes), labels == said
        self._of_label += np.bincount(labels, minlength=count)
        self._said += np.bincount(said, minlength=count)
        self._right += np.bincount(labels[hit], minlength=count)
        if self._confusion is not None:
            pairs = np.bincount(labels * count + said, minlength=count**2)
            self._confusion += pairs.reshape(count, count)
        bins = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)
        self._bin_counts += np.bincount(bins, minlength=BINS)
        self._bin_right += np.bincount(bins[hit], minlength=BINS)
        self._bin_sums += np.bincount(bins, sure, minlength=BINS)

    def figures(self) -> dict[str, Any]:
        """What ``evaluation.json`` holds of them: shares, intervals of 95 % by Wilson, counts."""
        total = int(self._of_label.sum())
        there = self._of_label > 0
        of_each = self._right[there] / self._of_label[there]
        filled = self._bin_counts > 0
        gaps = np.abs(self._bin_right[filled] - self._bin_sums[filled])
        return {
            **self.overall(),
            "balanced_accuracy": float(of_each.mean()),
            "calibration_error": float(gaps.sum() / total),
            "mean_probability": float(self._bin_sums.sum() / total),
            "classes": [self._of_class(place, name) for place, name in enumerate(self._classes)],
            "confusion": None if self._confusion is None else self._confusion.tolist(),
            "calibration": [
                {
                    "above": m / BINS,
                    "to": (m + 1) / BINS,
                    "samples": int(self._bin_counts[m]),
                    "accuracy": self._bin_right[m] / self._bin_counts[m] if filled[m] else None,
                    "mean_probability": self._bin_sums[m] / self._bin_counts[m] if filled[m] else None,
                }
                for m in range(BINS)
            ],
        }

    def overall(self) -> dict[str, Any]:
        """Of all classes together: how many samples, at least one, and how often it is right."""
        total, right = int(self._of_label.sum()), int(self._right.sum())
        return {"samples": total, "accuracy": right / total, "interval": list(wilson(right, total))}

    def _of_class(self, place: int, name: str) -> dict[str, Any]:
        count, right, said = (int(each[place]) for each in (self._of_label, self._right, self._said))
        return {
            "class": name,
            "samples": count,
            "accuracy": right / count if count else None,
            "interval": list(wilson(right, count)) if count else None,
            "said": said,
            "precision": right / said if said else None,
        }


@dataclass(frozen=True)
class Evaluated:
    """What a run's folder says of an evaluation.

    Attributes:
        figures: see :meth:`Evaluation.figures`; and ``data``, ``student`` (its file), ``epoch``, ``warning``,
            ``left_out`` (images that can't be decoded), ``trained_on`` (samples that the run was trained on; None:
            nobody knows), ``others`` (those that it wasn't, where there are both).
    """

    figures: dict[str, Any]

    def write(self, directory: RunDirectory) -> None:
        """In place of an earlier one."""
        directory.write(EVALUATION, as_lines(self.figures))

    @staticmethod
    def read(directory: RunDirectory) -> Evaluated | None:
        """None where nobody evaluated.

        Raises:
            UserError: a file that can't be read.
        """
        written = directory.read(EVALUATION, at_most=_MOST_BYTES)
        if written is None:
            return None
        try:
            figures = json.loads(written)
            _check(figures)
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            said = f"{type(error).__name__}: {error}"[:200]
            raise UserError(
                f"{directory.path}/{EVALUATION} cannot be read ({said}); remove it, or put it back"
            ) from error
        return Evaluated(figures)


def _check(figures: Any) -> None:
    """Raises whatever fits, unless a page can be made of it."""
    classes, rows = figures["classes"], figures["confusion"]
    if rows is not None and [len(row) for row in rows] != [len(classes)] * len(classes):
        raise ValueError("a confusion of other classes")
    low, high = figures["interval"]
    numbers = [
        *(figures[name] for name in ("samples", "accuracy", "balanced_accuracy", "calibration_error")),
        low,
        high,
    ]
    for names, parts in ((("samples", "said"), classes), (("above", "to", "samples"), figures["calibration"])):
        numbers += [each[name] for each in parts for name in names]
    for names, parts in (
        (("accuracy", "precision"), classes),
        (("accuracy", "mean_probability"), figures["calibration"]),
    ):
        numbers += [each[name] for each in parts for name in names if each[name] is not None]
    numbers += [count for row in rows or () for count in row]
    numbers += [count for name in ("left_out", "trained_on") if (count := figures.get(name)) is not None]
    if (others := figures.get("others")) is not None:
        low, high = others["interval"]
        numbers += [others["samples"], others["accuracy"], low, high]
    if not all(type(each) in (int, float) and 0 <= each < _LARGE for each in numbers):
        raise ValueError("a figure that is no number")
    if any(not isinstance(text, str) for text in (figures["data"], *(each["class"] for each in classes))):
        raise ValueError("a name that is no text")


_LARGE = 1e15
