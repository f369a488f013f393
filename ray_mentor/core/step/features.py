"""What the mentor sees of each sample: detached statistics of the student's state."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ray_mentor.core.step.said import UNSAID

COLUMNS = 6
"""Of a matrix of features: loss, loss difference, label, progress, trusted, predicted; the history follows."""


@dataclass(frozen=True)
class Features:
    """One row per sample; nothing here carries a gradient.

    Attributes:
        loss: per-sample loss ℓ_i under the current student.
        loss_difference: ℓ_i minus the running percentile of the global batch losses.
        label: given label, 0..C-1.
        progress: share of training done, in [0, 1), the same for the whole batch.
        history: the last H losses of the sample, newest first, NaN-free (the current loss where
            there is no past yet); H may be 0.
        trusted: whether the sample belongs to the trusted set: its weight is 1, whatever a mentor says. None: of none.
        predicted: the class that the student says; −1 where that is not known. None: of none.
    """

    loss: Float[Tensor, " batch"]
    loss_difference: Float[Tensor, " batch"]
    label: Int[Tensor, " batch"]
    progress: Float[Tensor, " batch"]
    history: Float[Tensor, "batch length"]
    trusted: Bool[Tensor, " batch"] = None  # type: ignore[assignment]  # never None once it is made
    predicted: Int[Tensor, " batch"] = None  # type: ignore[assignment]  # nor this

    def __post_init__(self) -> None:
        if self.trusted is None:
            object.__setattr__(self, "trusted", torch.zeros_like(self.label, dtype=torch.bool))
        if self.predicted is None:
            object.__setattr__(self, "predicted", torch.full_like(self.label, UNSAID, dtype=torch.long))

    def __len__(self) -> int:
        return len(self.loss)

    def __getitem__(self, rows: slice | Tensor) -> Features:
        return Features(*(getattr(self, f.name)[rows] for f in fields(self)))

    @staticmethod
    def concatenate(parts: list[Features]) -> Features:
        """Joins row blocks in order."""
        return Features(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Features)))

    def table(self) -> Float[Tensor, "batch columns"]:
        """All columns in one tensor; float64 holds each of them exactly."""
        columns = [
            self.loss,
            self.loss_difference,
            self.label,
            self.progress,
            self.trusted,
            self.predicted,
            *self.history.unbind(dim=1),
        ]
        return torch.stack([column.double() for column in columns], dim=1)

    def matrix(self) -> NDArray[np.float64]:
        """All columns in one array, for the road to another process."""
        return self.table().cpu().numpy()

    @staticmethod
    def from_matrix(matrix: NDArray[np.float64], dtype: torch.dtype = torch.float32) -> Features:
        """The inverse of :meth:`matrix`. Copies: what arrives from another process may be read-only."""
        return Features.of_table(torch.from_numpy(matrix.copy()), dtype)

    @staticmethod
    def of_table(table: Float[Tensor, "batch columns"], dtype: torch.dtype) -> Features:
        """The inverse of :meth:`table`."""
        loss, difference, label, progress, trusted, predicted = table[:, :COLUMNS].unbind(dim=1)
        floats = loss.to(dtype), difference.to(dtype), label.long(), progress.to(dtype), table[:, COLUMNS:].to(dtype)
        return Features(*floats, trusted.bool(), predicted.long())
