"""A student that says one class of everything: right as often as that class is there, which looks like a figure."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from jaxtyping import Int
from numpy.typing import NDArray

from ray_mentor.data.samples.samples import Samples
from ray_mentor.errors import shown
from ray_mentor.run.checkpoint.kept import KeptState
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.names import table_in
from ray_mentor.run.findings.predictions import PREDICTIONS

LEAST = 10
"""Samples, of two classes at least, below which one answer may be right."""


def one_answer(
    directory: RunDirectory, classes: tuple[str, ...], held_out: Samples | None, kept: KeptState | None
) -> str | None:
    """What there is to say of a student that is kept; None where it tells classes apart, or nobody knows.

    Args:
        held_out: trusted samples.
        kept: which of them the student is right on.
    """
    table = table_in(directory, PREDICTIONS, {"label": pa.int64(), "predicted": pa.int64()})
    if table is not None and len(table) >= LEAST:
        labels, said = table["label"].to_numpy(), np.unique(table["predicted"].to_numpy())
        if len(said) == 1 and len(np.unique(labels)) > 1 and said[0] < len(classes):
            return _warning(classes, int(said[0]), labels, "of the test split")
    if held_out is None or held_out.targets is not None or kept is None or len(held_out) < LEAST:
        return None
    found = said_of_all(held_out.labels, (kept.hits if kept.is_earlier else kept.last_hits).numpy())
    return None if found is None else _warning(classes, found, held_out.labels, "held-out trusted")


def said_of_all(labels: Int[np.ndarray, " n"], hits: NDArray[np.bool_]) -> int | None:
    """The class c, of several, that the student is right on, always, and on no other; None where there is none."""
    right = np.unique(labels[hits])
    if len(labels) != len(hits) or len(right) != 1 or len(np.unique(labels)) == 1 or (labels[~hits] == right[0]).any():
        return None
    return int(right[0])


def _warning(classes: tuple[str, ...], said: int, labels: Int[np.ndarray, " n"], where: str) -> str:
    what = f"{len(labels)} samples {where}" if where.startswith("of") else f"{len(labels)} {where} samples"
    return (
        f"warning: the student says one class, {shown(classes[said])}, of all {what}, which is right on "
        f"{(labels == said).mean():.3f} of them: it tells no classes apart, and its figures are those of a constant. "
        "Scale features alike, or give another --learning-rate or more --epochs"
    )
