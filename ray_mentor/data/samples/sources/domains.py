"""Of which source, or of which group, each sample is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ray_mentor.data.samples.rows import Rows


@dataclass(frozen=True, eq=False)
class Domains:
    """Sources, or groups, by name.

    Attributes:
        names: of them, each once.
        of: int64 (N,) in 0..len(names)-1, each sample's.
        weights: of targets what each counts for, adding up to 1; None of sources.
    """

    names: tuple[str, ...]
    of: Rows
    weights: tuple[float, ...] | None = None

    def select(self, rows: Rows) -> Domains:
        """Of those samples only, in that order."""
        return Domains(self.names, self.of[rows], self.weights)

    @property
    def sizes(self) -> list[int]:
        """Samples of each."""
        sizes: list[int] = np.bincount(self.of, minlength=len(self.names)).tolist()
        return sizes

    @property
    def rows(self) -> list[Rows]:
        """The samples of each, in order."""
        return [np.flatnonzero(self.of == place) for place in range(len(self.names))]

    def among(self, names: tuple[str, ...]) -> Domains:
        """The same by names of which these are some."""
        places = np.array([names.index(name) if name in names else -1 for name in self.names], np.int64)
        found = places[self.of]
        assert (found >= 0).all(), "each sample's name is among them"
        return Domains(names, found)

    @property
    def there(self) -> Domains:
        """Without names that no sample has."""
        return self.among(tuple(name for name, size in zip(self.names, self.sizes, strict=True) if size))


def domains_in(column: pa.ChunkedArray) -> Domains:
    """What a column of integers or strings names, without nulls; in order, of numbers as numbers."""
    found = pa.array(column.cast(pa.large_string()).combine_chunks()).dictionary_encode()
    names = found.dictionary.to_pylist()
    order = in_order(names)
    return Domains(tuple(names), found.indices.to_numpy().astype(np.int64)).among(order)


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Each once, sorted; numbers as numbers."""
    whole = set(names)
    as_numbers = all(name.removeprefix("-").isdecimal() for name in whole)
    return tuple(sorted(whole, key=(lambda name: (int(name), name)) if as_numbers else (lambda name: (0, name))))


def in_one_order(parts: Sequence[Domains | None]) -> list[Domains | None]:
    """The same by the names of all."""
    names = in_order(name for part in parts if part is not None for name in part.there.names)
    return [None if part is None else part.there.among(names) for part in parts]


def one_behind_the_other(parts: Sequence[Domains | None]) -> Domains | None:
    """Of all samples of several parts; None where one of them says nothing."""
    alike = in_one_order(parts)
    known = [part for part in alike if part is not None]
    if len(known) < len(parts):
        return None
    return Domains(known[0].names, np.concatenate([part.of for part in known]))
