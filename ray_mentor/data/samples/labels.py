"""Labels in whatever form a user has them, as classes 0..C−1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from ray_mentor.errors import UserError, listed, shown

MOST_CLASSES = 100_000
"""A mistaken column of ids must not become a million output units."""

_SHOWN = 12  # classes that an error names


def class_labels(
    values: ArrayLike | pa.ChunkedArray, what: str = "labels", classes: Sequence[str] | None = None
) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:
    """Each sample's class, and the names of the classes where the labels have names.

    Integers, booleans and floats that are whole numbers are classes as they are. Strings are class names: their place
    in ``classes``, else in the order of categories (pandas' and Arrow's), else sorted.

    Args:
        values: (N,).
        classes: those that there are, of a training split; None: what is found.

    Raises:
        UserError: a label is missing, is no class, or is a number that is not whole; other types and shapes.
    """
    if isinstance(values, pa.ChunkedArray | pa.Array):
        return _of_arrow(values, what, classes)
    try:
        array = np.asarray(values)
    except Exception as error:  # lists of different lengths, a tensor with a gradient or on another device
        raise UserError(f"{what} must be classes in one row, but can't be read as an array ({error})") from error
    if array.ndim != 1:
        raise UserError(f"{what} must be classes in one row, but are {array.dtype} of shape {array.shape}")
    if array.dtype.kind == "O":
        array = _of_objects(array, what)
    if array.dtype.kind == "U":
        return _of_names(array.tolist(), what, classes)
    return _whole(array, what), None


def targets_in(values: ArrayLike) -> NDArray[Any] | None:
    """(N, ...), what a loss of the user's own is given where that is no class each; None where it is.

    Floats are amounts, whole or not, and become float32. Of more dimensions than one, booleans become float32, as
    binary cross-entropy takes them, and integers stay: a class a token, say.

    Raises:
        UserError: anything else that has more dimensions than one.
    """
    try:
        array = np.asarray(values)
    except Exception as error:  # lists of different lengths, a tensor with a gradient or on another device
        raise UserError(f"the targets can't be read as an array ({error}); bring them to one shape") from error
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    if array.ndim == 1:
        return None
    if array.dtype.kind not in "iub":
        raise UserError(f"the targets are {array.dtype} of shape {array.shape}, but they must be numbers")
    return array.astype(np.float32 if array.dtype.kind == "b" else np.int64)


def _of_arrow(
    values: pa.ChunkedArray | pa.Array, what: str, classes: Sequence[str] | None
) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:
    if values.null_count:
        row = values.is_null().to_pylist().index(True)
        raise UserError(
            f"{what}: row {row} has none, but every sample needs one; fill it in or leave the row out "
            f"({values.null_count} such)"
        )
    kind = values.type
    if not pa.types.is_dictionary(kind):
        if _is_text(kind):
            return _of_names(values.to_pylist(), what, classes)
        return class_labels(values.to_numpy() if isinstance(values, pa.ChunkedArray) else _numpy(values), what, classes)
    whole = values.unify_dictionaries().combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if not _is_text(kind.value_type):
        return class_labels(whole.cast(kind.value_type), what, classes)
    names = tuple(whole.dictionary.to_pylist())
    codes: NDArray[np.int64] = whole.indices.to_numpy().astype(np.int64)
    if classes is None:
        _check_few(names, what)
        return codes, names
    return _places(names, what, classes)[codes], tuple(classes)


def _numpy(values: pa.Array) -> NDArray[Any]:
    array: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return array


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _of_objects(array: NDArray[Any], what: str) -> NDArray[Any]:
    values = array.tolist()
    for kinds in ((str,), (bool, int, np.bool_, np.integer), (bool, int, float, np.bool_, np.number)):
        if all(isinstance(value, kinds) for value in values):
            return np.array(values)
    row = next((row for row, value in enumerate(values) if value is None), None)
    if row is not None:
        missing = sum(value is None for value in values)
        raise UserError(
            f"{what}: row {row} has none, but every sample needs one; fill it in or leave the row out ({missing} such)"
        )
    kinds_there = sorted({type(value).__name__ for value in values})
    raise UserError(f"{what} are {listed(kinds_there, 5)}, but they must be of one kind: numbers or strings")


def _of_names(
    names: list[str], what: str, classes: Sequence[str] | None
) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:
    distinct = tuple(sorted(set(names)))
    if classes is None:
        _check_few(distinct, what)
        classes = distinct
    places = dict(zip(distinct, _places(distinct, what, classes).tolist(), strict=True))
    return np.array([places[name] for name in names], np.int64), tuple(classes)


def _check_few(names: Sequence[str], what: str) -> None:
    if len(names) > MOST_CLASSES:
        raise UserError(f"{what} have {len(names)} different values, but there may be {MOST_CLASSES} classes")


def _places(names: Sequence[str], what: str, classes: Sequence[str]) -> NDArray[np.int64]:
    places: NDArray[np.int64] = (
        pc.index_in(pa.array(names, pa.large_string()), pa.array(classes, pa.large_string())).fill_null(-1).to_numpy()
    ).astype(np.int64)
    unknown = np.flatnonzero(places < 0)
    if len(unknown):
        raise UserError(
            f"{what}: {listed((shown(names[place]) for place in unknown.tolist()), 5)} "
            f"{'is' if len(unknown) == 1 else 'are'} none of the {len(classes)} classes ({listed(classes, _SHOWN)}); "
            "mend it or leave the samples out"
        )
    return places


def _whole(array: NDArray[Any], what: str) -> NDArray[np.int64]:
    kind = array.dtype.kind
    if kind == "f":
        wrong = np.flatnonzero(~np.isfinite(array) | (array != np.floor(array)))
        if len(wrong):
            raise UserError(
                f"{what}: row {wrong[0]} is {array[wrong[0]]}, but labels are classes, whole numbers or names; mend it "
                f"({len(wrong)} such), or, where targets are amounts, give a loss of your own"
            )
        outside = np.abs(array) >= 2.0**63
        if outside.any():
            raise UserError(f"{what} must be int64, but the largest is {array[outside][0]}; write them smaller")
        return array.astype(np.int64)
    if kind not in "iub":
        raise UserError(f"{what} must be classes, whole numbers or names, but are {array.dtype}")
    if kind == "u" and (array > np.iinfo(np.int64).max).any():
        raise UserError(f"{what} must be int64, but the largest is {array.max()}; write them smaller")
    return array.astype(np.int64, copy=False)


def numbered_classes(highest: int) -> tuple[str, ...]:
    """Names of the classes 0..highest.

    Raises:
        UserError: too many.
    """
    if highest >= MOST_CLASSES:
        raise UserError(
            f"label {highest} would make {highest + 1} classes, but integer labels must count up from 0 "
            f"and stay below {MOST_CLASSES}; give other labels (of Parquet: another label_column, or strings)"
        )
    return tuple(map(str, range(max(0, highest) + 1)))
