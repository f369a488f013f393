"""A weighting as a rule: a table of sample weights over the loss, in a file that a person can read; NumPy alone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ray_mentor.errors import UserError, shown

RULE_FILE = "rule.json"
"""In the folder of the run that it was made of, unless another place is said."""

AXES = ("quantile", "loss", "loss_difference")
"""What a weight can depend on: the share of the batch's losses below, (rank − ½)/n, ties at their mean; the loss; the
loss above its running percentile."""

LEAST = 1e-9
"""The smallest weight of a table, and what the largest is below 1: weights are interpolated in their logits."""

MOST_VALUES = 10_000
"""Numbers that a table of a file may hold."""

_WHAT, _VERSION, _MOST_BYTES = "ray_mentor rule", 1, 1 << 20


@dataclass(frozen=True)
class Rule:
    """w = σ(z(x, progress) + b_class): z linear between the table's points, constant beyond them.

    Attributes:
        weigh_by: x, one of :data:`AXES`.
        at: (K,) where the table has weights, rising.
        weights: (T, K) in (0, 1), a row for each of ``progress``; one row where that is empty.
        progress: (T,) in [0, 1], rising; empty: a weight does not depend on it.
        class_shift: (C,) what is added to the logit of a sample of each given label; empty: nothing.
        in_nats: whether the losses are a cross-entropy's, and not in units of their own.
        made_from: what a person may want to know; nothing is read of it.
    """

    weigh_by: str
    at: NDArray[np.float64]
    weights: NDArray[np.float64]
    progress: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    class_shift: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    in_nats: bool = True
    made_from: Mapping[str, Any] = field(default_factory=dict)

    def __call__(
        self,
        losses: ArrayLike,
        *,
        progress: ArrayLike = 0.0,
        loss_differences: ArrayLike | None = None,
        labels: ArrayLike | None = None,
    ) -> NDArray[np.float64]:
        """The sample weights of a batch.

        Args:
            losses: (n,), of all samples of a batch whose labels are in doubt.
            progress: share of training done, in [0, 1): one number, or one a sample.
            loss_differences: (n,) above the running percentile; needed by a rule that weighs by it.
            labels: (n,) given labels, 0..C−1; needed by a rule with a class table.

        Returns:
            (n,) in (0, 1).

        Raises:
            UserError: what is needed was not given, or a label beyond the table.
        """
        loss = np.asarray(losses, dtype=np.float64)
        logits = self._logits(self._place(loss, loss_differences), np.broadcast_to(progress, loss.shape))
        if len(self.class_shift):
            logits = logits + self._shift(labels)
        weights: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(logits, -700, 700)))
        return weights

    @property
    def says(self) -> str:
        """What the weight depends on, in words."""
        what = {"quantile": "loss quantile in its batch", "loss": "loss", "loss_difference": "loss difference"}
        more = [" and progress"] if len(self.progress) else []
        return what[self.weigh_by] + "".join(more) + (", and given class" if len(self.class_shift) else "")

    def _place(self, loss: NDArray[np.float64], difference: ArrayLike | None) -> NDArray[np.float64]:
        if self.weigh_by == "loss":
            return loss
        if self.weigh_by == "quantile":
            return quantiles(loss)
        if difference is None:
            raise UserError(
                "loss_differences is None, but this rule weighs by them; give losses - q, q being the running "
                "percentile of the batches' losses: q = 0.9 * q + 0.1 * np.quantile(losses, 0.6), at first the latter"
            )
        return np.asarray(difference, dtype=np.float64)

    def _logits(self, x: NDArray[np.float64], progress: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = [np.interp(x, self.at, logit(row)) for row in self.weights]
        if len(rows) == 1:
            return rows[0]
        place = np.interp(progress, self.progress, np.arange(len(rows)))
        below = np.minimum(place.astype(np.int64), len(rows) - 2)
        table, each = np.stack(rows), np.arange(len(x))
        share = place - below
        mixed: NDArray[np.float64] = table[below, each] * (1 - share) + table[below + 1, each] * share
        return mixed

    def _shift(self, labels: ArrayLike | None) -> NDArray[np.float64]:
        if labels is None:
            raise UserError("labels is None, but this rule has a class table; give each sample's given label")
        given = np.asarray(labels).astype(np.int64)
        if len(given) and not (given.min() >= 0 and given.max() < len(self.class_shift)):
            raise UserError(
                f"labels hold {shown(int(given.max()))}, but this rule knows classes 0 to {len(self.class_shift) - 1}; "
                "give it data of the classes that it was made for"
            )
        return self.class_shift[given]

    def text(self) -> str:
        """As a file has it: JSON, a line a field."""
        table = {
            "what": _WHAT,
            "version": _VERSION,
            "made_from": dict(self.made_from),
            "weigh_by": self.weigh_by,
            "in_nats": self.in_nats,
            "at": _rounded(self.at),
            "progress": _rounded(self.progress),
            "weights": [_rounded_within(row) for row in self.weights],
            "class_shift": _rounded(self.class_shift),
        }
        return "{\n" + ",\n".join(f"  {json.dumps(name)}: {json.dumps(each)}" for name, each in table.items()) + "\n}\n"

    @staticmethod
    def read(path: str | Path) -> Rule:
        """The rule of a file; it is data, and nothing in it is executed.

        Raises:
            UserError: no such file, or anything but a rule.
        """
        file = Path(path)
        if not os.path.isfile(file):  # which a name that is too long is not
            raise UserError(f"the rule {shown(str(path))} is no file; give one that ray-mentor distill wrote")
        try:
            with file.open("rb") as opened:
                content = opened.read(_MOST_BYTES + 1)
        except OSError as error:
            raise _none(str(file), error) from error
        return Rule.of(content, str(file))

    @staticmethod
    def of(content: bytes, name: str) -> Rule:
        """The rule that a file holds, wherever it lies; nothing in it is executed.

        Args:
            name: of the file, for whoever reads the error.

        Raises:
            UserError: anything but a rule.
        """
        try:
            if len(content) > _MOST_BYTES:
                raise ValueError(f"it is larger than {_MOST_BYTES >> 20} MiB")
            return _made(json.loads(content))
        except Exception as error:  # whatever a file that is none trips over, as [[[[... a RecursionError
            raise _none(name, error) from error


def _none(name: str, error: Exception) -> UserError:
    return UserError(
        f"{name} is no rule ({type(error).__name__}: {shown(str(error))}); give a file that ray-mentor distill wrote"
    )


def quantiles(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """(rank − ½)/n, ranks from 1, those of equal losses at their mean: ½ of a batch of one."""
    _, place, counts = np.unique(losses, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    found: NDArray[np.float64] = middle[place] / max(1, len(losses))
    return found


def logit(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log w/(1 − w), of weights within (0, 1)."""
    kept = np.clip(weights, LEAST, 1 - LEAST)
    found: NDArray[np.float64] = np.log(kept) - np.log1p(-kept)
    return found


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def _rounded_within(weights: NDArray[np.float64]) -> list[float]:
    """To six digits of what a weight is above 0, or below 1, whichever is less: of one near 1 the logit says that."""
    kept = np.clip(weights, LEAST, 1 - LEAST)
    places = 5 - np.floor(np.log10(np.minimum(kept, 1 - kept))).astype(np.int64)
    return [round(value, place) for value, place in zip(kept.tolist(), places.tolist(), strict=True)]


def _made(table: Any) -> Rule:
    """Raises a ValueError or KeyError where it is no rule."""
    if not isinstance(table, dict) or table.get("what") != _WHAT:
        raise ValueError(f"it does not say that it is a {_WHAT}")
    if table["version"] != _VERSION:
        raise ValueError(f"its version is {shown(table['version'])}, and this is {_VERSION}")
    if table["weigh_by"] not in AXES or not isinstance(table["in_nats"], bool):
        raise ValueError(f"it weighs by {shown(table['weigh_by'])}")
    at, progress, shift = (_numbers(table[name], 1) for name in ("at", "progress", "class_shift"))
    weights = _numbers(table["weights"], 2)
    if not len(at) or weights.shape != (max(1, len(progress)), len(at)):
        raise ValueError(f"{weights.shape} weights are not one for each of {len(progress)} by {len(at)} points")
    if len(progress) == 1 or (np.diff(at) <= 0).any() or (np.diff(progress) <= 0).any():
        raise ValueError("its points don't rise")
    if not ((weights > 0) & (weights < 1)).all() or not ((progress >= 0) & (progress <= 1)).all():
        raise ValueError("a weight lies outside (0, 1), or progress outside [0, 1]")
    made_from = table.get("made_from", {})
    if not isinstance(made_from, dict):
        raise ValueError("made_from is no table")
    return Rule(table["weigh_by"], at, weights, progress, shift, table["in_nats"], made_from)


def _numbers(values: Any, dimensions: int) -> NDArray[np.float64]:
    rows = values if dimensions == 2 else [values]
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise ValueError("a table of numbers is something else")
    flat = [value for row in rows for value in row]
    if len(flat) > MOST_VALUES or not all(type(value) in (int, float) for value in flat):
        raise ValueError(f"a table holds something else than {MOST_VALUES:,} numbers at most")
    found = np.array(values, dtype=np.float64)
    if not np.isfinite(found).all() or found.ndim != dimensions:
        raise ValueError("a number is not finite, or rows differ in length")
    return found
