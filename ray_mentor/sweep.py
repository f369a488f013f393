"""One sweep from its settings: space, trials, terminal, files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.console import Console

from ray_mentor.config import TrainConfig
from ray_mentor.config.file import to_toml
from ray_mentor.config.sweep import SweepSettings
from ray_mentor.data.splits.meta_parts import meta_parts
from ray_mentor.errors import StoppedByUser, UserError, printable
from ray_mentor.many_runs import OF_THE_WHOLE, Configured, always, directory_of, drawn_by, named, prepared
from ray_mentor.on_ray.tune.spaces import FoundSpace, check_space, find_space, space_of
from ray_mentor.on_ray.tune.study import Found, Study
from ray_mentor.on_ray.tune.trial import MakeTrainer
from ray_mentor.report.sweep.display import SweepDisplay, closing_sweep_table
from ray_mentor.report.sweep.page import page
from ray_mentor.wording import as_said_here

BEST, SWEEP, TRIALS, PAGE = "best.toml", "sweep.json", "trials.parquet", "sweep.html"


@dataclass(frozen=True)
class SweepOutcome:
    """A finished sweep.

    Attributes:
        trials: a row a trial, best first: state, objective, accuracy on held-out trusted samples, projected seconds,
            settings.
        curves: a row a trial and epoch.
        best: the best trial's settings; None if no trial got through an epoch.
        sweep: what ``sweep.json`` holds.
        path: the sweep's folder.
    """

    trials: pd.DataFrame
    curves: pd.DataFrame
    best: TrainConfig | None
    sweep: dict[str, Any]
    path: str


def tune_curriculum(
    space: str | Mapping[str, Any],
    config: TrainConfig | None = None,
    settings: SweepSettings | None = None,
    *,
    make: MakeTrainer | None = None,
    verbose: bool = False,
    console: Console | None = None,
) -> SweepOutcome:
    """Does what ``ray-mentor tune`` does: searches settings of the mentor with Ray Tune.

    Example:
        >>> outcome = tune_curriculum("joint", settings=SweepSettings(trials=32, scheduler="asha"))
        >>> outcome.trials.head(), outcome.best

    Args:
        space: a shipped one, ``module:function``, a path to a file, or a dict of setting names to Ray Tune's domains.
        config: the settings around it; its run name is the sweep's. Where its ``workers`` is "auto", each trial is one
            process. None: the defaults.
        settings: how it is searched.
        make: makes a trial's trainer from its settings, e.g. of a model and data of one's own; picklable. It and what
            it holds go into Ray's object store once; what it reads each time, each trial's process has for itself.
            None: what ``config`` describes.
        verbose: let Ray's own log through.
        console: where to print; None: standard output.

    Raises:
        UserError: an unknown space, or one that gives settings that are not valid; trials that can never be placed; a
            sweep of this name that is there already, or whose files are damaged. Before the first trial.
    """
    config = config or TrainConfig()
    config = config.changed(workers=0) if config.run.workers == "auto" else config
    settings = settings or SweepSettings()
    found = _space(space)
    check_space(found, config)
    makers, understood = (always(make), "") if make is not None else _configured(config, verbose)
    config = named(config, "sweep", found.name.rsplit("/", 1)[-1])
    record = {"space": found.name, **dataclasses.asdict(settings), **config.flat()}
    directory = directory_of(config, record, "sweep")
    display = SweepDisplay(settings.trials or found.trials, config.run.epochs, console)
    for text in filter(None, (understood, f"sweep: {directory.path}")):
        display.console.print(as_said_here(printable(text)), soft_wrap=True, markup=False)
    study = Study(found, config, settings, makers, directory, record, display.show, verbose)
    with display:
        try:
            outcome = study.run()
        except KeyboardInterrupt as stop:
            raise StoppedByUser(
                f"saved: {directory.path}, its finished trials, and the checkpoints of the others",
                str(config.run.run_name),
            ) from stop
    return _closed(outcome, display)


def _configured(config: TrainConfig, verbose: bool) -> tuple[Configured, str]:
    """Makes trainers of data that are read here; and what was understood of them, in a line.

    Raises:
        UserError: no trusted sample can be held out, or anything is wrong with the data.
    """
    splits, mentor = prepared(drawn_by(config)), config.mentor
    if meta_parts(splits.meta, holdout=mentor.meta_holdout, training=0.0, seed=0).held_out is None:
        raise UserError(
            f"meta_holdout is {mentor.meta_holdout:g}, of {len(splits.meta)} trusted samples, but a sweep chooses by "
            "the accuracy on held-out ones, never on the test split; give a share above 0, e.g. --meta-holdout 0.3, "
            "and more than one sample of each class"
        )
    return Configured({drawn_by(config): splits}, verbose), splits.understood


def _space(space: str | Mapping[str, Any]) -> FoundSpace:
    return find_space(space) if isinstance(space, str) else space_of("dict", dict(space))


def _closed(found: Found, display: SweepDisplay) -> SweepOutcome:
    """Writes what a person reads, ``sweep.json`` last."""
    directory = found.directory
    best = None if found.best is None else found.best.config
    if best is not None:
        plain = {name: value for name, value in best.flat().items() if name not in OF_THE_WHOLE}
        directory.write(BEST, to_toml(plain).encode())
    directory.write(TRIALS, _plain(found.trials).to_parquet(index=False))
    directory.write(PAGE, page(found.trials, found.curves, found.summary).encode())
    directory.write(SWEEP, json.dumps(found.summary, indent=2).encode())
    directory.release()
    display.console.print(closing_sweep_table(found.summary, found.trials))
    for name in (BEST, PAGE):
        display.console.print(printable(f"{directory.path}/{name}"), soft_wrap=True, markup=False)
    return SweepOutcome(found.trials, found.curves, best, found.summary, directory.path)


def _plain(trials: pd.DataFrame) -> pd.DataFrame:
    """With columns of one type each: a setting that is sometimes text and sometimes a number becomes text."""
    mixed = [str(name) for name in trials if len({type(value) for value in trials[name].dropna()}) > 1]
    return trials.assign(**{name: trials[name].map(str, na_action="ignore") for name in mixed})
