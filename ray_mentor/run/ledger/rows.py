"""Rows of the ledger, as they gather in memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_mentor.core.step.record import StepRecord
from ray_mentor.data.samples.rows import Rows

SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.int64()),
        pa.field("epoch", pa.int32()),
        pa.field("step", pa.int64()),
        pa.field("loss", pa.float32()),
        pa.field("scored_weight", pa.float32()),
        pa.field("sample_weight", pa.float32()),
        pa.field("influence", pa.float32()),
        pa.field("given_label", pa.int64()),
        pa.field("true_label", pa.int64()),
        pa.field("predicted_label", pa.int32()),
        pa.field("margin", pa.float32()),
        pa.field("class_factor", pa.float32()),
        pa.field("domain", pa.int32()),
        pa.field("group", pa.int32()),
    ]
)
"""One row per sample and epoch. ``loss`` is in nats, before the step; ``scored_weight`` is what the
weighting said and ``sample_weight`` what the student was trained with (burn-in, guards and example dropout
lie between them); ``influence``, s_i = ∂M/∂ŵ_i, is null where none was computed or it is not finite: below 0, where
the meta loss on one meta batch would have fallen had the sample counted a little more; a single row's sign is mostly
chance, and sums over epochs or groups are what it is for; ``true_label`` is null where the truth is not known;
``predicted_label`` is the class of the student's largest logit before the step and ``margin`` the given label's logit
less the largest of the others, both of the pass that ``loss`` is of: −1 and NaN where the output isn't class logits;
``class_factor`` is what the loss was multiplied by for its class's sake, beside the sample weight; 1: nothing;
``domain`` is the number of the sample's source, where several are mixed, and ``group`` that of its
group, where a column says so; else −1."""

LATER = {"predicted_label": -1, "margin": math.nan, "class_factor": 1.0, "domain": -1, "group": -1}
"""Columns that ledgers of earlier versions don't have, and what stands for them there."""

ROW_BYTES = 72
"""Of a row in memory."""


_ROWS = 1 << 16  # of a block


class LedgerRows:
    """Rows of this rank that no file holds for good yet: those of epochs that have ended, and of the one under way.

    They are copied into blocks that are made rarely: what each step left behind of its own would lie between the
    large tensors of the next ones, and the process would grow by megabytes a step.
    """

    def __init__(self) -> None:
        self._blocks: list[dict[str, NDArray[Any]]] = []
        self._filled = _ROWS  # rows of the last block that are taken
        self._ended = 0

    def __len__(self) -> int:
        return _ROWS * (len(self._blocks) - 1) + self._filled

    def append(self, epoch: int, record: StepRecord, domains: Rows | None = None, groups: Rows | None = None) -> None:
        """Takes down one step; labels that are no class each, amounts or several, are all of one class.

        Args:
            domains: the source of each sample of the training split; None where there is one.
            groups: its group; None where nobody says.
        """
        labels, truth = record.labels, record.true_labels
        self._add(
            {
                "sample_id": record.ids.numpy(),
                "epoch": epoch,
                "step": record.step,
                "loss": record.losses.float().numpy(),
                "scored_weight": record.scored.float().numpy(),
                "sample_weight": record.sample_weights.float().numpy(),
                "influence": record.influence.float().numpy(),
                "predicted_label": record.predicted_label.numpy(),
                "margin": record.margin.numpy(),
                "class_factor": 1.0 if record.class_factor is None else record.class_factor.numpy(),
                "given_label": 0 if labels is None or labels.is_floating_point() else labels.numpy(),
                "true_label": 0 if truth is None else truth.numpy(),
                "domain": -1 if domains is None else domains[record.in_training.numpy()],
                "group": -1 if groups is None else groups[record.in_training.numpy()],
                _KNOWN: truth is not None,
            },
            len(record.ids),
        )

    def extend(self, rows: pa.Table) -> None:
        """Takes up rows that were written before."""
        columns = {name: _values(rows[name]) for name in SCHEMA.names}
        self._add({**columns, _KNOWN: pc.is_valid(rows["true_label"]).to_numpy()}, len(rows))

    def end_epoch(self) -> None:
        """The epoch of the rows so far has ended."""
        self._ended = len(self)

    def take_ended(self) -> pa.Table:
        """Hands over the rows of epochs that have ended, and forgets them."""
        table, ended = self.table(), self._ended
        self.__init__()  # type: ignore[misc]
        if ended < len(table):
            self.extend(table.slice(ended))
        return table.slice(0, ended)

    def table(self) -> pa.Table:
        """All rows."""
        last = len(self._blocks) - 1
        ends = [self._filled if i == last else _ROWS for i in range(len(self._blocks))]
        batches = [_record_batch(block, end) for block, end in zip(self._blocks, ends, strict=True)]
        return pa.Table.from_batches(batches, schema=SCHEMA)

    def _add(self, columns: dict[str, Any], rows: int) -> None:
        done = 0
        while done < rows:
            if self._filled == _ROWS:
                self._blocks.append({name: np.empty(_ROWS, dtype) for name, dtype in _TYPES.items()})
                self._filled = 0
            n = min(rows - done, _ROWS - self._filled)
            for name, values in columns.items():
                part = values[done : done + n] if isinstance(values, np.ndarray) else values
                self._blocks[-1][name][self._filled : self._filled + n] = part
            self._filled += n
            done += n


_KNOWN = "true label is known"
_TYPES = {**{field.name: field.type.to_pandas_dtype() for field in SCHEMA}, _KNOWN: np.bool_}


def _record_batch(block: dict[str, NDArray[Any]], rows: int) -> pa.RecordBatch:
    columns = {name: values[:rows] for name, values in block.items()}
    nulls = {"influence": np.isnan(columns["influence"]), "true_label": ~columns[_KNOWN]}
    arrays = [pa.array(columns[field.name], field.type, mask=nulls.get(field.name)) for field in SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _values(column: pa.ChunkedArray) -> NDArray[Any]:
    """A column's values; where they are null, NaN of a number and 0 of a whole one, which is what blocks hold."""
    values: NDArray[Any] = column.fill_null(math.nan if pa.types.is_floating(column.type) else 0).to_numpy()
    return values
