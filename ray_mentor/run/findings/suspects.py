"""Which given labels are most likely wrong, by what the ledger says of their samples over all epochs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from ray_mentor.errors import UserError
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.names import class_names, with_ids
from ray_mentor.run.ledger.files import ledger_parts

SUSPECTS = "suspects.csv"
"""What a run writes at its end."""

MOST = 100_000
"""Samples that it lists."""

_COLUMNS = ("sample_id", "given_label", "true_label", "loss", "scored_weight")
_SUMS = [("loss", "sum"), ("scored_weight", "sum"), ("rows", "sum"), ("given_label", "max"), ("true_label", "max")]
_FIGURES = {"loss": "mean_loss", "scored_weight": "mean_scored_weight"}
_DIGITS = 6


def suspects(directory: RunDirectory, most: int | None = None) -> pa.Table:
    """The samples of a run, the most suspicious first.

    The order is that of the sum of two ranks, of the mean loss from high to low and of the mean scored weight from low
    to high, over all rows of a sample; samples of the same sum go by their loss.

    Args:
        most: how many; None: all.

    Returns:
        ``sample_id`` (as the user knows it), ``given_label`` (the class's name), ``mean_loss`` (nats),
        ``mean_scored_weight`` (in [0, 1]) and, where the truth is known, ``true_label``.

    Raises:
        UserError: the ledger has no rows yet, or a file of it is gone or damaged.
    """
    sums = _sums(directory)
    if not len(sums):
        raise UserError(f"the ledger of {directory.path} has no rows yet; wait for the end of an epoch")
    means = {name: sums[f"{name}_sum"].to_numpy() / sums["rows_sum"].to_numpy() for name in _FIGURES}
    order = _worst_first(means["loss"], means["scored_weight"])[:most]
    worst = sums.take(pa.array(order))
    names = class_names(directory)
    columns: dict[str, Any] = {
        "sample_id": worst["sample_id"],
        "given_label": _named(worst["given_label_max"], names),
        **{_FIGURES[name]: np.round(values[order], _DIGITS) for name, values in means.items()},
    }
    if not worst["true_label_max"].null_count:
        columns["true_label"] = _named(worst["true_label_max"], names)
    return with_ids(pa.table(columns), directory)


def as_csv(found: pa.Table) -> bytes:
    """A header and a line a sample."""
    sink = pa.BufferOutputStream()
    plain = found.set_column(0, "sample_id", found["sample_id"].cast(_plain(found["sample_id"].type)))
    pa.csv.write_csv(plain, sink)
    return bytes(sink.getvalue())


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _sums(directory: RunDirectory) -> pa.Table:
    """A row a sample; held at a time are those of all samples, and the rows of one of the ledger's files."""
    sums: pa.Table | None = None
    for rows in _counted(directory):
        both = rows if sums is None else pa.concat_tables([sums.rename_columns(rows.schema.names), rows])
        sums = both.group_by("sample_id").aggregate(_SUMS).select(["sample_id", *(f"{a}_{b}" for a, b in _SUMS)])
    if sums is None:
        return pa.table({"sample_id": pa.array([], pa.int64())})
    return sums.sort_by("sample_id")


def _counted(directory: RunDirectory) -> Iterator[pa.Table]:
    for part in ledger_parts(directory, columns=_COLUMNS):
        if len(part):
            wide = {name: part[name].cast(pa.float64()) for name in _FIGURES}
            ones = pa.array(np.ones(len(part), np.int64))
            yield pa.table(
                {"sample_id": part["sample_id"], **wide, "rows": ones}
                | {name: part[name] for name in ("given_label", "true_label")}
            )


def _worst_first(loss: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.int64]:
    order: NDArray[np.int64] = np.lexsort((-loss, _ranks(-loss) + _ranks(weight)))
    return order


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 0 on; equal values share the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts + 1) / 2)[places]
    return ranks


def _named(labels: pa.ChunkedArray, names: list[str] | None) -> pa.ChunkedArray:
    if names is None:
        return labels.cast(pa.string())
    return pc.take(pa.array(names, pa.string()), labels)
