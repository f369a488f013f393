"""What a call of the mentor actor must look like; the actor checks before it touches anything."""

from __future__ import annotations

from typing import Any

import numpy as np

from ray_mentor.config import MentorConfig
from ray_mentor.core.step.features import COLUMNS
from ray_mentor.errors import UserError, shown

_LABEL, _TRUSTED = 2, 4  # columns


class CallRules:
    """The shapes, types and ranges that a mentor of this make takes."""

    def __init__(self, config: MentorConfig, n_classes: int) -> None:
        self._columns = COLUMNS + config.history_length
        self._n_classes = n_classes
        self._sees_label = config.sees_label

    def check_score(self, version: object, features: object) -> None:
        """Raises a UserError that names value, rule and fix."""
        _check_count("version", version)
        self._check_features(features)

    def check_learn(self, version: object, update_id: object, features: object, influence: Any, keep: Any) -> None:
        """Raises a UserError that names value, rule and fix."""
        _check_count("version", version)
        _check_count("update_id", update_id)
        rows = self._check_features(features)
        _check_array("influence", influence, (rows,), "f")  # NaN and infinity stand for "not known"
        _check_array("keep", keep, (rows,), "b")

    def _check_features(self, features: Any) -> int:
        """Returns the number of rows."""
        rows = len(features) if isinstance(features, np.ndarray) and features.ndim else 0
        _check_array("features", features, (rows, self._columns), "f")
        if rows == 0:
            raise _refused("features", f"of shape {features.shape}", "it must have a row")
        with np.errstate(over="ignore"):  # becomes infinite
            finite = np.isfinite(features.astype(np.float32))
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            raise _refused(f"column {column} in row {row}", str(features[row, column]), "it must be finite in float32")
        if self._sees_label:
            _check_among("label", features[:, _LABEL], range(self._n_classes), f"one of 0..{self._n_classes - 1}")
        _check_among("mark of a trusted sample", features[:, _TRUSTED], range(2), "0 or 1")
        return rows


def _check_among(what: str, values: Any, allowed: range, rule: str) -> None:
    outside = np.flatnonzero(~np.isin(values, np.asarray(allowed)))
    if len(outside):
        row = outside[0]
        raise _refused(f"the {what} in row {row}", str(values[row]), f"it must be {rule}")


def _check_array(name: str, value: Any, shape: tuple[int, ...], kind: str) -> None:
    if not isinstance(value, np.ndarray):
        raise _refused(name, shown(value), "it must be a NumPy array")
    if value.shape != shape or value.dtype.kind != kind:
        found = f"{value.dtype} of shape {value.shape}"
        raise _refused(name, found, f"it must hold {_KINDS[kind]} in shape {shape}")


_KINDS = {"f": "floating point numbers", "b": "booleans"}


def _check_count(name: str, value: object) -> None:
    if not _is_count(value):
        raise _refused(name, shown(value), "it must be an integer from 0 on")


def _is_count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and 0 <= int(value) < 2**63


def _refused(name: str, value: str, rule: str) -> UserError:
    return UserError(f"{name} of a call to the mentor is {value}, but {rule}; call it as SharedMentor does")
