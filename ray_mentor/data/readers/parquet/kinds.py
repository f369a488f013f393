"""What kind of values a Parquet column holds."""

from __future__ import annotations

import pyarrow as pa


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


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))
