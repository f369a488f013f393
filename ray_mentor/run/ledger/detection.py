"""How well sample weights, or losses, tell wrong labels from right ones; and how far the weights lie apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.ledger.files import ledger_parts

_COLUMNS = ("scored_weight", "given_label", "true_label")
_PART = 1 << 22  # of the sorted values that are counted together


@dataclass(frozen=True)
class Detection:
    """What the ledger says of wrong labels.

    Attributes:
        auroc: in [0, 1]; 0.5 for what says nothing; None where the truth is not known or all labels are right (or all
            wrong).
        by: what the samples were ranked by.
        spread: standard deviation of the last epoch's scored weights; None if it has no rows.
    """

    auroc: float | None
    by: str
    spread: float | None


def detection(directory: RunDirectory, epoch: int, *, by_loss: bool) -> Detection:
    """Of a finished run.

    Args:
        epoch: the last.
        by_loss: whether sample weights are the same for all, so that mean losses are what a user would look at.
    """
    spread = weight_spread(directory, epoch)
    if by_loss:
        return Detection(loss_auroc(directory), "mean loss", spread)
    return Detection(noise_auroc(directory, epoch), "1 − sample weight", spread)


def weight_spread(directory: RunDirectory, epoch: int) -> float | None:
    """Standard deviation of the scored weights in an epoch's rows; None if there are none."""
    count, total, squares = 0, 0.0, 0.0
    for rows in ledger_parts(directory, epoch, ("scored_weight",)):
        weights = rows["scored_weight"].to_numpy().astype(np.float64) - _CENTRE
        count, total, squares = count + len(weights), total + weights.sum(), squares + (weights**2).sum()
    return float(np.sqrt(max(squares / count - (total / count) ** 2, 0.0))) if count else None


_CENTRE = 0.5  # of [0, 1]: squares of what lies around 0 lose fewer digits


def loss_auroc(directory: RunDirectory) -> float | None:
    """The same of each sample's mean loss over all epochs; some 40 bytes a sample stay.

    Returns:
        As :func:`noise_auroc`.
    """
    sums: pa.Table | None = None
    for rows in ledger_parts(directory, None, ("sample_id", "loss", "given_label", "true_label")):
        if rows["true_label"].null_count:
            return None
        wrong = pc.not_equal(rows["given_label"], rows["true_label"]).cast(pa.int8())
        part = pa.table({"id": rows["sample_id"], "loss": rows["loss"].cast(pa.float64()), "wrong": wrong})
        counted = part.append_column("n", pa.array(np.ones(len(part), np.int64)))
        sums = _by_sample(counted if sums is None else pa.concat_tables([sums, counted]))
    if sums is None:
        return None
    means = sums["loss"].to_numpy() / sums["n"].to_numpy()
    ranks = np.unique(-means, return_inverse=True)[1].astype(np.uint32)
    keys = (ranks << np.uint32(1)) | sums["wrong"].to_numpy().astype(np.uint32)
    keys.sort()
    return _auroc(keys)


def _by_sample(rows: pa.Table) -> pa.Table:
    found = rows.group_by("id").aggregate([("loss", "sum"), ("wrong", "max"), ("n", "sum")])
    return pa.table({"id": found["id"], "loss": found["loss_sum"], "wrong": found["wrong_max"], "n": found["n_sum"]})


def noise_auroc(directory: RunDirectory, epoch: int) -> float | None:
    """AUROC of 1 − scored weight, over the ledger's rows of an epoch, against given label ≠ true label.

    (Σ over wrong labels of the right ones that weigh more, those that weigh the same counting half) / (wrong · right).
    The ledger is read file by file; 4 bytes a row stay, and some megabytes.

    Returns:
        In [0, 1]; 0.5 for weights that say nothing. None where the truth is not known or all labels
        are right (or all wrong).
    """
    parts: list[NDArray[np.uint32]] = []
    for rows in ledger_parts(directory, epoch, _COLUMNS):
        if rows["true_label"].null_count:
            return None
        parts.append(_keys(rows))
    keys = np.concatenate([np.empty(0, np.uint32), *parts])
    del parts
    keys.sort()
    return _auroc(keys)


def _keys(rows: pa.Table) -> NDArray[np.uint32]:
    """Twice the bits of a weight, which lies in [0, 1] and so is in their order; one more where the label is wrong."""
    weights = rows["scored_weight"].to_numpy() + np.float32(0)  # −0 and 0 are one weight
    wrong = pc.not_equal(rows["given_label"], rows["true_label"]).to_numpy(zero_copy_only=False)
    keys: NDArray[np.uint32] = (weights.view(np.uint32) << np.uint32(1)) | wrong.astype(np.uint32)
    return keys


def _auroc(keys: NDArray[np.uint32]) -> float | None:
    n_wrong = sum(int((keys[start : start + _PART] & 1).sum(dtype=np.int64)) for start in range(0, len(keys), _PART))
    n_right = len(keys) - n_wrong
    if not n_wrong or not n_right:
        return None
    halves, right_below, start = 0, 0, 0  # twice the pairs of a right label that weighs less than a wrong one
    while start < len(keys):
        stop = int(np.searchsorted(keys, keys[min(start + _PART, len(keys)) - 1] | np.uint32(1), side="right"))
        part = keys[start:stop]  # whole groups of equal weights
        firsts = np.flatnonzero(np.diff(part >> np.uint32(1), prepend=~(part[:1] >> np.uint32(1))))
        sizes = np.diff(firsts, append=len(part))
        wrong = np.add.reduceat((part & 1).astype(np.int64), firsts)
        right = sizes - wrong
        below = right_below + np.cumsum(right) - right
        halves += int(wrong @ (2 * below + right))
        right_below += int(right.sum())
        start = stop
    return 1 - halves / (2 * n_wrong * n_right)
