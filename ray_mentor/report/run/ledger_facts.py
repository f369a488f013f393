"""What a page says of a ledger: sums that fit in memory whatever the ledger's size, from one pass over it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_mentor.report.run.differences import Differences, Floats, whole_steps
from ray_mentor.report.run.folder import Folder
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.ledger.files import ledger_parts

MOST_FRAMES = 20
LOSSES, WEIGHTS, DIFFERENCES, BARS = 40, 40, 60, 20
"""Cells along the axes of what is drawn: of losses and weights, of loss differences, and bars of a histogram."""

_COLUMNS = ("epoch", "step", "loss", "scored_weight", "sample_weight", "given_label", "true_label")
_SHOWN = 0.995  # quantile of the losses that the axes go to


@dataclass
class LedgerFacts:
    """Sums over a ledger's rows; those of right and of wrong labels apart, in this order, where the truth is known.

    Attributes:
        epochs: that are looked at.
        frames: stretches of epochs, 20 at most.
        highest: loss in nats that the cells go to; what is above counts to the last cell.
        truth: whether it is known which labels are right; else all rows are in the first of two groups.
        count: rows, (epochs, 2).
        weight: sums of the sample weights that the student learned under, (epochs, 2).
        square: of their squares.
        scored: sums of what the mentor said, (epochs, 2).
        bars: rows by scored weight, (frames, 2, BARS).
        class_count: rows by given label, (epochs, classes).
        class_scored: sums of scored weights.
        class_loss: of losses.
        cells: rows by loss and scored weight, (frames, LOSSES, WEIGHTS).
        loss_count: rows by loss, (frames, 2, LOSSES).
        loss_scored: sums of scored weights by loss.
        plane_count: rows by loss and loss difference (from −highest to highest), (frames, LOSSES, DIFFERENCES).
        plane_scored: sums of their scored weights.
        level: the running percentile that loss differences are from, at the end.
    """

    epochs: int
    frames: int
    highest: float
    truth: bool
    count: Floats
    weight: Floats
    square: Floats
    scored: Floats
    bars: Floats
    class_count: Floats
    class_scored: Floats
    class_loss: Floats
    cells: Floats
    loss_count: Floats
    loss_scored: Floats
    plane_count: Floats
    plane_scored: Floats
    level: float = 0.0

    @property
    def spread(self) -> float:
        """Of what the mentor said: the widest range of mean weights over the losses in a frame."""
        counted = self.loss_count.sum(axis=1)
        means = np.divide(self.loss_scored.sum(axis=1), counted, out=np.full_like(counted, np.nan), where=counted > 0)
        filled = np.where(np.isnan(means), means[:, :1], means)
        return float(np.nanmax(np.nanmax(filled, axis=1) - np.nanmin(filled, axis=1), initial=0.0))

    def frame_of(self, epoch: NDArray[np.int64]) -> NDArray[np.int64]:
        """The stretch that an epoch belongs to."""
        return epoch * self.frames // self.epochs

    def frame_text(self, frame: int) -> str:
        """Which epochs a stretch is, from 1 on."""
        own = np.flatnonzero(self.frame_of(np.arange(self.epochs)) == frame) + 1
        first, last = int(own[0]), int(own[-1])
        return f"epoch {first} of {self.epochs}" if first == last else f"epochs {first} to {last} of {self.epochs}"

    def add(self, rows: pa.Table, difference: Floats) -> None:
        """Takes rows in."""
        epoch, label = rows["epoch"].to_numpy().astype(np.int64), rows["given_label"].to_numpy()
        group = np.zeros(len(rows), np.int64)
        if self.truth:
            group = (rows["true_label"].fill_null(-1).to_numpy() != label).astype(np.int64)
        loss = rows["loss"].to_numpy().astype(np.float64)
        weight, scored = (rows[name].to_numpy().astype(np.float64) for name in ("sample_weight", "scored_weight"))
        frame, at = self.frame_of(epoch), _cell(loss / self.highest, LOSSES)
        plane = _cell((difference / self.highest + 1) / 2, DIFFERENCES)
        for total, value in (
            (self.count, None),
            (self.weight, weight),
            (self.square, weight**2),
            (self.scored, scored),
        ):
            _add(total, (epoch, group), value)
        _add(self.bars, (frame, group, _cell(scored, BARS)))
        for total, value in ((self.class_count, None), (self.class_scored, scored), (self.class_loss, loss)):
            _add(total, (epoch, label), value)
        _add(self.cells, (frame, at, _cell(scored, WEIGHTS)))
        _add(self.loss_count, (frame, group, at))
        _add(self.loss_scored, (frame, group, at), scored)
        _add(self.plane_count, (frame, at, plane))
        _add(self.plane_scored, (frame, at, plane), scored)


def ledger_facts(directory: RunDirectory, folder: Folder) -> LedgerFacts | None:
    """Of the epochs that have ended, or of what there is of the first; None where the ledger has no rows.

    Raises:
        UserError: a file is gone or damaged.
    """
    epochs = max(len(folder.metrics), 1)
    looked = sorted({0, epochs // 2, epochs - 1})
    highest, truth, classes = _bounds(directory, looked)
    if not highest:
        return None
    n_classes = max(classes, len(folder.classes or ()))
    facts = _empty(epochs, highest, n_classes, truth=truth)
    settings = folder.settings
    differences = Differences(settings.get("loss_percentile", 0.6), settings.get("percentile_decay", 0.9))
    for rows in whole_steps(directory, _COLUMNS):
        found = differences(rows["step"].to_numpy(), rows["loss"].to_numpy().astype(np.float64))
        known = rows["epoch"].to_numpy() < epochs
        facts.add(rows if known.all() else rows.filter(pa.array(known)), found[known])
    facts.level = differences.level or 0.0
    return facts


def _bounds(directory: RunDirectory, epochs: list[int]) -> tuple[float, bool, int]:
    """The highest loss to show (0 without rows), whether the truth is known, and how many classes there are."""
    highest, truth, classes = 0.0, False, 0
    for epoch in epochs:
        for rows in ledger_parts(directory, epoch, ("epoch", "loss", "given_label", "true_label")):
            if len(rows):
                highest = max(highest, float(np.quantile(rows["loss"].to_numpy(), _SHOWN)), 1e-3)
                truth = truth or rows["true_label"].null_count < len(rows)
                classes = max(classes, pc.max(rows["given_label"]).as_py() + 1)
    return highest, truth, classes


def _empty(epochs: int, highest: float, classes: int, *, truth: bool) -> LedgerFacts:
    frames = min(MOST_FRAMES, epochs)

    def zeros(*shape: int) -> Floats:
        return np.zeros(shape)

    by_group, by_class = (epochs, 2), (epochs, classes)
    return LedgerFacts(
        epochs,
        frames,
        highest,
        truth,
        count=zeros(*by_group),
        weight=zeros(*by_group),
        square=zeros(*by_group),
        scored=zeros(*by_group),
        bars=zeros(frames, 2, BARS),
        class_count=zeros(*by_class),
        class_scored=zeros(*by_class),
        class_loss=zeros(*by_class),
        cells=zeros(frames, LOSSES, WEIGHTS),
        loss_count=zeros(frames, 2, LOSSES),
        loss_scored=zeros(frames, 2, LOSSES),
        plane_count=zeros(frames, LOSSES, DIFFERENCES),
        plane_scored=zeros(frames, LOSSES, DIFFERENCES),
    )


def _cell(share: Floats, cells: int) -> NDArray[np.int64]:
    """Which of so many equal parts of [0, 1] a value is in; what is outside of it counts to the ends."""
    return np.clip(np.nan_to_num(share * cells), 0, cells - 1).astype(np.int64)


def _add(total: Floats, at: tuple[NDArray[np.int64], ...], value: Floats | None = None) -> None:
    place = np.ravel_multi_index(at, total.shape)
    total += np.bincount(place, value, minlength=total.size).reshape(total.shape)


def means(total: Floats, count: Floats) -> Floats:
    """Sums over counts; NaN where nothing is."""
    found: Floats = np.divide(total, count, out=np.full(np.shape(count), np.nan), where=count > 0)
    return found
