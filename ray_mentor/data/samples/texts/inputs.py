"""Texts as token ids: what a model of texts is fed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad as padded_by
from typing_extensions import override

from ray_mentor.core.student.inputs import no_padding
from ray_mentor.data.samples.inputs import AbstractInputs, digest, join_digests
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.texts.ragged import AbstractRagged
from ray_mentor.data.samples.texts.tokens import Tokens


class AbstractTexts(ABC):
    """Texts that can be shown to a person.

    Attributes:
        column: that they are stored in.
    """

    column: str

    @abstractmethod
    def texts(self, rows: Rows, most: int | None = None) -> list[str]:
        """Those, as they are stored.

        Args:
            most: of each its first so many characters alone, on one line.

        Raises:
            UserError: they can't be read.
        """

    @abstractmethod
    def select(self, rows: Rows) -> AbstractTexts:
        """Those alone, in that order."""


class TextInputs(AbstractInputs):
    """Texts as token ids: a batch is int64 (n, longest of its texts), shorter ones padded behind.

    Args:
        ids: of all texts, of which these are some.
        rows: which.
        tokens: what made ids of texts.
        longest: ids of any text of the run, which the shape of an input says.
        mean: ids of one, about.
        read: the texts themselves; None: they are not at hand.
    """

    dtype = torch.int64

    @override
    def ones(self) -> Tensor:
        return no_padding((2, *self.shape), self.tokens.pad)

    @property
    @override
    def positions(self) -> float:
        return self.mean

    def __init__(
        self, ids: AbstractRagged, rows: Rows, tokens: Tokens, longest: int, mean: float, read: AbstractTexts | None
    ) -> None:
        self.ids = ids
        self.rows = rows
        self.tokens = tokens
        self.longest = longest
        self.mean = mean
        self.read = read

    @override
    def __len__(self) -> int:
        return len(self.rows)

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        return (self.longest,)

    @override
    def take(self, rows: Rows) -> Int[Tensor, "rows longest"]:
        return torch.from_numpy(self.ids.open().padded(self.rows[rows], self.tokens.pad))

    @override
    def join(self, parts: Sequence[Tensor]) -> Tensor:
        longest = max(part.shape[1] for part in parts)
        return torch.cat([padded_by(part, (0, longest - part.shape[1]), value=self.tokens.pad) for part in parts])

    @override
    def select(self, rows: Rows) -> TextInputs:
        read = None if self.read is None else self.read.select(rows)
        return TextInputs(self.ids, self.rows[rows], self.tokens, self.longest, self.mean, read)

    @override
    def content_hashes(self) -> NDArray[np.bytes_]:
        ids, pad = self.ids.open(), self.tokens.pad
        parts = np.split(self.rows, range(_HASHED, len(self), _HASHED))
        return np.concatenate([text_hashes(ids.padded(rows, pad), pad) for rows in parts])

    @override
    def open(self) -> None:
        self.ids.open()

    def __getstate__(self) -> dict[str, Any]:
        """Workers need no texts."""
        return {**self.__dict__, "read": None}


def text_hashes(ids: NDArray[np.int64], pad: int) -> NDArray[np.bytes_]:
    """A digest of each text's token ids (N, L), however many follow as padding."""
    own = ids.shape[1] - np.cumprod(ids[:, ::-1] == pad, axis=1).sum(axis=1)
    return join_digests(digest(row[:count].tobytes()) for row, count in zip(ids, own.tolist(), strict=True))


_HASHED = 1024  # texts at a time
