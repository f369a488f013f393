"""What a run writes when it has ended: what its ledger and its predictions say, and then the result."""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc

from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.class_figures import class_figures
from ray_mentor.run.findings.suspects import MOST, SUSPECTS, as_csv, suspects

FIRST = 50
"""Suspects among which wrong labels are counted, where the truth is known."""


def closed(directory: RunDirectory, result: dict[str, Any], epochs: int) -> dict[str, Any]:
    """Writes ``suspects.csv`` and, last of all, ``result.json``; returns what that holds.

    Args:
        result: what it holds besides what is found out here.
        epochs: of the run.
    """
    found = suspects(directory, MOST)
    directory.write(SUSPECTS, as_csv(found))
    first = found.slice(0, FIRST)
    known = "true_label" in first.column_names
    wrong = pc.sum(pc.not_equal(first["given_label"], first["true_label"])).as_py() if known else None
    counted = None if wrong is None else [wrong, len(first)]
    result = {**result, **class_figures(directory, epochs - 1), "suspects_known_wrong": counted}
    directory.write_result(result)
    return result
