"""The ledger: the append-only record of what each sample was given, when, and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_mentor.core.step.record import StepRecord

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
    ]
)
"""One row per sample and epoch. ``loss`` is in nats, before the step; ``scored_weight`` is what the
weighting said and ``sample_weight`` what the student was trained with (burn-in, guards and example dropout
lie between them); ``influence``, s_i = ∂M/∂ŵ_i, is null where none was computed or it is not finite: below 0, where
the meta loss on one meta batch would have fallen had the sample counted a little more; a single row's sign is mostly
chance, and sums over epochs or groups are what it is for; ``true_label`` is null where the truth is not known."""


_ROWS = 1 << 16  # of a block


class Ledger:
    """Rows of this rank that are not written yet.

    They are copied into blocks that are made rarely: what each step left behind of its own would lie between the
    large tensors of the next ones, and the process would grow by megabytes a step.
    """

    def __init__(self) -> None:
        self._blocks: list[dict[str, NDArray[Any]]] = []
        self._filled = _ROWS  # rows of the last block that are taken

    def append(self, epoch: int, record: StepRecord) -> None:
        """Takes down one step."""
        batch = record.batch
        known = batch.true_labels is not None
        columns: dict[str, Any] = {
            "sample_id": batch.ids.cpu().numpy(),
            "epoch": epoch,
            "step": record.step,
            "loss": record.losses.float().cpu().numpy(),
            "scored_weight": record.scored.float().numpy(),
            "sample_weight": record.sample_weights.float().numpy(),
            "influence": record.influence.float().numpy(),
            "given_label": batch.labels.cpu().numpy(),
            "true_label": batch.true_labels.cpu().numpy() if batch.true_labels is not None else 0,
            _KNOWN: known,
        }
        done = 0
        while done < len(batch):
            if self._filled == _ROWS:
                self._blocks.append({name: np.empty(_ROWS, dtype) for name, dtype in _TYPES.items()})
                self._filled = 0
            n = min(len(batch) - done, _ROWS - self._filled)
            for name, values in columns.items():
                part = values[done : done + n] if isinstance(values, np.ndarray) else values
                self._blocks[-1][name][self._filled : self._filled + n] = part
            self._filled += n
            done += n

    def take(self) -> pa.Table:
        """Hands over the rows that have gathered, and forgets them."""
        last = len(self._blocks) - 1
        ends = [self._filled if i == last else _ROWS for i in range(len(self._blocks))]
        batches = [_record_batch(block, end) for block, end in zip(self._blocks, ends, strict=True)]
        self.__init__()  # type: ignore[misc]
        return pa.Table.from_batches(batches, schema=SCHEMA)


_KNOWN = "true label is known"
_TYPES = {**{field.name: field.type.to_pandas_dtype() for field in SCHEMA}, _KNOWN: np.bool_}


def _record_batch(block: dict[str, NDArray[Any]], rows: int) -> pa.RecordBatch:
    columns = {name: values[:rows] for name, values in block.items()}
    nulls = {"influence": np.isnan(columns["influence"]), "true_label": ~columns[_KNOWN]}
    arrays = [pa.array(columns[field.name], field.type, mask=nulls.get(field.name)) for field in SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)
