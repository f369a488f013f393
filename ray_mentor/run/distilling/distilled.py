"""A run's weighting, distilled: the rule, what it was chosen among, and how well each says what another run's said."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ray_mentor.core.mentor.rule import Rule
from ray_mentor.errors import UserError
from ray_mentor.run.checkpoint.resume import started_with
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.distilling.fidelity import Fidelity
from ray_mentor.run.distilling.fit import Candidate, candidates, chosen
from ray_mentor.run.distilling.rows import Rows, rows_of, together

_FIGURES = [field.name for field in dataclasses.fields(Fidelity)]


@dataclass(frozen=True)
class Distilled:
    """What came of it.

    Attributes:
        rule: the smallest that says nearly all that can be said.
        name: of it, a row of ``fidelity``.
        fidelity: a row each that was fitted, and in columns how well it says what the weighting said
            (:class:`~ray_mentor.run.distilling.fidelity.Fidelity`), the mean over the other runs; of none, on samples
            held out from it.
        others: how many other runs these are.
    """

    rule: Rule
    name: str
    fidelity: pd.DataFrame
    others: int


def distilled(runs: Sequence[RunDirectory], others: Sequence[RunDirectory] = ()) -> Distilled:
    """The rule of one run or several, which is chosen on samples of these and measured on other ones.

    Args:
        runs: what is distilled: any method whose weights differ.
        others: runs of other seeds, whose weightings it is held against.

    Raises:
        UserError: what :func:`~ray_mentor.run.distilling.rows.rows_of` says, or one of the runs among the others.
    """
    own = {_place(run) for run in runs}
    both = [other.path for other in others if _place(other) in own]
    if both:
        raise UserError(f"--on is {min(both)}, which the rule is made of; give runs of other seeds, or leave it out")
    rows = together([rows_of(run) for run in runs])
    fitted = candidates(rows)
    taken = chosen(fitted)
    assert taken.rule is not None
    measured = [rows_of(other) for other in others]
    table = pd.DataFrame([_figures(one, measured) for one in fitted], index=[one.name for one in fitted])
    said = {name: round(value, 4) for name, value in _figures(taken, measured).items()}
    names, on = ([each.path.rpartition("/")[2] for each in of] for of in (runs, others))
    method = started_with(runs[0]).get("method", "mentornet")
    about = {"runs": names, "method": method, "rows": len(rows), "measured_on": on, **said}
    return Distilled(dataclasses.replace(taken.rule, made_from=about), taken.name, table, len(others))


def _place(run: RunDirectory) -> str:
    return run.path if "://" in run.path else os.path.realpath(run.path)


def _figures(one: Candidate, measured: list[Rows]) -> dict[str, float]:
    if not measured:
        return {"r_squared": one.chosen_by}
    return {name: float(np.mean([getattr(one.on(rows), name) for rows in measured])) for name in _FIGURES}


def beside(rule: Rule, rows: Rows) -> pd.DataFrame:
    """A figure's data: the rule beside what the weighting said, a line a point of the table.

    Returns:
        ``progress`` (NaN of a rule that doesn't depend on it), ``at`` (of ``rule.weigh_by``), ``rule`` (its weight
        there), ``said`` (the mean weight of the rows nearest, NaN of none) and ``rows`` (how many).
    """
    times = rule.progress if len(rule.progress) else np.array([np.nan])
    time = _nearest(rule.progress, rows.progress) if len(rule.progress) else np.zeros(len(rows), dtype=np.int64)
    cell = time * len(rule.at) + _nearest(rule.at, rows.seen[rule.weigh_by])
    count = np.bincount(cell, minlength=rule.weights.size)
    total = np.bincount(cell, weights=rows.weight, minlength=rule.weights.size)
    return pd.DataFrame(
        {
            "progress": np.repeat(times, len(rule.at)),
            "at": np.tile(rule.at, len(times)),
            "rule": rule.weights.ravel(),
            "said": np.where(count > 0, total / np.maximum(count, 1), np.nan),
            "rows": count,
        }
    )


def _nearest(points: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.searchsorted((points[1:] + points[:-1]) / 2, values)
