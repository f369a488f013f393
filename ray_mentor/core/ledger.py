"""The ledger: the append-only record of what each sample was given, when, and why."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ray_mentor.core.step_record import StepRecord

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
weighting said and ``sample_weight`` what the student was trained with (burn-in and example dropout
lie between them); ``influence`` is null where none was computed, and below 0 where training on the
sample lowered the meta loss; ``true_label`` is null where the truth is not known."""


class Ledger:
    """Rows of this rank that are not written yet."""

    def __init__(self) -> None:
        self._blocks: list[pa.RecordBatch] = []

    def append(self, epoch: int, record: StepRecord) -> None:
        """Takes down one step."""
        batch = record.batch
        n = len(batch)
        influence = record.influence.float().numpy()
        columns = {
            "sample_id": batch.ids.cpu().numpy(),
            "epoch": np.full(n, epoch, np.int32),
            "step": np.full(n, record.step),
            "loss": record.losses.float().cpu().numpy(),
            "scored_weight": record.scored.float().numpy(),
            "sample_weight": record.sample_weights.float().numpy(),
            "influence": pa.array(influence, pa.float32(), mask=np.isnan(influence)),
            "given_label": batch.labels.cpu().numpy(),
            "true_label": pa.nulls(n, pa.int64()) if batch.true_labels is None else batch.true_labels.cpu().numpy(),
        }
        arrays = [pa.array(columns[field.name], field.type) for field in SCHEMA]
        self._blocks.append(pa.RecordBatch.from_arrays(arrays, schema=SCHEMA))

    def take(self) -> pa.Table:
        """Hands over the rows that have gathered, and forgets them."""
        table = pa.Table.from_batches(self._blocks, schema=SCHEMA)
        self._blocks = []
        return table
