"""Where windows of one text stand in another, at whatever byte they begin there."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, UInt8
from numpy.typing import NDArray

Bytes = UInt8[NDArray[np.uint8], " bytes"]

_WORD = 8  # bytes that are taken as one number
_PART = 2**20  # places that are looked at together
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # of splitmix64


def places_in(text: Bytes, windows: UInt8[NDArray[np.uint8], "n size"]) -> Int[NDArray[np.int64], " n"]:
    """The first byte at which each window stands in the text; -1 where it stands nowhere.

    A window and each stretch of the text that is as long have a key, a sum over their words of 8 bytes; what has the
    same key is compared byte by byte.
    """
    n, size = windows.shape
    found = np.full(n, -1, np.int64)
    if n == 0 or len(text) < size:
        return found
    keys = np.concatenate([_keys(window, size) for window in windows])
    order = np.argsort(keys, kind="stable")
    for start in range(0, len(text) - size + 1, _PART):
        stretch = text[start : start + _PART + size - 1]
        of_text = _keys(stretch, size)
        for place in np.flatnonzero(np.isin(of_text, keys)).tolist():
            low, high = (np.searchsorted(keys, of_text[place], side, sorter=order) for side in ("left", "right"))
            same = order[low:high]
            same = same[(found[same] < 0) & (windows[same] == stretch[place : place + size]).all(axis=1)]
            found[same] = start + place
    return found


def _keys(text: Bytes, size: int) -> NDArray[np.uint64]:
    """Of each stretch of ``size`` bytes."""
    step = min(_WORD, size)
    words = np.zeros(len(text) - step + 1, np.uint64)
    for place in range(step):
        words |= text[place : place + len(words)].astype(np.uint64) << np.uint64(8 * place)
    words, keys = _mixed(words), np.zeros(len(text) - size + 1, np.uint64)
    for number, first in enumerate([*range(0, size - step, step), size - step]):
        keys += words[first : first + len(keys)] * np.uint64((2 * number + 1) * _MIX[0] % 2**64)
    return keys


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers of which each bit depends on all bits of a word."""
    for shift, factor in zip((30, 27), _MIX, strict=True):
        words = (words ^ (words >> np.uint64(shift))) * np.uint64(factor)
    return words ^ (words >> np.uint64(31))
