"""One sentence of advice from a comparison, with its evidence."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ray_mentor.config.compared import ORACLE
from ray_mentor.run.over_seeds.lines import Run, by_seed, paired
from ray_mentor.run.over_seeds.verdict import verdict
from ray_mentor.wording import counted

REACH = 0.02
"""Of accuracy: a method that lies no further below the best one is within reach of it."""

CHEAPER = 0.9
"""Of the best one's training time: what takes more is no cheaper, but was timed at another moment."""

_ON = {"test_accuracy": "test accuracy", "trusted_accuracy": "accuracy on held-out trusted samples"}


def advice_of(runs: Sequence[Run], on: str) -> dict[str, Any]:
    """What a comparison at one level comes to.

    The best method has the highest mean accuracy of kept students; the oracle, which nobody has, is left out, and so
    are methods that lack a seed. It is compared, seed by seed, with the cheapest method within :data:`REACH` of it,
    or else with the best of those that are cheaper, or else with the next best. Cheaper is what takes less than
    :data:`CHEAPER` of its training time.

    Args:
        runs: of one level.
        on: the accuracy that counts.

    Returns:
        ``best``, ``than`` (None where there is but one method), ``why`` it was taken ("within reach", "cheaper" or
        "next"), what :func:`~ray_mentor.run.over_seeds.verdict.verdict` says, ``seconds_ratio`` of the two, and
        ``text``, the sentence.
    """
    accuracy, seconds, seeds = _complete(runs, on)
    if not accuracy:
        at = f" at each of the {counted(seeds, 'seed')}" if seeds else ""
        return {"best": None, "than": None, "text": f"No method has a run that finished{at}, so nothing can be said."}
    best = max(accuracy, key=lambda name: accuracy[name])
    than, why = _rival(best, accuracy, seconds)
    if than is None:
        text = f"{best} has {_ON[on]} {accuracy[best]:.3f}; there is no other method to compare it with."
        return {"best": best, "than": None, "text": text}
    says = verdict(*paired(*(by_seed(runs, name, f"{on}_selected") for name in (best, than))))
    found = {"best": best, "than": than, "why": why, **says, "seconds_ratio": seconds[best] / seconds[than]}
    return {**found, "text": _text(found, accuracy, seconds, seeds, on)}


def _complete(runs: Sequence[Run], on: str) -> tuple[dict[str, float], dict[str, float], int]:
    """Mean accuracy and seconds of the methods that have all seeds at which any has finished, and how many these are.

    So that all means are over the same seeds, and each difference is one of pairs.
    """
    methods = [name for name in dict.fromkeys(run["method"] for run in runs) if name != ORACLE]
    found = {name: by_seed(runs, name, f"{on}_selected") for name in methods}
    seeds = len(set().union(*found.values()))
    whole = [name for name in methods if seeds and len(found[name]) == seeds]
    seconds = {name: statistics.fmean(by_seed(runs, name, "train_seconds").values()) for name in whole}
    return {name: statistics.fmean(found[name].values()) for name in whole}, seconds, seeds


def _rival(best: str, accuracy: Mapping[str, float], seconds: Mapping[str, float]) -> tuple[str | None, str]:
    cheaper = [name for name in accuracy if seconds[name] < CHEAPER * seconds[best]]
    near = [name for name in cheaper if accuracy[best] - accuracy[name] <= REACH]
    if near:
        return min(near, key=lambda name: seconds[name]), "within reach"
    if cheaper:
        return max(cheaper, key=lambda name: accuracy[name]), "cheaper"
    others = [name for name in accuracy if name != best]
    return max(others, key=lambda name: accuracy[name], default=None), "next"


def _text(
    found: Mapping[str, Any], accuracy: Mapping[str, float], seconds: Mapping[str, float], seeds: int, on: str
) -> str:
    best, than, d = found["best"], found["than"], found["difference"]
    whom = {
        "within reach": f"{than}, the cheapest within {100 * REACH:g} points",
        "cheaper": f"{than}, the best of the cheaper ones, of which none lies within {100 * REACH:g} points",
        "next": f"{than}, the next best; nothing is cheaper than {best}",
    }[found["why"]]
    level = [name for name in accuracy if name != best and accuracy[name] == accuracy[best]]
    with_others = f" with {counted(len(level), 'other method')}" if level else ""
    head = f"{best} has the highest {_ON[on]}{with_others}, {accuracy[best]:.3f}"
    interval = (
        ", too few to bound it" if d["low"] is None else f", 95 % interval {_points(d['low'])} to {_points(d['high'])}"
    )
    ahead = (
        f"{_points(d['mean'])} points ahead of {than} ({accuracy[than]:.3f}) over {counted(seeds, 'seed')}{interval}"
    )
    cost = f"It takes {found['seconds_ratio']:.2f} times the training time of {than} "
    cost += f"({seconds[best]:.1f} s against {seconds[than]:.1f} s)."
    if found["verdict"] == "better":
        return f"{head}, and is shown to be better than {whom}: {ahead}. {cost}"
    take = f"take {than if found['why'] == 'within reach' else best}, or more seeds to tell them apart"
    return f"{head}, but is not shown to be better than {whom}: {ahead}; {take}. {cost}"


def _points(value: float) -> str:
    """In hundredths of accuracy, with a true minus, and none before a zero."""
    return f"{round(100 * value, 1) + 0.0:.1f}".replace("-", "−")
