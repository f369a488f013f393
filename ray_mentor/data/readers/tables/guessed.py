"""The feature columns of a table where nobody has named them: what is left, but nothing that is plainly none."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_mentor.data.readers.formats.numbers import no_number
from ray_mentor.data.readers.formats.part import AbstractPart
from ray_mentor.data.readers.tables.kinds import are_yes_or_no, is_image, is_integer, is_numeric, is_text
from ray_mentor.errors import UserError, listed, shown

_PANDAS_INDEX = re.compile(r"__index_level_\d+__|")  # without a name in CSV
_INDEX = re.compile(r"index|idx|row_?(id|index|number)|unnamed: \d+|level_\d+", re.IGNORECASE)
_IDS = {"id", "ids", "uuid", "guid"}
_LABELS = {"label", "labels", "truth"}
_LABELS_ALONE = {"target", "targets", "class", "classes", "y"}
_BESIDE_THOSE = {"true", "given", "noisy", "clean", "original", "gold", "human", "name", "names"}

_CHECKS = {"verified", "checked", "trusted", "reviewed", "validated", "confirmed", "corrected", "gold", "golden"}
_CHECKS |= {"clean", "noisy", "corrupted", "flipped", "mislabelled", "mislabeled"}
_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "holdout", "heldout"}
_SPLIT_NUMBERS = {"split", "fold"}
_BESIDE_BOTH = {"is", "in", "was", "has", "been", "set", "split", "cv", "manually", "human", "by", "hand"}

_CELLS = 2**24  # that are looked at, from the first row on
_FEWEST = 20  # rows of which the values of a column show anything
_LONGEST_NAME = 80  # characters of what may be an id; beyond that it is text
_LONG_TEXT, _WORDS_OF_TEXT = 40, 5  # characters and words, of texts on average
_LOOKED_AT = 1000  # values that are looked at for that
_ROWS_PER_VALUE = 5  # at least, of a column of few values, which may determine a label
_KNOWS = 0.98  # of what the commonest label alone gets wrong
_AGREES = 0.5  # Cohen's kappa from which on a column of the same classes is another label


def guess_features(
    file: AbstractPart, schema: pa.Schema, labels: Sequence[str], others: Sequence[str], keep: Sequence[str]
) -> tuple[str, ...]:
    """All columns but these, in order.

    Args:
        file: the first one, whose first rows are looked at.
        labels: the column of given labels, and that of true ones.
        others: columns that are no features either.
        keep: those that are features whatever they look like.

    Raises:
        UserError: no column is left, or some are plainly no features; names them all, and what to write.
    """
    names = [name for name in schema.names if not (name in {*labels, *others} or _PANDAS_INDEX.fullmatch(name))]
    if not names:
        raise UserError(
            f"{file} has nothing to feed the model: besides labels and ids it has no column; "
            f"its columns are {listed(schema.names)}"
        )
    rows = _first_rows(file, schema, [*labels, *(name for name in names if is_numeric(schema, name))])
    found = {name: doubt for name in names if name not in keep and (doubt := _doubt(name, schema, rows, labels))}
    if found:
        raise UserError(_not_taken(file, schema, found))
    return tuple(names)


def _not_taken(file: AbstractPart, schema: pa.Schema, found: dict[str, str]) -> str:
    words = [name for name in found if is_text(schema, name)]
    rows = _first_rows(file, schema, words) if words else schema.empty_table()
    distinct = {name: _distinct(rows[name]) for name in words}
    strange = {name: value for name in words if (value := no_number(distinct[name])) is not None}
    told = {name: f"{why}: {shown(strange[name])}" if name in strange else why for name, why in found.items()}
    which = listed((f"{name!r} ({why})" for name, why in told.items()), len(told))
    text = f"{file} has columns that are not taken for features unasked: {which}; leave them out: --ignore-columns "
    separator = " " if any("," in name for name in found) else ","
    text += separator.join(map(shlex.quote, found))
    if any(is_image(schema, name) for name in found):
        text += "; --image-column NAME takes one for the images"
    if strange:
        text += "; if they are amounts, write them as plain numbers (1234.5), and nothing where one is missing"
    identity = next((name for name in found if _ends_in_id(name)), None)
    identity = identity or next((name for name in words if _tell_apart(distinct[name], rows)), None)
    if identity is not None:
        text += f"; --id-column {shlex.quote(identity)} names the samples by it"
    flag = next((name for name, why in found.items() if why == _ABOUT_LABELS), None)
    flag = flag or next((name for name in words if are_yes_or_no(distinct[name])), None)
    if flag is not None:
        text += f"; --meta-column {shlex.quote(flag)}, if it says of which rows the label was checked"
    if long := [name for name in words if _are_long(distinct[name])]:
        named = " or ".join(f"--text-column {shlex.quote(name)}" for name in long)
        text += f"; {named} takes it for texts, with a --student of them (hf:FOLDER)"
    if any(is_numeric(schema, name) for name in found):
        text += "; --keep-columns NAME takes one for a feature after all"
    return text


def _distinct(column: pa.ChunkedArray) -> list[str]:
    values: list[str] = column.cast(pa.large_string()).fill_null("").unique().to_pylist()
    return values


def _are_long(values: list[str]) -> bool:
    """Whether they look like texts: longer than names are, and of several words."""
    some = values[:_LOOKED_AT]
    words = sum(len(value.split()) for value in some)
    return sum(map(len, some)) > _LONG_TEXT * len(some) and words > _WORDS_OF_TEXT * len(some)


def _tell_apart(values: list[str], rows: pa.Table) -> bool:
    """Whether each row has another value, short as a name is."""
    return len(values) == len(rows) >= _FEWEST and max(map(len, values)) <= _LONGEST_NAME


def _first_rows(file: AbstractPart, schema: pa.Schema, columns: list[str]) -> pa.Table:
    most, count = max(_FEWEST, _CELLS // len(columns)), 0
    parts = [schema.empty_table().select(columns)]
    for batch in file.batches(columns, min(most, 2**16)):
        parts.append(pa.Table.from_batches([batch]).select(columns))
        count += len(batch)
        if count >= most:
            break
    return pa.concat_tables(parts)


def _doubt(name: str, schema: pa.Schema, rows: pa.Table, labels: Sequence[str]) -> str | None:
    """Why a column is plainly no feature; None of one that may be."""
    if not is_numeric(schema, name):
        return f"{schema.field(name).type}, not numbers"
    flag = _flag_by_name(name) if _may_be_flag(rows[name]) else None
    return (
        flag or _by_name(name, schema.names) or _by_values(rows[name], [rows[label] for label in labels], schema, name)
    )


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def _ends_in_id(name: str) -> bool:
    words = _words(name)
    return bool(words) and words[-1] in _IDS


def _may_be_flag(column: pa.ChunkedArray) -> bool:
    """Whether it is true or false, also as 1 and 0; or few small numbers, as of folds."""
    if pa.types.is_boolean(column.type):
        return True
    values = column.drop_null().unique().to_pylist()
    return len(values) <= _MOST_FOLDS and all(value == int(value) for value in values if math.isfinite(value))


_MOST_FOLDS = 20
_ABOUT_LABELS = "what is known of the label, by name"


def _flag_by_name(name: str) -> str | None:
    words = set(_words(name))
    plain = words - _BESIDE_BOTH
    if (plain and plain <= _SPLITS) or (words & _SPLIT_NUMBERS and not plain - _SPLIT_NUMBERS):
        return "which split a row belongs to, by name"
    return _ABOUT_LABELS if plain and plain <= _CHECKS else None


def _by_name(name: str, names: Sequence[str]) -> str | None:
    words = _words(name)
    if _INDEX.fullmatch(name):
        return "an index, by name"
    if _ends_in_id(name):
        return "an id, by name"
    alone = _LABELS_ALONE & set(words) and not set(words) - _LABELS_ALONE - _BESIDE_THOSE
    is_place = name.lower() == "y" and "x" in map(str.lower, names)
    return "a label, by name" if _LABELS & set(words) or (alone and not is_place) else None


def _by_values(column: pa.ChunkedArray, labels: list[pa.ChunkedArray], schema: pa.Schema, name: str) -> str | None:
    values = _finite(column)
    if values is None or len(values) < _FEWEST:
        return None
    steps = np.diff(values)
    is_whole = bool((values == np.floor(values)).all())
    if is_whole and abs(steps[0]) == 1 and (steps == steps[0]).all():
        return "it counts the rows"
    distinct = np.unique(values)
    if is_integer(schema, name) and len(distinct) == len(values):
        return "whole numbers, another in each row"
    are_few = len(distinct) * _ROWS_PER_VALUE <= len(values)
    for label in labels:
        if are_few and _determines(np.searchsorted(distinct, values), _codes(label)):
            return "it determines the label"
        if is_whole and (share := _agreement(values, label)) is not None:
            return f"it is the label in {share:.0%} of the rows"
    return None


def _finite(column: pa.ChunkedArray) -> NDArray[np.float64] | None:
    """The values, if all of them are there."""
    if column.null_count:
        return None
    values: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy()
    return values if np.isfinite(values).all() else None


def _codes(labels: pa.ChunkedArray) -> NDArray[np.int64]:
    """A number for each label; one more for none."""
    plain = pa.types.is_dictionary(labels.type)
    indices = (labels if plain else labels.dictionary_encode()).unify_dictionaries()
    codes: NDArray[np.int64] = np.concatenate(
        [chunk.indices.fill_null(-1).to_numpy().astype(np.int64) + 1 for chunk in indices.chunks]
    )
    return codes


def _determines(codes: NDArray[np.int64], labels: NDArray[np.int64]) -> bool:
    """Whether each value nearly always has one label, beyond what the commonest label is right of by itself."""
    pairs, counts = np.unique(codes * (labels.max() + 1) + labels, return_counts=True)
    best = np.zeros(codes.max() + 1, np.int64)
    np.maximum.at(best, pairs // (labels.max() + 1), counts)
    wrong_alone = len(labels) - np.bincount(labels).max()
    return bool(wrong_alone and len(labels) - best.sum() <= (1 - _KNOWS) * wrong_alone)


def _agreement(values: NDArray[np.float64], label: pa.ChunkedArray) -> float | None:
    """In what share of the rows a column of three classes or more is the label, if that is far more than by chance."""
    labels = _finite(label) if pa.types.is_integer(label.type) else None
    if labels is None:
        return None
    classes, shares = np.unique(labels, return_counts=True)
    own, own_shares = np.unique(values, return_counts=True)
    if len(own) < _FEWEST_CLASSES or not np.isin(own, classes).all():
        return None
    agrees = float((values == labels).mean())
    by_chance = float(own_shares @ shares[np.searchsorted(classes, own)]) / len(values) ** 2
    return agrees if agrees - by_chance >= _AGREES * (1 - by_chance) else None


_FEWEST_CLASSES = 3  # a flag that mostly agrees with one of two classes may well be a feature
