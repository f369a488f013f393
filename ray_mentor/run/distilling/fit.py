"""The smallest rule that says nearly all that can be said of a weighting: curve, curve over progress, class table."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.isotonic import IsotonicRegression
from sklearn.tree import DecisionTreeRegressor

from ray_mentor.core.mentor.rule import AXES, MOST_VALUES, Rule, logit
from ray_mentor.errors import UserError
from ray_mentor.run.distilling.fidelity import Fidelity, fidelity_of, r_squared
from ray_mentor.run.distilling.rows import Rows

CLOSE_ENOUGH = 0.02
"""Of R²: the smallest rule that lies so close to the best is taken."""

POINTS, TIMES, HELD_OUT, _SEED, _DENSE = 33, 10, 0.2, 0, 2000

Says = Callable[[Rows], NDArray[np.float64]]


@dataclass(frozen=True)
class Candidate:
    """One that was fitted.

    Attributes:
        name: what it goes by, in words.
        says: the weights that it gives rows.
        rule: as a file has it; None: one of those that a rule is compared with.
        chosen_by: its R² on samples that were held out from it, of the run that it was made of.
    """

    name: str
    says: Says
    rule: Rule | None
    chosen_by: float

    def on(self, rows: Rows) -> Fidelity:
        """How well it says what the weighting said of these rows."""
        return fidelity_of(rows, self.says(rows))


def candidates(rows: Rows) -> list[Candidate]:
    """All that were fitted, the baselines first, then rules from small to large, then what no table is made of.

    Raises:
        UserError: too few samples.
    """
    draw = np.random.default_rng(_SEED)
    samples = np.unique(rows.sample)
    out = draw.choice(samples, max(1, round(HELD_OUT * len(samples))), replace=False)
    held_out = np.isin(rows.sample, out)
    learnt, tested = rows[~held_out], rows[held_out]
    if not all(len(part) and np.ptp(part.weight) > 0 for part in (learnt, tested)):
        raise UserError(
            f"of {len(samples)} samples too few have weights that differ for a rule to be made of some of them and "
            "tested on others; take a run on more data"
        )

    def candidate(name: str, says: Says, rule: Rule | None = None) -> Candidate:
        return Candidate(name, says, rule, r_squared(tested.weight, says(tested)))

    def ruled(rule: Rule) -> Candidate:
        return candidate(rule.says, lambda asked: said_by(rule, asked), rule)

    curves = [ruled(_curve(learnt, axis)) for axis in AXES]
    best = max(curves, key=lambda one: one.chosen_by)
    assert best.rule is not None
    over_time = _over_time(learnt, best.rule.weigh_by)
    rules = [best, ruled(over_time)]
    if 1 < rows.classes <= MOST_VALUES:
        rules.append(ruled(_with_classes(learnt, over_time)))
    mean = float(learnt.weight.mean())
    return [
        candidate("the same for all", lambda asked: np.full(len(asked), mean)),
        candidate("one threshold", _threshold(learnt, best.rule.weigh_by)),
        *(curve for curve in curves if curve is not best),
        *rules,
        candidate("boosted trees", _boosted(learnt)),
    ]


def chosen(fitted: list[Candidate]) -> Candidate:
    """The smallest rule within :data:`CLOSE_ENOUGH` of the best R², or else the best rule; on held-out samples."""
    rules = [one for one in fitted if one.rule is not None]
    enough = max(one.chosen_by for one in fitted) - CLOSE_ENOUGH
    close = [one for one in rules if one.chosen_by >= enough]
    if not close:
        return max(rules, key=lambda one: one.chosen_by)
    return min(close, key=lambda one: (_size(one.rule), -one.chosen_by))


def said_by(rule: Rule, rows: Rows) -> NDArray[np.float64]:
    """As the rule says it in a run: quantiles are those of whole steps."""
    shift = {"labels": rows.label} if len(rule.class_shift) else {}
    if rule.weigh_by != "quantile":
        differences = rows.seen["loss_difference"]
        return rule(rows.seen["loss"], progress=rows.progress, loss_differences=differences, **shift)
    by_loss = Rule("loss", rule.at, rule.weights, rule.progress, rule.class_shift)
    return by_loss(rows.seen["quantile"], progress=rows.progress, **shift)


def _size(rule: Rule | None) -> int:
    assert rule is not None
    return len(rule.weights) + len(rule.class_shift)


def _points(x: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where a table has weights: as much of the rows and of the curve's way lies between any two neighbours."""
    dense = np.unique(
        np.concatenate([np.quantile(x, np.linspace(0, 1, _DENSE)), np.linspace(x.min(), x.max(), _DENSE)])
    )
    curve, _ = _isotonic(x, weight, dense, "auto")
    fall = np.abs(np.diff(curve, prepend=curve[0])).cumsum()
    way = np.searchsorted(np.sort(x), dense) / len(x) + fall / max(fall[-1], np.finfo(np.float64).tiny)
    spread = np.interp(np.linspace(way[0], way[-1], POINTS), way, dense)
    found = np.unique([float(f"{value:.4g}") for value in spread])
    return found if len(found) > 1 else np.array([found[0], found[0] + 1])


def _isotonic(x: NDArray[np.float64], weight: NDArray[np.float64], at: NDArray[np.float64], rises: Any) -> Any:
    """σ of the monotone curve through the logits, whose direction the data say unless it is given."""
    with warnings.catch_warnings():  # that a direction is not sure: then either is as good
        warnings.simplefilter("ignore")
        curve = IsotonicRegression(increasing=rises, out_of_bounds="clip").fit(x, logit(weight))
    return 1 / (1 + np.exp(-curve.predict(at))), curve.increasing_


def _curve(rows: Rows, axis: str) -> Rule:
    at = _points(rows.seen[axis], rows.weight)
    weights, _ = _isotonic(rows.seen[axis], rows.weight, at, "auto")
    return Rule(axis, at, weights[None], in_nats=rows.in_nats)


def _over_time(rows: Rows, axis: str) -> Rule:
    """A curve for each tenth of the steps, all in one direction."""
    x, at = rows.seen[axis], _points(rows.seen[axis], rows.weight)
    edges = np.quantile(rows.progress, np.linspace(0, 1, TIMES + 1))
    _, rises = _isotonic(x, rows.weight, at, "auto")
    curves: dict[float, NDArray[np.float64]] = {}
    for low, high in itertools.pairwise(edges):
        within = (rows.progress >= low) & (rows.progress <= high)
        if not within.any():  # of few rows
            continue
        curves[float(f"{rows.progress[within].mean():.4g}")] = _isotonic(x[within], rows.weight[within], at, rises)[0]
    if len(curves) == 1:
        return _curve(rows, axis)
    return Rule(axis, at, np.stack(list(curves.values())), np.array(list(curves)), in_nats=rows.in_nats)


def _with_classes(rows: Rows, rule: Rule) -> Rule:
    """A shift of the logit a class: the mean by which the rule's is off; 0 for a class that has no rows."""
    off = logit(rows.weight) - logit(said_by(rule, rows))
    count = np.bincount(rows.label, minlength=rows.classes)
    shift = np.bincount(rows.label, weights=off, minlength=rows.classes) / np.maximum(count, 1)
    return Rule(rule.weigh_by, rule.at, rule.weights, rule.progress, shift, rule.in_nats)


def _threshold(rows: Rows, axis: str) -> Says:
    tree = DecisionTreeRegressor(max_leaf_nodes=2).fit(rows.seen[axis][:, None], rows.weight)
    return lambda asked: np.asarray(tree.predict(asked.seen[axis][:, None]))


def _boosted(rows: Rows) -> Says:
    """All that a rule may see at once, each axis in the direction that it has by itself."""
    signs = [1 if _isotonic(rows.seen[axis], rows.weight, rows.seen[axis][:1], "auto")[1] else -1 for axis in AXES]
    has_classes = 1 < rows.classes <= 255

    def table(of: Rows) -> NDArray[np.float64]:
        more = [of.label.astype(np.float64)] if has_classes else []
        return np.stack([*(of.seen[axis] for axis in AXES), of.progress, *more], axis=1)

    trees = HistGradientBoostingRegressor(
        monotonic_cst=[*signs, 0, *([0] if has_classes else [])],
        categorical_features=[4] if has_classes else None,
        max_iter=200,
        random_state=_SEED,
    ).fit(table(rows), rows.weight)
    return lambda asked: np.asarray(trees.predict(table(asked)))
