"""What became of a run's shares: a row a window and source, and figures of the end."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from ray_mentor.errors import UserError
from ray_mentor.run.directory import RunDirectory

MIXTURE = "mixture.csv"
"""A row a window and source."""

COLUMNS = {
    "step": pa.int64(),
    "domain": pa.string(),
    "share": pa.float64(),
    "influence": pa.float64(),
    "standard_error": pa.float64(),
    "samples": pa.int64(),
    "tokens": pa.int64(),
    "epochs": pa.float64(),
    "gap": pa.float64(),
}
"""``step``: the first of a window; ``share`` of its samples that are of the source; ``influence`` that the update at
this step found, and its standard error, empty where there was none; ``samples`` of the source that were shown by the
window's end, and of a student that learns from each place of a sample ``tokens`` (bytes of plain text), else empty;
how many times over (``epochs``) that is all of it; ``gap``, Σ p_d·S_d − min S_d ≥ 0, how far the
shares were from what the next step would want."""

Row = dict[str, Any]


def rows_of(state: Mapping[str, Any], tokens: int | None = None) -> list[Row]:
    """The rows that a mixture's state stands for.

    Args:
        tokens: of a sample; None: it has one class.
    """
    table = state["windows"]
    updates = {update["step"]: update for update in state["updates"]}
    shown = np.zeros(len(state["names"]), np.int64)
    rows: list[Row] = []
    for first, *counts in [] if table is None else table["windows"]:
        shown += counts
        update = updates.get(first)
        for place, name in enumerate(state["names"]):
            rows.append(
                {
                    "step": first,
                    "domain": name,
                    "share": counts[place] / sum(counts),
                    "influence": None if update is None else _known(update["influence"][name]),
                    "standard_error": None if update is None else _known(update["error"][name]),
                    "samples": int(shown[place]),
                    "tokens": None if tokens is None else tokens * int(shown[place]),
                    "epochs": float(shown[place] / table["sizes"][place]),
                    "gap": None if update is None else update["gap"],
                }
            )
    return rows


def write_mixture(directory: RunDirectory, state: Mapping[str, Any], tokens: int | None = None) -> None:
    """Writes them, as they stand at a checkpoint: what was written of a later step goes."""
    schema = pa.schema(list(COLUMNS.items()))
    table = pa.Table.from_pylist(rows_of(state, tokens), schema=schema)
    directory.fill(MIXTURE, lambda sink: pyarrow.csv.write_csv(table, sink))


def read_mixture(directory: RunDirectory) -> list[Row]:
    """The rows; none where nothing is mixed.

    Raises:
        UserError: the file is damaged.
    """
    written = directory.read(MIXTURE)
    if written is None:
        return []
    try:
        lines = list(csv.DictReader(io.StringIO(written.decode())))
        return [
            {name: _read(name, line[name]) for name in COLUMNS} for line in ({"tokens": "", **line} for line in lines)
        ]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(f"{directory.path}/{MIXTURE} cannot be read ({error}); put it back") from error


def mixture_result(state: Mapping[str, Any], policy: str, tokens: int | None = None) -> dict[str, Any]:
    """What ``result.json`` says of the shares of a run that has come to its end.

    Args:
        policy: how shares come about.
        tokens: of a sample; None: it has one class. All samples have as many, so that shares of samples are shares of
            tokens.
    """
    names, rows = state["names"], rows_of(state, tokens)
    last = rows[-len(names) :]
    whole = sum(row["samples"] for row in last)
    gaps = [update["gap"] for update in state["updates"] if update["gap"] is not None]
    return {
        "policy": policy,
        "shares": dict(zip(names, state["shares"]["shares"], strict=True)),
        "shares_of_training": {row["domain"]: row["samples"] / whole for row in last},
        "epochs": {row["domain"]: row["epochs"] for row in last},
        "tokens": None if tokens is None else {row["domain"]: row["tokens"] for row in last},
        "updates": state["shares"]["updates"],
        "skipped_updates": state["shares"]["skipped"],
        "gap": gaps[-1] if gaps else None,
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _read(name: str, text: str) -> Any:
    if name == "domain":
        return text
    return None if text == "" else int(text) if COLUMNS[name] == pa.int64() else float(text)
