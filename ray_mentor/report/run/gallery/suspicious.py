"""The samples of a run whose labels look most wrong: their rows of the audit, and their course over the epochs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_mentor.data.samples.samples import Samples
from ray_mentor.report.run.differences import Floats
from ray_mentor.report.run.gallery.pictures import shown_inputs
from ray_mentor.run.audit.audit import Audit
from ray_mentor.run.audit.same_data import rows_of
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.names import IDS, table_in
from ray_mentor.run.ledger.files import ledger_parts

MOST = 100


@dataclass(frozen=True)
class Suspicious:
    """The most suspicious samples of a run, the worst first.

    Attributes:
        rows: of the audit's table.
        label: the number of the given class of each.
        loss: nats, (samples, epochs), NaN where a sample was not seen.
        weight: what the mentor said, likewise.
        shown: HTML of what each looks like; None where the data are not at hand.
        lacks: why that is so; empty otherwise.
    """

    rows: list[dict[str, Any]]
    label: list[int]
    loss: Floats
    weight: Floats
    shown: list[str] | None
    lacks: str


def suspicious(directory: RunDirectory, audit: Audit, epochs: int, samples: Samples | None, lacks: str) -> Suspicious:
    """The first hundred of an audit.

    Args:
        samples: that the run was trained on, where they are at hand.
        lacks: why they are not.
    """
    first = audit.table.slice(0, MOST)
    numbers = _numbers(directory, first["sample_id"])
    loss, weight = _courses(directory, numbers, epochs)
    rows = first.to_pylist()
    label = [audit.classes.index(row["given_label"]) for row in rows]
    shown = None
    if samples is not None:
        shown, lacks = in_pictures(samples, audit.table)
    return Suspicious(rows, label, loss, weight, shown, lacks)


def _numbers(directory: RunDirectory, ids: pa.ChunkedArray) -> NDArray[np.int64]:
    """As the ledger has them."""
    if pa.types.is_integer(ids.type):
        numbers: NDArray[np.int64] = ids.to_numpy()
        return numbers
    known = table_in(directory, IDS, {"sample_id": pa.int64(), "name": pa.large_string()})
    assert known is not None
    places = pc.index_in(pc.cast(ids, pa.large_string()), known["name"])
    found: NDArray[np.int64] = known["sample_id"].take(places).to_numpy()
    return found


def _courses(directory: RunDirectory, numbers: NDArray[np.int64], epochs: int) -> tuple[Floats, Floats]:
    loss, weight = (np.full((len(numbers), epochs), np.nan) for _ in range(2))
    wanted = pa.array(numbers)
    for part in ledger_parts(directory, columns=("sample_id", "epoch", "loss", "scored_weight")):
        own = part.filter(pc.is_in(part["sample_id"], wanted))
        epoch = own["epoch"].to_numpy()
        there = epoch < epochs
        place = pc.index_in(own["sample_id"], wanted).to_numpy()[there]
        loss[place, epoch[there]] = own["loss"].to_numpy()[there]
        weight[place, epoch[there]] = own["scored_weight"].to_numpy()[there]
    return loss, weight


def in_pictures(samples: Samples, audited: pa.Table) -> tuple[list[str] | None, str]:
    """What each of the first hundred looks like, if the samples are those of the run."""
    rows = rows_of(samples, audited)
    if rows is None:
        return None, "the data are others now than those that the run was trained on"
    first = audited.slice(0, MOST).select(["sample_id", "given_label"]).to_pylist()
    alts = [f"sample {row['sample_id']}, given {row['given_label']}" for row in first]
    try:
        return shown_inputs(samples.inputs, rows[:MOST], alts), ""
    except Exception as error:  # a data set of the user's own may raise anything
        return None, f"the data cannot be shown ({type(error).__name__}: {error})"
