"""What a comparison's runs came to, read from their folders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ray_mentor.comparison.cells import Cell
from ray_mentor.on_ray.tune.resumed import table_in
from ray_mentor.on_ray.tune.trial import PEAK, metrics_of
from ray_mentor.report.compare.tables import level_text
from ray_mentor.run.directory import RESULT, RunDirectory
from ray_mentor.run.over_seeds.lines import ACCURACIES, LEVEL
from ray_mentor.wording import counted

Place = RunDirectory | str
"""A finished run's folder, or why there is none."""

Numbers = Mapping[str, int]
"""How many params each method trains."""


def rows_of(cells: Sequence[Cell], places: Sequence[Place], params: Numbers) -> list[dict[str, Any]]:
    """A row a run (:data:`~ray_mentor.run.over_seeds.lines.Run`), with its folder.

    Raises:
        UserError: a file that no run has written.
    """
    return [_row(cell, place, params) for cell, place in zip(cells, places, strict=True)]


def curves_of(cells: Sequence[Cell], places: Sequence[Place]) -> list[dict[str, Any]]:
    """A row a finished run and epoch."""
    return [row for cell, place in zip(cells, places, strict=True) for row in _epochs(cell, place)]


def warnings_of(rows: Sequence[Mapping[str, Any]], on: str) -> list[str]:
    """What runs warned of, the first of each method and level, and how little the accuracy rests on.

    Args:
        on: the accuracy that counts.
    """
    few = {row["trusted_held_out"] for row in rows if row["error"] is None} if on == "trusted_accuracy" else set()
    found = [
        f"accuracy is that on {count} held-out trusted samples a run: one of them is {100 / count:.1f} points"
        for count in sorted(filter(None, few))
    ]
    for level, method in dict.fromkeys((tuple(row[name] for name in LEVEL), row["method"]) for row in rows):
        own = [row for row in rows if (tuple(row[name] for name in LEVEL), row["method"]) == (level, method)]
        warned = [row for row in own if any(note.startswith(_WARNING) for note in row["notes"] or ())]
        if warned:
            first = next(note for note in warned[0]["notes"] if note.startswith(_WARNING))
            found.append(
                f"{method}, seed {warned[0]['seed']} ({level_text(level)}): {first.removeprefix(_WARNING)}; "
                f"{len(warned)} of its {counted(len(own), 'run')} warned"
            )
    return found


_WARNING = "warning: "


def _named(cell: Cell) -> dict[str, Any]:
    return {"noise": cell.noise, "meta_size": cell.meta_size, "method": cell.method, "seed": cell.seed}


def _row(cell: Cell, place: Place, params: Numbers) -> dict[str, Any]:
    if isinstance(place, str):
        return {**_named(cell), **dict.fromkeys(_FIGURES), "path": None, "error": place}
    result = table_in(place, RESULT) or {}
    peak = table_in(place, PEAK) or {}
    last = metrics_of(place, cell.config.run.epochs)[-1]
    return {
        **_named(cell),
        **{name: last.get(name) for name in ACCURACIES},
        **{f"{name}_selected": result.get(name) for name in ACCURACIES},
        **{name: result.get(name) for name in ("kept_epoch", "noise_auroc", "train_seconds")},
        "peak_memory_mb": peak.get("peak_memory_mb"),
        "params": params[cell.method],
        "trusted_held_out": result.get("trusted_held_out"),
        "notes": list(result.get("notes") or ()),
        "path": place.path,
        "error": None,
    }


_FIGURES = (
    *ACCURACIES, *(f"{name}_selected" for name in ACCURACIES), "kept_epoch", "noise_auroc", "train_seconds",
    "peak_memory_mb", "params", "trusted_held_out", "notes",
)  # fmt: skip


def _epochs(cell: Cell, place: Place) -> Iterator[dict[str, Any]]:
    if isinstance(place, str):
        return
    for row in metrics_of(place, cell.config.run.epochs):
        yield {**_named(cell), "epoch": int(row["epoch"] or 0) + 1, **{name: row.get(name) for name in ACCURACIES}}
