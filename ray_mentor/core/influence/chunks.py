"""Tensors some at a time: enough for few launches on an accelerator, and no more than little memory holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

CHUNK = 2**22
"""Elements that are looked at together."""


def in_chunks(items: Iterable[Item], elements: Callable[[Item], int], chunk: int = CHUNK) -> Iterator[list[Item]]:
    """The items in order, each chunk ending with the one that fills it.

    Args:
        elements: how many numbers an item has.
        chunk: how many are looked at together.
    """
    some: list[Item] = []
    filled = 0
    for item in items:
        some.append(item)
        filled += elements(item)
        if filled >= chunk:
            yield some
            some, filled = [], 0
    if some:
        yield some
