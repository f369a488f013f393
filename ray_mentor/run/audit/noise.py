"""How many labels are wrong, and which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_mentor.run.accuracy import wilson
from ray_mentor.run.audit.by_trusted import Found
from ray_mentor.run.audit.score import THRESHOLD
from ray_mentor.wording import counted

DOUBT = 0.3
"""How far u may lie from the threshold, for a label to be one that could be either. Chosen as those are."""

FALSE_ALARMS = 0.01
"""Of right labels, how many a run may take for wrong beyond doubt: as many at most on clean digits, seeds 0 to 2."""


@dataclass(frozen=True)
class NoiseRate:
    """The share of labels that are wrong.

    Told from trusted samples where there are enough (:mod:`~ray_mentor.run.audit.by_trusted`), else from each u.

    Attributes:
        rate: of wrong labels; without trusted samples, of samples taken for wrong.
        low: of its 95 % interval; without trusted samples as many as are wrong beyond doubt, u > 0.4, at the lower end
            of Wilson's 95 % interval of that share, less the 1 % that may be false alarms.
        high: likewise; without them as many as could be wrong, u > −0.2, at the upper end.
        count: of wrong labels.
        samples: N.
        trusted: samples, known to be right and in training, from which it is told; 0: from none.
    """

    rate: float
    low: float
    high: float
    count: int
    samples: int
    trusted: int = 0

    def __str__(self) -> str:
        by = f", by the student's errors on {self.trusted:,} trusted samples" if self.trusted else ""
        return (
            f"{self.rate:.1%} of the labels look wrong ({self.low:.1%} to {self.high:.1%}{by}): {self.count:,} of "
            f"{self.samples:,}"
        )


LEAST_KAPPA, FEWEST = 0.05, 30
"""Agreement beyond chance below which a student has learnt nothing that its predictions could tell of labels, and how
many samples it takes to say so."""


def knows_nothing(given: NDArray[np.int64], suggested: NDArray[np.int64], classes: int) -> bool:
    """Whether what a student predicts agrees with given labels as often as by chance.

    Cohen's κ = (p_o − p_e)/(1 − p_e), p_o the share of samples whose suggested label is the given one, p_e = Σ_c of the
    products of both shares of class c. Nothing is known where κ is below 0.05, or within two of its standard errors
    under chance, √(p_e/(n(1 − p_e))), of 0 (Cohen 1960).

    Args:
        suggested: −1 where nothing is.
    """
    known = suggested >= 0
    n = int(known.sum())
    if n < FEWEST:
        return False
    shares = [np.bincount(labels[known], minlength=classes) / n for labels in (given, suggested)]
    if shares[0].max() == 1:
        return False  # one class is given, and chance agrees with it as often as whoever knows
    by_chance = float(shares[0] @ shares[1])
    agreement = float((given[known] == suggested[known]).mean())
    kappa = (agreement - by_chance) / (1 - by_chance)
    return bool(kappa < max(LEAST_KAPPA, 2 * (by_chance / (n * (1 - by_chance))) ** 0.5))


def noise_rate(u: NDArray[np.float32], is_issue: NDArray[np.bool_]) -> NoiseRate:
    """From each sample's u (:func:`~ray_mentor.run.audit.score.suspicion`), and which are taken for wrong."""
    n = len(u)
    surely, maybe = (int((u > THRESHOLD + shift).sum()) for shift in (DOUBT, -DOUBT))
    likely = int(is_issue.sum())
    low = max(wilson(min(surely, likely), n)[0] - FALSE_ALARMS, 0.0)
    return NoiseRate(likely / n, low, wilson(max(maybe, likely), n)[1], likely, n)


def noise_matrix(
    given: NDArray[np.int64], suggested: NDArray[np.int64], is_issue: NDArray[np.bool_], classes: int
) -> NDArray[np.int64]:
    """Counts, a row a true class as it is estimated (suggested where a label is taken for wrong, else given), a column
    a given one. A row over its sum is P(given | true).
    """
    true = np.where(is_issue & (suggested >= 0), suggested, given)
    return np.bincount(true * classes + given, minlength=classes * classes).reshape(classes, classes)


def estimated(found: Found, given: NDArray[np.int64], classes: int) -> tuple[NoiseRate, NDArray[np.int64]]:
    """The rate and the matrix of a joint distribution, in whole samples, of each given class as many as there are."""
    n = np.bincount(given, minlength=classes)
    off = found.joint * (1 - np.eye(classes))
    share = off.sum(axis=1) / np.maximum(found.joint.sum(axis=1), _LEAST)
    wrong = _whole(n * share)
    counts = np.stack(
        [_whole(row) for row in wrong[:, None] * off / np.maximum(off.sum(axis=1, keepdims=True), _LEAST)]
    )
    count, samples = int(wrong.sum()), len(given)
    rate = count / samples
    low, high = min(found.low, rate), max(found.high, rate)
    return NoiseRate(rate, low, high, count, samples, found.trusted), (counts + np.diag(n - wrong)).T


_LEAST = 1e-12


def _whole(numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole numbers of the same rounded sum, each less than 1 off: those with the largest rest are rounded up."""
    down = np.floor(numbers + _LEAST).astype(np.int64)
    left = round(float(numbers.sum())) - int(down.sum())
    down[np.argsort(down - numbers, kind="stable")[:left]] += 1
    return down


def most_suspicious(
    score: NDArray[np.float32], given: NDArray[np.int64], suggested: NDArray[np.int64], matrix: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Of each given class as many samples as are wrong by the matrix, of the highest score and another suggested label.

    Where fewer of a class suggest another label, the highest of what is left of all classes, so that as many are chosen
    in all: few trusted samples say more surely how many labels are wrong than of which class they are. Where fewer of
    all suggest another label, these.
    """
    wrong = matrix.sum(axis=0) - matrix.diagonal()
    chosen = np.zeros(len(score), bool)
    order = np.argsort(-score, kind="stable")
    order = order[(suggested[order] != given[order]) & (suggested[order] >= 0)]
    for label, count in enumerate(wrong.tolist()):
        chosen[order[given[order] == label][:count]] = True
    left = int(wrong.sum() - chosen.sum())
    chosen[order[~chosen[order]][:left]] = True
    return chosen


def by_class(matrix: NDArray[np.int64], names: Sequence[str]) -> pa.Table:
    """A row a class, the one with the largest share of wrong labels first.

    Returns:
        ``class``; ``given`` samples of this label; ``wrong``, how many of them are taken for wrong, and
        ``wrong_share``; ``missing``, how many samples of this class are given another label, and ``missing_share`` of
        those that are of the class; ``mostly``: what its wrong labels are mostly taken to be, null without any.
    """
    given, true, right = matrix.sum(axis=0), matrix.sum(axis=1), matrix.diagonal()
    wrong, missing = given - right, true - right
    with np.errstate(invalid="ignore"):
        shares = np.nan_to_num(wrong / given), np.nan_to_num(missing / true)
    off = matrix - np.diag(right)
    mostly = [names[int(off[:, k].argmax())] if wrong[k] else None for k in range(len(names))]
    table = pa.table(
        {
            "class": list(names),
            "given": given,
            "wrong": wrong,
            "wrong_share": shares[0],
            "missing": missing,
            "missing_share": shares[1],
            "mostly": pa.array(mostly, pa.string()),
        }
    )
    return table.take(pa.array(np.lexsort((np.arange(len(names)), -wrong, -shares[0]))))


def unlearnt(matrix: NDArray[np.int64], names: Sequence[str]) -> list[str]:
    """What is to be said of classes that next to no sample is taken to be of: all that are given as one look wrong."""
    given, true = matrix.sum(axis=0), matrix.sum(axis=1)
    few = np.flatnonzero((given >= _FEW) & (true <= _NEXT_TO_NONE * given)).tolist()
    return [
        f"{counted(int(true[k]), 'sample')} taken to be of class {names[k]!r}, though {given[k]:,} are given as it: "
        "where a student has not learnt a class, right labels look wrong"
        for k in few
    ]


_FEW, _NEXT_TO_NONE = 5, 0.05


def confusions(matrix: NDArray[np.int64], names: Sequence[str]) -> pa.Table:
    """Pairs of classes of which one is given in place of the other, the most frequent first.

    Returns:
        ``given``, ``suggested``, ``count``, and its ``share`` of the samples that are given the former.
    """
    true, given = np.nonzero(matrix - np.diag(matrix.diagonal()))
    counts = matrix[true, given]
    order = np.lexsort((given, true, -counts))
    of_given = np.maximum(matrix.sum(axis=0), 1)
    return pa.table(
        {
            "given": [names[k] for k in given[order]],
            "suggested": [names[k] for k in true[order]],
            "count": counts[order],
            "share": (counts / of_given[given])[order],
        }
    )
