"""Trains methods side by side under one protocol, and says what each comes to."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from ray_mentor.comparison.cells import Cell, asked_methods, check_shared, levels_of, noise_of, plan_of
from ray_mentor.comparison.finished import finished
from ray_mentor.comparison.measured import Place, curves_of, rows_of, warnings_of
from ray_mentor.config import TrainConfig
from ray_mentor.config.compare import CompareSettings
from ray_mentor.config.file import to_toml
from ray_mentor.errors import StoppedByUser, UserError, printable
from ray_mentor.many_runs import Configured, always, directory_of, drawn_by, named, prepared
from ray_mentor.on_ray.tune.listed import RUNS, ListedRuns, Makers, place
from ray_mentor.on_ray.tune.resumed import digest
from ray_mentor.on_ray.tune.trial import MakeTrainer
from ray_mentor.report.compare.page import page
from ray_mentor.report.compare.tables import as_csv, closing_tables, columns_of, failures, level_text, markdown
from ray_mentor.report.sweep.display import SweepDisplay
from ray_mentor.run.checkpoint.resume import Identity
from ray_mentor.run.claim import ClaimedDirectory
from ray_mentor.run.directory import CONFIG, RunDirectory
from ray_mentor.run.outcome import versions
from ray_mentor.run.over_seeds.advice import advice_of
from ray_mentor.run.over_seeds.lines import ACCURACIES, LEVEL, known_accuracy, lines
from ray_mentor.run.over_seeds.lines import levels_of as levels_in
from ray_mentor.run.progress import Row
from ray_mentor.training import make_trainer
from ray_mentor.wording import as_said_here

TABLE, TEXT, PAGE, COMPARISON = "compare.csv", "compare.md", "compare.html", "compare.json"

_MAY_CHANGE = tuple(f.name for f in dataclasses.fields(CompareSettings))
"""Each run is named by all that it is: with other methods, seeds or levels those that are there count, too."""


@dataclass(frozen=True)
class CompareOutcome:
    """A finished comparison.

    Attributes:
        table: a line a method, and level where there are several: what ``compare.csv`` holds.
        runs: a row a run, with its folder, and its error where it failed.
        curves: a row a run and epoch.
        advice: what to take, and the evidence for it, a line a level.
        comparison: what ``compare.json`` holds.
        path: the comparison's folder.
    """

    table: pd.DataFrame
    runs: pd.DataFrame
    curves: pd.DataFrame
    advice: str
    comparison: dict[str, Any]
    path: str


def compare(
    methods: Sequence[str] = (),
    config: TrainConfig | None = None,
    settings: CompareSettings | None = None,
    *,
    own: Mapping[str, Mapping[str, Any]] | None = None,
    make: MakeTrainer | None = None,
    verbose: bool = False,
    console: Console | None = None,
) -> CompareOutcome:
    """Does what ``ray-mentor compare`` does: trains methods side by side, with the same means.

    Example:
        >>> outcome = compare(["gce", "mentornet"], own={"mine": {"method": "self-paced", "pace": "linear"}})
        >>> outcome.table, outcome.advice

    Args:
        methods: by name, besides those of ``settings``.
        config: the settings that all runs share; its run name is the comparison's. Where its ``workers`` is "auto",
            each run is one process. None: the defaults.
        settings: preset, seeds, levels. None: the defaults.
        own: methods of your own: what each is called, and its settings over those of ``config``.
        make: makes a run's trainer from its settings, e.g. of a model and data of your own, as
            :func:`~ray_mentor.sweep.tune_curriculum` has it. None: what ``config`` describes.
        verbose: let Ray's own log through.
        console: where to print; None: standard output.

    Raises:
        UserError: an unknown method or setting; a method that sets what all share, or that can't be run on these data;
            a comparison of this name that is there already, or whose files are damaged. Before Ray starts.
    """
    began = time.time()
    config = config or TrainConfig()
    config = config.changed(workers=0) if config.run.workers == "auto" else config
    settings = settings or CompareSettings()
    settings = dataclasses.replace(settings, methods=(*settings.methods, *methods))
    check_shared(config, settings)
    _check_levels(settings, make)
    asked = asked_methods(settings, own or {})
    levels = levels_of(config, settings)
    read = {} if make is not None else {drawn: prepared(drawn) for drawn in map(drawn_by, levels)}
    probe = (lambda one: make_trainer(one, read[drawn_by(one)])) if make is None else partial(make, test=True)
    plan = plan_of(levels, asked, settings, probe, noise_of if make is None else lambda level: "as it is")
    cells = plan.cells
    config = named(config, "compare", "-".join(config.data.sources) or config.data.data.rsplit("/", 1)[-1])
    record = {**dataclasses.asdict(settings), **config.flat()}
    directory = directory_of(config, record, "comparison", _MAY_CHANGE)
    display = SweepDisplay(len({digest(cell.config) for cell in cells}), config.run.epochs, console, "run")
    understood = dict.fromkeys(splits.understood for splits in read.values() if splits.understood)
    for text in (*understood, f"comparison: {directory.path}", *plan.notes):
        display.console.print(as_said_here(printable(text)), soft_wrap=True, markup=False)
    with display:
        try:
            makers = Configured(read, verbose) if make is None else always(make)
            claimed, places = _run(
                cells, plan.identities, config, settings.concurrent, makers, directory, record, display, verbose
            )
        except KeyboardInterrupt as stop:
            saved = f"saved: {directory.path}, its finished runs, and the checkpoints of the others"
            raise StoppedByUser(saved, str(config.run.run_name)) from stop
    figures = {
        "data": config.data.data if make is None else "your own data",
        "student": config.student.student if make is None else "of your own",
        "epochs": config.run.epochs,
        "seeds": sorted({cell.seed for cell in cells}),
        "says": {name: method.says for name, method in asked.items()},
        "notes": plan.notes,
        "seconds": time.time() - began,
        "versions": versions(),
    }
    of_all = [*zip(cells, places, strict=True), *plan.unable]
    runs = rows_of([cell for cell, _ in of_all], [place for _, place in of_all], plan.params)
    return _closed(runs, curves_of(cells, places), figures, claimed, display)


def _check_levels(settings: CompareSettings, make: MakeTrainer | None) -> None:
    if make is not None and (settings.noises or settings.meta_sizes):
        raise UserError(
            "noises and meta_sizes say what is drawn of data that the settings describe, but `make` brings its own; "
            "leave them out, and compare once with each of your data"
        )


def _run(
    cells: Sequence[Cell],
    identities: Mapping[str, Identity],
    config: TrainConfig,
    concurrent: int | None,
    makers: Makers,
    directory: RunDirectory,
    record: Mapping[str, Any],
    display: SweepDisplay,
    verbose: bool,
) -> tuple[ClaimedDirectory, list[Place]]:
    """All runs, to their ends, side by side."""
    labels: dict[str, str] = {}
    for cell in cells:
        labels.setdefault(digest(cell.config), _label(cell, cells))

    def show(row: Row) -> None:
        if row["kind"] == "note":
            display.show({**row, "text": _with_labels(row["text"], labels)})
        else:  # of runs with different seeds, none is the best so far
            display.show({"settings": {}, **row, "trial": labels[row["trial"]], "objective": None})

    def note(text: str) -> None:
        display.show({"kind": "note", "text": text})

    with place(directory, config.run, concurrent, len(labels), note, verbose=verbose) as here:
        here.directory.write(CONFIG, to_toml(record).encode())
        done = finished(cells, here.directory, identities, as_described=isinstance(makers, Configured))
        for name in done:
            display.show({"kind": "ended", "trial": labels[name], "state": "finished", "objective": None})
        again = [cell.config for cell in cells if digest(cell.config) not in done]
        listed = ListedRuns(config, makers, here.directory, RUNS, here.concurrent, True, True, show)
        found = {**done, **dict(zip(map(digest, again), listed.run(again), strict=True))}
        return here.directory, [found[digest(cell.config)] for cell in cells]


def _label(cell: Cell, cells: Sequence[Cell]) -> str:
    """What a person calls a run."""
    level = [f"{cell.noise}"] if len({each.noise for each in cells}) > 1 else []
    level += [f"{cell.meta_size} trusted"] if len({each.meta_size for each in cells}) > 1 else []
    return ", ".join([cell.method, f"seed {cell.seed}", *level])


def _with_labels(text: str, labels: Mapping[str, str]) -> str:
    for name, label in labels.items():
        text = text.replace(f"trial {name}", label)
    return text


def _closed(
    runs: list[dict[str, Any]],
    curves: list[dict[str, Any]],
    summary: Mapping[str, Any],
    directory: ClaimedDirectory,
    display: SweepDisplay,
) -> CompareOutcome:
    """Writes what a person reads, ``compare.json`` last."""
    on = known_accuracy(runs) or ACCURACIES[0]
    found = lines(runs, on)
    levels = [{"level": list(level), **advice_of(_at(runs, level), on)} for level in levels_in(runs)]
    warned = warnings_of(runs, on)
    summary = {**summary, "notes": [*summary["notes"], *warned]}
    comparison = {**summary, "on": on, "levels": levels, "lines": found, "runs": runs}
    table = pd.DataFrame(found, columns=columns_of(found, on))
    directory.write(TABLE, as_csv(found, on).encode())
    directory.write(TEXT, markdown(found, on, levels, comparison).encode())
    directory.write(PAGE, page(found, runs, curves, comparison).encode())
    directory.write(COMPARISON, json.dumps(comparison, indent=2).encode())
    directory.release()
    advice = "\n".join(_told(level, levels) for level in levels)
    failed = [f"{who} failed: {why}" for who, why in failures(found, levels)]
    for shown in (*closing_tables(found, on, levels), *failed, *warned, advice):
        display.console.print(
            shown if not isinstance(shown, str) else Text(as_said_here(printable(shown))), soft_wrap=True
        )
    for name in (TABLE, TEXT, PAGE):
        display.console.print(printable(f"{directory.path}/{name}"), soft_wrap=True, markup=False)
    return CompareOutcome(table, pd.DataFrame(runs), pd.DataFrame(curves), advice, comparison, directory.path)


def _at(runs: Sequence[dict[str, Any]], level: Sequence[Any]) -> list[dict[str, Any]]:
    return [run for run in runs if [run[name] for name in LEVEL] == list(level)]


def _told(level: Mapping[str, Any], levels: Sequence[Any]) -> str:
    return level["text"] if len(levels) == 1 else f"{level_text(level['level'])}: {level['text']}"
