"""Numbers in text as people write them: names that begin with 0, as 007, and decimal commas, as 1,5."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

_LEADING_ZERO = re.compile(rb"""[,;\t|"\s]0[0-9]""")
_COMMA = r"^\s*[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?\s*$"
_WITH_COMMA = r"^\s*([+-]?[0-9]+|[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?)?\s*$"
_MAY_BE_THOUSANDS = r"^\s*([+-]?[0-9]{1,3}|[+-]?[1-9][0-9]{0,2},[0-9]{3})?\s*$"
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_LIKE_NUMBER = re.compile(r"[^\w\s]?\s*[-+]?[\d.,'\s]*\d[\d.,'\s]*([eE][-+]?\d+)?\s*[^\w\s]?")


def with_leading_zeros(
    content: bytes, table: pa.Table, as_text: Callable[[list[str]], dict[str, pa.ChunkedArray]]
) -> list[str]:
    """Columns of whole numbers some of which begin with 0.

    Args:
        as_text: reads columns of these names as text.
    """
    names = [field.name for field in table.schema if pa.types.is_integer(field.type)]
    names = [name for name in names if table.schema.names.count(name) == 1]
    if not names or not _LEADING_ZERO.search(content):
        return []
    written = as_text(names)
    return [name for name in names if _any(written[name], r"^\s*0[0-9]")]


def with_decimal_commas(table: pa.Table) -> list[str]:
    """Columns of text that are numbers with commas in place of points; none that may be groups of thousands."""
    texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
    texts = [name for name in texts if table.schema.names.count(name) == 1]
    return [
        name
        for name in texts
        if _any(table[name], _COMMA)
        and not _any(table[name], _WITH_COMMA, negated=True)
        and _any(table[name], _MAY_BE_THOUSANDS, negated=True)
    ]


def with_points(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Such a column as numbers."""
    text = pc.replace_substring(pc.utf8_trim_whitespace(column), ",", ".")
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text).cast(pa.float64())


def no_number(values: Sequence[str]) -> str | None:
    """Of values that are meant for numbers by their looks, at least half of them, the first that is none."""
    there = [value for value in values if value.strip()]
    like = sum(_LIKE_NUMBER.fullmatch(value.strip()) is not None for value in there)
    others = [value for value in there if not _NUMBER.fullmatch(value.strip())]
    return others[0] if others and 2 * like >= len(there) else None


def _any(column: pa.ChunkedArray, pattern: str, *, negated: bool = False) -> bool:
    found = pc.match_substring_regex(column, pattern)
    return bool(pc.any(pc.invert(found) if negated else found).as_py())
