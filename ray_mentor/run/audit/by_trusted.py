"""How many labels are wrong, where samples whose labels are known say how often the student is.

Of all samples the share J[g, p] is given g and taken for p by the student; of trusted ones of class t the share
P[p | t] is. If these are trained on as the others are, and if what it says depends on the given label by the true one
alone,

    J[g, p] = Σ_t N[g, t]·P[p | t] ,   noise rate = 1 − trace N ,

N being the share of samples that are given g and are t. Both hold soon after burn-in alone: later a student knows the
trusted samples by heart, whose weight is 1, and not the hard ones among the others, whose weight a mentor makes small;
and wrong labels, where there is no mentor. N is that of the largest likelihood Σ J log(N·P), by
expectation maximisation (Dempster et al. 1977). P is known of few samples, and what it lacks N makes up for: where no
label is wrong, some seem to be. How many is seen by doing the same with data that are drawn with N of some rate, and
the rate is the one at which what was found is what is found on average (indirect inference, Gourieroux et al. 1993).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_mentor.run.audit.confusion import LEAST, TINY, Table, confusion, drawn_confusions, evenness
from ray_mentor.run.audit.sums import Sums

FEWEST = 5
"""Trusted samples of each class that it takes."""

MOST_CLASSES = 100
"""For which it is done: what it costs rises as their square to cube."""

_STEPS = 200
_DRAWS, _DRAWS_OF_MANY, _MANY = 100, 8, 30  # of data; fewer of more classes than that
_RATES, _BEYOND, _MORE, _MORE_LIKE = 9, 1.3, 0.05, 0.01
"""Of how many rates data are drawn: from 0 to a little more than what the student contradicts."""

_TAIL, _Z = 0.01, 2.7
"""How many draws may lie beyond what was found, on either side, and standard deviations that may lie between."""


@dataclass(frozen=True)
class Heard:
    """What the student said of samples of a block, or of all: add them up.

    Attributes:
        said: J, by given and predicted label, soon after burn-in (:meth:`~ray_mentor.run.audit.sums.Span.soon_after`).
        shares: Σ_i v_i by given label, v_i being the shares of a sample's predictions there.
        squares: Σ_i |v_i|².
        samples: of each given label.
    """

    said: Table
    shares: Table
    squares: float
    samples: Table

    @staticmethod
    def of(found: Sums) -> Heard:
        """Of a block."""
        votes, classes = found.soon.astype(np.float64), found.soon.shape[1]
        total = votes.sum(axis=1, keepdims=True)
        known = (total[:, 0] > 0) & (found.given >= 0)
        v, given = votes[known] / total[known], found.given[known]
        said, shares = np.zeros((classes, classes)), np.zeros((classes, classes))
        np.add.at(said, given, votes[known])
        np.add.at(shares, given, v)
        samples = np.bincount(given, minlength=classes).astype(np.float64)
        return Heard(said, shares, float((v**2).sum()), samples)

    def __add__(self, other: Heard) -> Heard:
        return Heard(
            self.said + other.said,
            self.shares + other.shares,
            self.squares + other.squares,
            self.samples + other.samples,
        )

    @property
    def alike(self) -> float:
        """In (0, 1]: how far what is said of a sample over the epochs counts as one answer.

        The variance of v_i between the samples of a given label over that of single predictions: 1 where a sample has
        the same answer in every epoch, and each sample is one draw; small where epochs are as good as samples.
        """
        between = (self.shares**2).sum(axis=1) / np.maximum(self.samples, 1)
        n, same = self.samples.sum(), between.sum()
        return float(np.clip((self.squares - same) / max(n - same, LEAST), 0.05, 1.0))


@dataclass(frozen=True)
class Found:
    """How many labels are wrong.

    Attributes:
        joint: N, a row a given class, a column a true one; it sums to 1.
        rate: 1 − trace N.
        low: of its 95 % interval.
        high: likewise.
        trusted: samples that say so.
    """

    joint: Table
    rate: float
    low: float
    high: float
    trusted: int


def trusted_counts(rows: pa.Table, classes: int, epochs: range) -> Table:
    """Trusted samples by class and predicted class, means over some epochs.

    Args:
        rows: as :data:`~ray_mentor.run.meta_set.said.SCHEMA` has them.
    """
    epoch, label, predicted, count = (rows[name].to_numpy() for name in ("epoch", "label", "predicted", "count"))
    counts = np.zeros((classes, classes))
    use = (epochs.start <= epoch) & (epoch < epochs.stop) & (label < classes) & (predicted < classes)
    np.add.at(counts, (label[use], predicted[use]), count[use])
    means: Table = counts / max(len(np.unique(epoch[use])), 1)
    return means


def short_of(trusted: Table, said: Table) -> int | None:
    """The first class that is given and of which there are fewer than :data:`FEWEST` trusted samples; None: none is."""
    given = said.sum(axis=1) > 0
    few = np.flatnonzero(given & (trusted.sum(axis=1) < FEWEST - LEAST))
    return int(few[0]) if len(few) else None


def found_by(heard: Heard, trusted: Table, samples: int) -> Found:
    """N and its rate, with an interval that covers what few trusted and few samples leave open.

    The data that are drawn are the same each time.

    Args:
        trusted: T, trusted samples by class and predicted class; :func:`short_of` none.
        samples: n, of which ``heard`` is.
    """
    draw = np.random.default_rng(0)
    J, alike, classes = heard.said / heard.said.sum(), heard.alike, len(trusted)
    is_known = trusted.sum(axis=1) >= FEWEST - LEAST
    even = evenness(trusted)
    N = joint(J, confusion(trusted, even), is_known)
    found = float(_rate(N))
    count = _DRAWS if classes <= _MANY else _DRAWS_OF_MANY
    P = drawn_confusions(trusted / alike, even, count, draw)
    sizes = np.maximum(np.rint(trusted.sum(axis=1) / alike), 1).astype(np.int64)
    drawn = draw.multinomial(sizes, P).astype(np.float64) * (trusted.sum(axis=1) / sizes)[:, None]
    fitted = confusion(drawn, even)
    like = _like(N, J, is_known)
    rates = min(_BEYOND * max(found, 1 - float(np.trace(J))) + _MORE, 1.0) * np.linspace(0, 1, _RATES) ** 1.5
    again = np.empty((_RATES, count))
    for place, rate in enumerate(rates):
        shown = (scaled(like, rate / max(float(_rate(like)), LEAST)) @ P).reshape(count, -1)
        said = draw.multinomial(samples, shown / shown.sum(axis=1, keepdims=True)).reshape(P.shape) / samples
        again[place] = _rate(joint(said, fitted, is_known))
    middle = float(np.interp(found, _rising(again.mean(axis=1)), rates))
    low, high = _between(rates, again, found)
    base = N if found > LEAST else like
    N = scaled(base, middle / max(float(_rate(base)), LEAST))
    middle = float(_rate(N))
    return Found(N, middle, min(low, middle), max(high, middle), round(float(trusted.sum())))


def _like(N: Table, J: Table, is_known: NDArray[np.bool_]) -> Table:
    """N with one in a hundred more wrong labels, of what the student contradicts: of data of rates that were not found.

    Where N has none, these are all.
    """
    off, said = (table * (1 - np.eye(len(N))) for table in (N, J * is_known))
    off = off + _MORE_LIKE * said / max(float(said.sum()), TINY)
    return _beside(off, N.sum(axis=1, keepdims=True))


def _between(rates: Table, again: Table, found: float) -> tuple[float, float]:
    """Rates at which what was found lies among what is found: between its quantiles, or so near to its mean.

    Args:
        again: (rates, draws), what is found of data of each rate.
    """
    near = _Z * again.std(axis=1, ddof=1)
    less, more = np.quantile(again, [_TAIL, 1 - _TAIL], axis=1)
    less, more = np.minimum(less, again.mean(axis=1) - near), np.maximum(more, again.mean(axis=1) + near)
    low = float(np.interp(found, _rising(more), rates))
    beyond = found + LEAST * 2 * len(rates)  # where nothing is found, the last rate at which that may be
    high = float(np.interp(beyond, _rising(less), rates)) if beyond < less[-1] else 1.0
    return low, high


def _rising(values: Table) -> Table:
    found: Table = np.maximum.accumulate(values) + LEAST * np.arange(len(values))
    return found


def joint(J: Table, P: Table, is_known: NDArray[np.bool_] | None = None, steps: int = _STEPS) -> Table:
    """N of the largest likelihood, N ← N ⊙ ((J ⊘ NP) Pᵀ); each step raises it, and keeps the sums of the rows.

    Args:
        J: (..., classes, classes), shares of samples by given and predicted class.
        P: (..., classes, classes), a row a true class, which sums to 1.
        is_known: which classes may be true ones; None: all.
        steps: the same of what is found and of what it is compared with, so that it matters little.
    """
    classes = J.shape[-1]
    N = J.sum(axis=-1, keepdims=True) * (0.8 * np.eye(classes) + 0.2 / classes)
    if is_known is not None:
        N = N * is_known
    for _ in range(steps):
        N = N * ((J / np.maximum(N @ P, TINY)) @ np.swapaxes(P, -1, -2))
    found: Table = N / N.sum(axis=(-1, -2), keepdims=True)
    return found


def scaled(N: Table, times: float) -> Table:
    """So many times the wrong labels, for the same given ones; of no given class more than all."""
    given = N.sum(axis=1, keepdims=True)
    return _beside(times * (N - np.diag(N.diagonal())), given)


def _beside(wrong: Table, given: Table) -> Table:
    """The table of these wrong labels, of no given class more than all, and of right ones, never below 0."""
    wrong = wrong * np.minimum(1, given / np.maximum(wrong.sum(axis=1, keepdims=True), TINY))
    right = np.maximum(given - wrong.sum(axis=1, keepdims=True), 0.0)
    found: Table = wrong + np.diag(right[:, 0])
    return found


def _rate(N: Table) -> Table:
    rate: Table = 1 - np.trace(N, axis1=-2, axis2=-1)
    return np.maximum(rate, 0.0)
