"""A column of texts as it is stored: enough to tell copies from one another, and to show one to a person."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from ray_mentor.data.readers.pictures.decode import BROKEN
from ray_mentor.data.readers.tables.images import Flags, whole
from ray_mentor.data.readers.tables.table import Stream, Table
from ray_mentor.data.samples.inputs import AbstractInputs, digest, join_digests
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.texts.inputs import AbstractTexts
from ray_mentor.errors import UserError


class RawTexts(AbstractInputs, AbstractTexts):
    """Texts that no tokenizer has seen: they can't be taken yet. They stay where they are stored.

    Args:
        table: that they are in, without labels.
        column: of it.
        content: S16, a digest of each text of the table.
        rows: of the table, which of them these are.
    """

    def __init__(self, table: Table, column: str, content: NDArray[np.bytes_], rows: Rows) -> None:
        self.table = table
        self.column = column
        self.content = content
        self.rows = rows

    @classmethod
    def of(cls, table: Table, column: str, *, skip: bool = False) -> tuple[RawTexts, Flags]:
        """All rows of a table but, if they are skipped, those whose text is empty; and flags of all rows.

        Raises:
            UserError: a text that is empty or missing, and isn't skipped, naming file, row and sample id.
        """
        flags = np.zeros(len(table), np.uint8)

        def read() -> Iterator[bytes]:
            for first, part in text_parts(table, column, skip=skip):
                flags[first : first + len(part)] = [BROKEN * is_empty(text) for text in part]
                yield from (digest(text.encode()) for text in part)

        content = join_digests(read())
        bare = dataclasses.replace(table, labels=table.labels.slice(0, 0), true_labels=None)
        return cls(bare, column, content, whole(flags)), flags

    @override
    def __len__(self) -> int:
        return len(self.rows)

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        """Of one that has not been made token ids."""
        return ()

    @override
    def take(self, rows: Rows) -> Tensor:
        raise AssertionError("texts are no numbers before a tokenizer has seen them")

    @override
    def select(self, rows: Rows) -> RawTexts:
        return RawTexts(self.table, self.column, self.content, self.rows[rows])

    @override
    def content_hashes(self) -> NDArray[np.bytes_]:
        return self.content[self.rows]

    @override
    def texts(self, rows: Rows, most: int | None = None) -> list[str]:
        wanted = self.rows[rows]
        order = np.argsort(wanted, kind="stable")
        found: list[str] = [""] * len(wanted)
        done = 0
        for first, part in text_parts(self.table, self.column, skip=True):
            while done < len(order) and (row := int(wanted[order[done]])) < first + len(part):
                text = part[row - first]
                if digest(text.encode()).rstrip(b"\0") != self.content[row]:  # NumPy's end so, too
                    raise UserError(
                        f"the text in {self.table.place(row)} (column {self.column!r}) is another than when the data "
                        "were read; put it back"
                    )
                found[order[done]] = text if most is None else " ".join(text.split())[:most]
                done += 1
            if done == len(order):
                break
        return found


def is_empty(text: str) -> bool:
    """Whether there is nothing in it but spaces."""
    return not text.strip()


def text_parts(table: Stream, column: str, *, skip: bool = False) -> Iterator[tuple[int, list[str]]]:
    """(row of the first, texts) in order, some hundreds at a time; a missing one is empty.

    Args:
        skip: whether whoever takes them passes over the empty ones.

    Raises:
        UserError: those that are empty or missing, naming file, row and sample id of the first; when all have been
            seen.
    """
    empty: list[int] = []
    for first, batch in table.batches([column]):
        texts = batch.column(0).cast(pa.large_string()).to_pylist()
        there = [text or "" for text in texts]
        empty += (first + place for place, text in enumerate(there) if is_empty(text))
        yield first, there
    if empty and not skip:
        raise UserError(
            f"the text in {table.place(empty[0])} (column {column!r}) is empty, but every sample needs one; fill it in "
            f"or leave out all such ({len(empty)}): --skip-broken"
        )
