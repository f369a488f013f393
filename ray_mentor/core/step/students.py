"""Values of samples that may have a column a student: where there are two, each has losses and weights of its own."""

from __future__ import annotations

from jaxtyping import Float, Shaped
from torch import Tensor


def across(rows: Shaped[Tensor, " batch"], values: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
    """One value a sample, in a shape that goes with ``values``."""
    return rows if values.ndim == 1 else rows[:, None]


def mean_of_students(values: Float[Tensor, "batch ..."]) -> Float[Tensor, " batch"]:
    """One value a sample: of two students the mean."""
    return values if values.ndim == 1 else values.mean(dim=1)
