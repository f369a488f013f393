"""The ledger's rows added up by sample: streamed file by file, for a block of samples at a time.

A ledger may be larger than memory; so may be what is kept of all samples, of which one number a class is. What a pass
over the files keeps is that of one block; there are as many passes as blocks, and one before them for the ids.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.ledger.files import files_that_count, ledger_parts

COLUMNS = (
    "sample_id", "epoch", "loss", "scored_weight", "influence", "given_label", "true_label", "predicted_label",
    "margin",
)  # fmt: skip
_NAMES = ("rows", "weight", "margin", "margins", "wrong", "right", "influence", "influences",
          "loss_early", "early", "loss_late", "late")  # fmt: skip
_BYTES = 1 << 28  # of the sums of a block

LATEST = 10
"""The epoch by which what is said of trusted samples counts, however long burn-in is: wrong labels are learnt in it."""

UNKNOWN = -1
"""Of a label that is not known."""


@dataclass(frozen=True)
class Span:
    """What a ledger is about.

    Attributes:
        files: of the ledger, as they were: a run may go on.
        ids: of the samples, sorted.
        whole: epochs that have all their rows: the last one may be under way. At least 1.
        classes: C, by the labels and predictions in it.
    """

    files: tuple[str, ...]
    ids: NDArray[np.int64]
    whole: int
    classes: int

    @property
    def edge(self) -> int:
        """Whole epochs that are early, and as many that are late: a third of them each."""
        return math.ceil(self.whole / 3)

    def soon_after(self, burn_in: int) -> range:
        """Epochs in which samples that weigh less have not yet been trained on much less than others.

        As many as there were before, 10 at most, and two; of a run that has not come so far those that there are, its
        last one at least.
        """
        begins = min(burn_in, LATEST)
        return range(min(begins, self.whole - 1), min(2 * begins + 2, self.whole))


def span_of(directory: RunDirectory) -> Span:
    """The first pass over the files."""
    files, ids = tuple(files_that_count(directory)), np.zeros(0, np.int64)
    rows, highest = np.zeros(0, np.int64), UNKNOWN
    columns = ("sample_id", "epoch", "given_label", "true_label", "predicted_label")
    for part in ledger_parts(directory, columns=columns, names=files):
        if not len(part):
            continue
        found = np.unique(part["sample_id"].to_numpy())
        place = np.searchsorted(ids, found)
        fresh = found[(place == len(ids)) | (ids[np.minimum(place, len(ids) - 1)] != found)] if len(ids) else found
        ids = np.union1d(ids, fresh) if len(fresh) else ids
        more = np.bincount(part["epoch"].to_numpy(), minlength=len(rows))
        rows = more + np.pad(rows, (0, len(more) - len(rows)))
        predicted = pc.max(part["predicted_label"]).as_py()
        labels = (pc.max(part[name]).as_py() for name in ("given_label", "true_label"))
        highest = max(highest, predicted, *(label for label in labels if label is not None))
    under_way = len(rows) > 1 and rows[-1] < rows[:-1].max()
    return Span(files, ids, max(len(rows) - under_way, 1), highest + 1)


@dataclass(frozen=True)
class Sums:
    """Of a block of samples, whose ids are ``ids``.

    Attributes:
        of: sums and counts by name, a number a sample: ``rows``; ``weight`` (scored), ``margin`` (over ``margins``),
            ``wrong`` and ``right`` predictions, ``influence`` (over ``influences``), ``loss_early`` (over ``early``)
            and ``loss_late`` (over ``late``).
        given: the label of each.
        true: the true one; :data:`UNKNOWN` where it isn't known.
        votes: predictions after burn-in, of each class.
        soon: predictions of each class in the epochs :meth:`Span.soon_after`.
    """

    ids: NDArray[np.int64]
    of: dict[str, NDArray[np.float64]]
    given: NDArray[np.int64]
    true: NDArray[np.int64]
    votes: NDArray[np.int32]
    soon: NDArray[np.int32]


def sums(directory: RunDirectory, span: Span, burn_in: int, at_most: int = _BYTES) -> Iterator[Sums]:
    """Block by block, in the order of the ids.

    Args:
        burn_in: epochs whose predictions, right and wrong, margins and weights do not count, as nobody has learnt yet;
            of a run that has no others yet its last whole one counts, and what there is of the one under way.
        at_most: bytes of a block.
    """
    size = max(1, at_most // (8 * (len(_NAMES) + 3) + 8 * span.classes))
    for start in range(0, len(span.ids), size):
        yield _block(directory, span, min(burn_in, span.whole - 1), span.ids[start : start + size])


def _block(directory: RunDirectory, span: Span, burn_in: int, ids: NDArray[np.int64]) -> Sums:
    n = len(ids)
    found = Sums(
        ids,
        {name: np.zeros(n) for name in _NAMES},
        np.full(n, UNKNOWN),
        np.full(n, UNKNOWN),
        *(np.zeros((n, span.classes), np.int32) for _ in range(2)),
    )
    for part in ledger_parts(directory, columns=COLUMNS, names=span.files):
        for batch in part.to_batches():
            _add(found, batch, span, burn_in)
    return found


def _add(found: Sums, rows: pa.RecordBatch, span: Span, burn_in: int) -> None:
    place, inside = _places(found.ids, rows["sample_id"].to_numpy())
    if inside is not None:
        rows = rows.filter(pa.array(inside))
    epoch = rows["epoch"].to_numpy()
    given, predicted = rows["given_label"].to_numpy(), rows["predicted_label"].to_numpy()
    found.given[place] = given
    found.true[place] = rows["true_label"].fill_null(UNKNOWN).to_numpy()
    loss = rows["loss"].to_numpy()
    influence = rows["influence"].fill_null(math.nan).to_numpy(zero_copy_only=False)
    margin = rows["margin"].to_numpy()
    learnt = epoch >= burn_in
    spoken = learnt & (predicted >= 0)
    early, late = epoch < span.edge, epoch >= span.whole - span.edge
    heard, known = np.isfinite(influence), learnt & np.isfinite(margin)
    for name, which, values in (
        ("rows", learnt, None),
        ("weight", learnt, rows["scored_weight"].to_numpy()),
        ("margin", known, margin),
        ("margins", known, None),
        ("wrong", spoken & (predicted != given), None),
        ("right", spoken & (predicted == given), None),
        ("influence", heard, influence),
        ("influences", heard, None),
        ("loss_early", early, loss),
        ("early", early, None),
        ("loss_late", late, loss),
        ("late", late, None),
    ):
        added = np.ones(int(which.sum())) if values is None else values[which].astype(np.float64)
        np.add.at(found.of[name], place[which], added)
    np.add.at(found.votes, (place[spoken], predicted[spoken]), 1)
    epochs = span.soon_after(burn_in)
    soon = (epoch >= epochs.start) & (epoch < epochs.stop) & (predicted >= 0)
    np.add.at(found.soon, (place[soon], predicted[soon]), 1)


def _places(ids: NDArray[np.int64], asked: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.bool_] | None]:
    """Where each row's sample is in the block, and which rows have one in it; None: all."""
    if int(ids[-1]) - int(ids[0]) == len(ids) - 1:
        place, inside = asked - ids[0], (asked >= ids[0]) & (asked <= ids[-1])
    else:
        place = np.searchsorted(ids, asked)
        inside = (place < len(ids)) & (ids[np.minimum(place, len(ids) - 1)] == asked)
    return (place, None) if inside.all() else (place[inside], inside)
