"""The runs of a comparison as its table: a line a method and level, over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ray_mentor.config.compared import BASELINE, ORACLE
from ray_mentor.run.over_seeds.intervals import LEAST_GAP, Estimate, gap_closed

Run = Mapping[str, Any]
"""``noise``, ``meta_size``, ``method``, ``seed``; ``error`` of one that failed, else ``test_accuracy`` and
``trusted_accuracy`` of the last epoch's student, ``test_accuracy_selected`` and ``trusted_accuracy_selected`` of the
one that is kept, ``noise_auroc``, ``train_seconds``, ``peak_memory_mb`` and ``params``; None for what is not known."""

LEVEL = ("noise", "meta_size")
"""What runs can differ by beside method and seed."""

ACCURACIES = ("test_accuracy", "trusted_accuracy")
"""What no wrong label is in: on a test split whose truth is known, on held-out trusted samples."""


def known_accuracy(runs: Iterable[Run]) -> str | None:
    """The first of :data:`ACCURACIES` that all finished runs know; None if there is none, or no run."""
    finished = [run for run in runs if run["error"] is None]
    for name in ACCURACIES:
        if finished and all(run[f"{name}_selected"] is not None for run in finished):
            return name
    return None


def levels_of(runs: Iterable[Run]) -> list[tuple[Any, ...]]:
    """What runs differ by beside method and seed, in the runs' order."""
    return list(dict.fromkeys(tuple(run[name] for name in LEVEL) for run in runs))


def lines(runs: Sequence[Run], on: str) -> list[dict[str, Any]]:
    """A line a level and method; of each level the best method first, those that failed last.

    ``gap_closed`` and the order go by the student that is kept, which is what a run gives. Seconds are compared with
    those of equal weights with the same trusted samples, over the seeds that both have.

    Args:
        on: the accuracy that counts, one of :data:`ACCURACIES`.
    """
    found = []
    for level in levels_of(runs):
        here = [run for run in runs if tuple(run[name] for name in LEVEL) == level]
        of_level = [_line(method, here, on) for method in dict.fromkeys(run["method"] for run in here)]
        found += sorted(of_level, key=lambda line: _merit(line, on), reverse=True)
    return found


def _merit(line: Mapping[str, Any], on: str) -> float:
    known = line[f"{on}_selected"]
    return -1.0 if known is None else float(known)


def by_seed(runs: Iterable[Run], method: str, name: str) -> dict[int, Any]:
    """A figure of the method's finished runs."""
    return {run["seed"]: run[name] for run in runs if run["method"] == method and run["error"] is None}


def paired(*of: Mapping[int, Any]) -> list[list[Any]]:
    """The figures of the seeds that all have, in their order."""
    seeds = sorted(set.intersection(*(set(each) for each in of)))
    return [[each[seed] for seed in seeds] for each in of]


def _line(method: str, runs: Sequence[Run], on: str) -> dict[str, Any]:
    own = [run for run in runs if run["method"] == method]
    finished = [run for run in own if run["error"] is None]
    gap = _gap(method, runs, on)
    last = [run[on] for run in finished]
    return {
        **{name: own[0][name] for name in LEVEL},
        "method": method,
        "seeds": len(finished),
        on: _mean(last),
        f"{on}_std": statistics.stdev(last) if len(last) > 1 and None not in last else None,
        f"{on}_selected": _mean([run[f"{on}_selected"] for run in finished]),
        "gap_closed": None if gap is None else gap.value,
        "gap_closed_interval": None if gap is None or gap.low is None else [gap.low, gap.high],
        **{name: _mean([run[name] for run in finished]) for name in ("noise_auroc", "train_seconds")},
        "seconds_ratio": _ratio(by_seed(runs, method, "train_seconds"), by_seed(runs, BASELINE, "train_seconds")),
        "peak_memory_mb": _most([run["peak_memory_mb"] for run in finished]),
        "params": finished[0]["params"] if finished else None,
        "error": "; ".join(f"seed {run['seed']}: {run['error']}" for run in own if run["error"] is not None) or None,
    }


def _gap(method: str, runs: Sequence[Run], on: str) -> Estimate | None:
    """Of the gap between equal weights and the oracle; None where there is hardly one, and of these two."""
    of, baseline, oracle = paired(*(by_seed(runs, name, f"{on}_selected") for name in (method, BASELINE, ORACLE)))
    if method in (BASELINE, ORACLE) or not of or statistics.fmean(oracle) - statistics.fmean(baseline) < LEAST_GAP:
        return None
    return gap_closed(of, baseline, oracle)


def _ratio(of: Mapping[int, float], than: Mapping[int, float]) -> float | None:
    a, b = paired(of, than)
    return sum(a) / sum(b) if b and sum(b) > 0 else None


def _mean(values: Sequence[float | None]) -> float | None:
    """None as soon as one is not known."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def _most(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None
