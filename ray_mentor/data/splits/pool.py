"""Samples that no split has taken yet: what leaves the pool takes everything of the same content along."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.samples import Samples
from ray_mentor.errors import UserError

Content = NDArray[np.bytes_]


@dataclass(frozen=True, eq=False)
class Pool:
    """Rows of a set of samples that are still free.

    Attributes:
        samples: the whole set.
        content: content hash of each of its samples.
        rows: int64, the free ones.
    """

    samples: Samples
    content: Content
    rows: Rows

    @classmethod
    def of(cls, samples: Samples) -> Pool:
        """All samples free."""
        return cls(samples, samples.inputs.content_hashes(), np.arange(len(samples)))

    def __len__(self) -> int:
        return len(self.rows)

    def without(self, content: Content) -> Pool:
        """Less every sample whose content occurs in ``content``."""
        return Pool(self.samples, self.content, self.rows[~np.isin(self.content[self.rows], content)])

    def distinct(self) -> Rows:
        """The first free row of each content."""
        first = np.unique(self.content[self.rows], return_index=True)[1]
        return self.rows[np.sort(first)]

    def whole(self, rows: Rows) -> Rows:
        """The free rows that have the content of one of ``rows``: a content group is taken as a whole."""
        return self.rows[np.isin(self.content[self.rows], self.content[rows])]

    def take(self) -> Samples:
        """The free samples."""
        return self.samples.select(self.rows)


def less(pool: Pool, other: Samples, what: str, notes: list[str], *, prefix: str = "") -> Pool:
    """The pool without what has the content of another set, and a note of how many these were."""
    rest = pool.without(other.inputs.content_hashes())
    note_left_out(len(pool) - len(rest), what, notes, prefix)
    return rest


def note_left_out(count: int, what: str, notes: list[str], prefix: str = "", more: str = "") -> None:
    """Says how many were left out, if any were."""
    if count:
        notes.append(f"{prefix}left out {count} {what} (same content){more}")


def some(samples: Samples, what: str, source: str) -> Samples:
    """The samples, if there are any.

    Raises:
        UserError: there are none.
    """
    if len(samples) == 0:
        raise UserError(
            f"the {what} of {source} has no sample left that is in no other split (by content); "
            "give more data, or check that the files differ"
        )
    return samples


def balanced(labels: NDArray[np.int64], count: int, draw: Generator) -> Rows:
    """Places of ``count`` labels, as many of each class as there are: the classes take turns, in random order."""
    return np.sort(in_turns(labels, draw)[:count])


def in_turns(labels: NDArray[np.int64], draw: Generator) -> Rows:
    """Places of all labels: one of each class, in random order, and so on, as long as there are some."""
    turn, _ = _turns(labels, draw)
    return np.lexsort((draw.permutation(labels.max() + 1)[labels], turn))


def proportional(labels: NDArray[np.int64], count: int, draw: Generator) -> Rows:
    """Places of ``count`` labels, every class with its share, to less than one sample off where shares are uneven."""
    turn, sizes = _turns(labels, draw)
    order = draw.permutation(labels.max() + 1)[labels]
    return np.sort(np.lexsort((order, (turn + 0.5) / sizes[labels]))[:count])


def spared(labels: NDArray[np.int64], count: int, draw: Generator) -> Rows:
    """Places of up to ``count`` labels that can be spared: one of each class first, then every class with its share.

    No class is taken to its last label; so there may be fewer.
    """
    turn, sizes = _turns(labels, draw)
    order = draw.permutation(labels.max() + 1)[labels]
    can_go = turn + 1 < sizes[labels]
    ranked = np.lexsort((order, np.where(turn == 0, 0.0, (turn + 0.5) / sizes[labels]), ~can_go))
    return np.sort(ranked[: min(count, can_go.sum())])


def _turns(labels: NDArray[np.int64], draw: Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each label's place in a shuffle of its class, and the size of each class."""
    shuffled = draw.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    sizes = np.bincount(labels)
    turn = np.empty(len(labels), np.int64)
    turn[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return turn, sizes
