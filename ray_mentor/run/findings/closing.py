"""What a run writes when it has ended: what its ledger and its predictions say, and then the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ray_mentor.run.advice import on_class_sizes
from ray_mentor.run.audit.audit import Audit
from ray_mentor.run.audit.files import write
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.class_figures import class_figures

TextsOf = Callable[[pa.Table], Sequence[str | None] | None]
"""Of an audit's samples, in its order; None where they are no texts."""

FIRST = 50
"""Samples among which wrong labels are counted, where the truth is known."""


def closed(
    directory: RunDirectory,
    result: dict[str, Any],
    epochs: int,
    texts_of: TextsOf = lambda audited: None,
    *,
    by_size: str | None = None,
) -> tuple[dict[str, Any], Audit]:
    """Writes ``audit.parquet``, ``audit.csv`` and, last of all, ``result.json``.

    Args:
        result: what it holds besides what is found out here.
        epochs: of the run.
        texts_of: an audit's samples, the beginning of each.
        by_size: by what classes count other than by their samples (:func:`~ray_mentor.run.advice.by_size_of`).

    Returns:
        What ``result.json`` holds, and the audit, which the run's page shows, too.
    """
    audit = Audit.from_run(directory)
    write(audit, directory, texts_of(audit.table))
    result = {**result, **class_figures(directory, epochs - 1), **_figures(audit)}
    result["notes"] = [*result.get("notes", ()), *on_class_sizes(result, by_size)]
    directory.write_result(result)
    return result, audit


def _figures(audit: Audit) -> dict[str, Any]:
    """How many labels look wrong, and how many of the first are, where the truth is known."""
    rate, first = audit.rate, audit.table.slice(0, FIRST)
    known = "true_label" in first.column_names
    labels = [first[name].cast("string") for name in ("given_label", "true_label")] if known else []
    return {
        "wrong_labels": None if rate is None else rate.rate,
        "wrong_labels_interval": None if rate is None else [rate.low, rate.high],
        "wrong_labels_by_trusted": None if rate is None else rate.trusted,
        "first_known_wrong": [pc.sum(pc.not_equal(*labels)).as_py(), len(first)] if known else None,
    }
