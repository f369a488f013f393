"""One sweep from its settings: space, trials, terminal, files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import ray
from rich.console import Console

from ray_mentor.config import TrainConfig
from ray_mentor.config.file import to_toml
from ray_mentor.config.sweep import SweepSettings
from ray_mentor.data.splits.meta_parts import meta_parts
from ray_mentor.data.splits.splits import Splits, prepare
from ray_mentor.errors import StoppedByUser, UserError, printable, shown
from ray_mentor.on_ray.session.session import check_lasts
from ray_mentor.on_ray.train.trainer import CurriculumTrainer
from ray_mentor.on_ray.tune.spaces import FoundSpace, check_space, find_space, space_of
from ray_mentor.on_ray.tune.study import Found, Makers, Study
from ray_mentor.on_ray.tune.trial import MakeTrainer
from ray_mentor.report.sweep.display import SweepDisplay, closing_sweep_table
from ray_mentor.report.sweep.page import page
from ray_mentor.run.checkpoint.resume import check_same_run, resuming
from ray_mentor.run.directory import RunDirectory, absolute, check_name, fresh_name
from ray_mentor.training import make_trainer

BEST, SWEEP, TRIALS, PAGE = "best.toml", "sweep.json", "trials.parquet", "sweep.html"

_OF_THE_SWEEP = ("run_name", "storage_path", "resume", "resume_or_start")
"""Run settings that say where a sweep lies, not what its runs are."""


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
    makers = _yours(make) if make is not None else _Configured(config, verbose)
    config = _named(config, found)
    record = {"space": found.name, **dataclasses.asdict(settings), **config.flat()}
    directory = _directory(config, record)
    display = SweepDisplay(settings.trials or found.trials, config.run.epochs, console)
    display.console.print(printable(f"sweep: {directory.path}"), soft_wrap=True, markup=False)
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


def _yours(make: MakeTrainer) -> Makers:
    def maker(configs: Sequence[TrainConfig], *, test: bool) -> MakeTrainer:
        return make

    return maker


class _Configured:
    """Gives what makes the trainers of configs. Their data are read here, and lie in Ray's object store once.

    Args:
        config: of the sweep.
        verbose: of the trainers.

    Raises:
        UserError: whatever is wrong with the data, or no trusted sample that can be held out.
    """

    def __init__(self, config: TrainConfig, verbose: bool) -> None:
        self._first: tuple[int, Splits] | None = (config.run.seed, prepare(config.data, config.run.seed))
        self._verbose = verbose
        meta, mentor = self._first[1].meta, config.mentor
        if meta_parts(meta, holdout=mentor.meta_holdout, training=0.0, seed=0).held_out is None:
            raise UserError(
                f"meta_holdout is {mentor.meta_holdout:g}, of {len(meta)} trusted samples, but a sweep chooses by the "
                "accuracy on held-out ones, never on the test split; give a share above 0, e.g. --meta-holdout 0.3, "
                "and more than one sample of each class"
            )
        self._stored: dict[tuple[int, bool], Any] = {}

    def __call__(self, configs: Sequence[TrainConfig], *, test: bool) -> MakeTrainer:
        for config in configs:
            key = (config.run.seed, test)
            if key not in self._stored:
                splits = self._splits(config)
                self._stored[key] = ray.put(splits if test else dataclasses.replace(splits, test=None))
        return ConfiguredTrainer(
            {config.run.seed: self._stored[config.run.seed, test] for config in configs}, self._verbose
        )

    def _splits(self, config: TrainConfig) -> Splits:
        """What was read before the start is not kept here beside the store."""
        first, self._first = self._first, None
        if first is not None and first[0] == config.run.seed:
            return first[1]
        return prepare(config.data, config.run.seed)


@dataclass(frozen=True)
class ConfiguredTrainer:
    """Makes the trainer that a config describes.

    Attributes:
        stored: by seed, which the splits are drawn by: where they lie in Ray's object store.
        verbose: of the trainers.
    """

    stored: Mapping[int, Any]
    verbose: bool = False

    def __call__(self, config: TrainConfig, *, test: bool) -> CurriculumTrainer:
        place = self.stored[config.run.seed]
        trainer = make_trainer(config, ray.get(place), verbose=self.verbose)
        trainer.stored_at(place)
        return trainer


def _space(space: str | Mapping[str, Any]) -> FoundSpace:
    return find_space(space) if isinstance(space, str) else space_of("dict", dict(space))


def _named(config: TrainConfig, found: FoundSpace) -> TrainConfig:
    """With a name for the sweep, where it has none."""
    word = "".join(c if c.isalnum() else "-" for c in found.name.rsplit("/", 1)[-1])
    name = config.run.run_name or fresh_name("sweep", word)
    return dataclasses.replace(config, run=dataclasses.replace(config.run, run_name=name))


def _directory(config: TrainConfig, record: Mapping[str, Any]) -> RunDirectory:
    """Where the sweep writes; what is there already is taken up only if it is to be, and under the same settings."""
    run, storage = config.run, config.run.storage_path
    if "://" in storage and "?" in storage:
        raise UserError(
            f"storage_path is {shown(storage)}, but a sweep makes folders below it, and takes no URI with a query; "
            "give one without, or a folder"
        )
    check_name(storage, str(run.run_name))
    directory = RunDirectory(f"{absolute(storage)}/{run.run_name}")
    check_lasts(directory.path)
    resume = resuming(directory, resume=run.resume, or_start=run.resume_or_start)
    if directory.exists() and not resume:
        raise UserError(f"sweep {directory.path} is there already; give another --run-name, or go on with it: --resume")
    if resume:
        if not directory.exists():
            raise UserError(f"there is no sweep {directory.path} to resume; check --run-name and --storage-path")
        check_same_run(record, directory, also_kept=("epochs", "workers"))
    return directory


def _closed(found: Found, display: SweepDisplay) -> SweepOutcome:
    """Writes what a person reads, ``sweep.json`` last."""
    directory = found.directory
    best = None if found.best is None else found.best.config
    if best is not None:
        plain = {name: value for name, value in best.flat().items() if name not in _OF_THE_SWEEP}
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
