"""What kind of values a column holds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_mentor.errors import UserError, shown

_YES = {"true": True, "yes": True, "y": True, "1": True, "1.0": True}
_NO = {"false": False, "no": False, "n": False, "0": False, "0.0": False, "": False}


def is_integer(schema: pa.Schema, name: str) -> bool:
    """Whether a column holds integers (or booleans, which count as 0 and 1)."""
    kind = schema.field(name).type
    return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def is_text(schema: pa.Schema, name: str) -> bool:
    """Whether a column holds strings, written out or by dictionary."""
    kind = schema.field(name).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_image(schema: pa.Schema, name: str) -> bool:
    """Whether a column may hold encoded images: bytes, or a struct that has them as ``bytes``."""
    kind = schema.field(name).type
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _is_binary(kind.field(place).type)
    return _is_binary(kind)


def is_numeric(schema: pa.Schema, name: str) -> bool:
    """Whether a column holds numbers, whole or not."""
    return bool(pa.types.is_floating(schema.field(name).type)) or is_integer(schema, name)


def says_yes_or_no(schema: pa.Schema, name: str) -> bool:
    """Whether a column may hold what :func:`yes_or_no` reads, by its type."""
    return is_numeric(schema, name) or is_text(schema, name) or bool(pa.types.is_null(schema.field(name).type))


def are_yes_or_no(values: Iterable[str]) -> bool:
    """Whether :func:`yes_or_no` reads these words, and at least one is a yes."""
    words = {value.strip().lower() for value in values}
    return words <= {*_YES, *_NO} and not words.isdisjoint(_YES)


def yes_or_no(column: pa.ChunkedArray, name: str, place: object) -> NDArray[np.bool_]:
    """Bool (N,): true, 1 or yes, in any case of letters, against false, 0, no, or nothing.

    Args:
        column: numbers or strings, also by dictionary.
        place: what a message calls the file.

    Raises:
        UserError: any other value; names column and row.
    """
    plain = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    words = plain.cast(pa.large_string()).fill_null("").combine_chunks().dictionary_encode()
    known = {**_YES, **_NO}
    said = [known.get(word.strip().lower()) for word in words.dictionary.to_pylist()]
    codes: NDArray[np.int64] = words.indices.to_numpy()
    unclear = np.array([each is None for each in said], bool)[codes]
    if unclear.any():
        row = int(unclear.argmax())
        raise UserError(
            f"column {name!r} is {shown(words.dictionary[codes[row]].as_py())} in row {row} of {place}, but what was "
            f"checked is said by true and false, 1 and 0, or yes and no; mend it ({unclear.sum()} such)"
        )
    found: NDArray[np.bool_] = np.array([each is True for each in said], bool)[codes]
    return found


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))
