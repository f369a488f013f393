"""What the mentor sees of each sample: detached statistics of the student's state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


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
    """

    loss: Float[Tensor, " batch"]
    loss_difference: Float[Tensor, " batch"]
    label: Int[Tensor, " batch"]
    progress: Float[Tensor, " batch"]
    history: Float[Tensor, "batch length"]

    def __len__(self) -> int:
        return len(self.loss)

    def __getitem__(self, rows: slice | Tensor) -> Features:
        return Features(*(getattr(self, f.name)[rows] for f in fields(self)))

    @staticmethod
    def concatenate(parts: list[Features]) -> Features:
        """Joins row blocks in order."""
        return Features(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Features)))

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """The columns as NumPy arrays, for the road to another process."""
        return {f.name: getattr(self, f.name).numpy() for f in fields(self)}

    @staticmethod
    def from_arrays(columns: Mapping[str, np.ndarray[Any, Any]]) -> Features:
        """The inverse of :meth:`arrays`. Copies: what arrives from another process may be read-only."""
        return Features(**{name: torch.from_numpy(column.copy()) for name, column in columns.items()})
