"""Whether samples that are read again are those that a run was trained on."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.samples import Samples
from ray_mentor.run.findings.names import told_apart


def rows_of(samples: Samples, audited: pa.Table) -> Rows | None:
    """The row of each sample of an audit; None if one is not there, or has a label of another name.

    Args:
        audited: all of it: where ids are row numbers, a row that was put in shows in the labels of those behind it.
    """
    known = pa.array(samples.ids) if samples.names is None else samples.names
    asked = audited["sample_id"]
    if pa.types.is_integer(asked.type) != pa.types.is_integer(known.type):
        return None
    rows = pc.index_in(asked.cast(known.type), known)
    if rows.null_count:
        return None
    if not given_names(samples).take(rows.combine_chunks()).equals(_in_one(audited["given_label"])):
        return None
    found: Rows = rows.to_numpy().astype(np.int64)
    return found


def given_names(samples: Samples) -> pa.StringArray:
    """The names of the labels that they were given."""
    return pa.array(told_apart(samples.classes), pa.string()).take(pa.array(samples.labels))


def _in_one(names: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays([pa.array([], pa.string()), *names.cast(pa.string()).chunks])
