"""A sweep from start to end: baseline, search, confirmation."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd
import ray
from ray import tune

from ray_mentor.config import TrainConfig
from ray_mentor.config.file import to_toml
from ray_mentor.config.sweep import SweepSettings
from ray_mentor.errors import UserError
from ray_mentor.on_ray.session.growth import has_autoscaler
from ray_mentor.on_ray.session.session import ray_session
from ray_mentor.on_ray.train.watch import watched
from ray_mentor.on_ray.tune.confirm import fresh_seeds, verdict
from ray_mentor.on_ray.tune.objective import Objective
from ray_mentor.on_ray.tune.room import at_once, needs
from ray_mentor.on_ray.tune.search import make_scheduler, make_search
from ray_mentor.on_ray.tune.spaces import FoundSpace, config_of
from ray_mentor.on_ray.tune.stage import Stage, results_of
from ray_mentor.on_ray.tune.table import trial_table
from ray_mentor.on_ray.tune.told import ToldRows
from ray_mentor.on_ray.tune.trial import LISTED, MakeTrainer, Plan
from ray_mentor.run.checkpoint.checkpoints import newest_good
from ray_mentor.run.directory import CONFIG, RunDirectory
from ray_mentor.run.marks import Show
from ray_mentor.run.outcome import versions
from ray_mentor.run.progress import ProgressBoard, Row

Metrics = Sequence[Mapping[str, float | None]]
"""A row an epoch."""


@dataclass(frozen=True)
class Best:
    """The best trial: what it was drawn as, and the settings that this comes to."""

    trial: str
    objective: float
    sample: Mapping[str, Any]
    config: TrainConfig


@dataclass(frozen=True)
class Found:
    """What a sweep found.

    Attributes:
        grid: Ray Tune's results, a trial each.
        trials: the same as a table, best first.
        curves: a row a trial and epoch.
        best: None if no trial got through an epoch.
        summary: what ``sweep.json`` holds.
    """

    grid: tune.ResultGrid
    trials: pd.DataFrame
    curves: pd.DataFrame
    best: Best | None
    summary: dict[str, Any]


@dataclass(frozen=True)
class Study:
    """A sweep that is about to run.

    Attributes:
        space: what is searched.
        base: the settings around it.
        settings: how it is searched.
        make: makes trainers, in the trials' processes.
        directory: of the sweep.
        record: settings to write into it.
        show: takes progress rows of the search, and notes.
        verbose: let Ray's own log through.
    """

    space: FoundSpace
    base: TrainConfig
    settings: SweepSettings
    make: MakeTrainer
    directory: RunDirectory
    record: Mapping[str, Any]
    show: Show
    verbose: bool = False

    @property
    def objective(self) -> str:
        """What is made large."""
        return self.settings.objective or self.space.objective

    @property
    def trials(self) -> int:
        """How many."""
        return self.settings.trials or self.space.trials

    def run(self) -> Found:
        """Runs it, or the rest of one that was interrupted. Nothing is written for one that is refused.

        Raises:
            UserError: a cluster on which no trial fits.
        """
        began = time.time()
        run = self.base.run
        scheduler = make_scheduler(self.settings.scheduler, self.space.domains, run.epochs)
        search = make_search(self.settings.search, run.seed, self.space.domains)
        with ray_session(needs(run), verbose=self.verbose, node_seconds=run.node_seconds, tell=self._note):
            there = ray.cluster_resources()
            concurrent = min(at_once(run, there, self.settings.concurrent, has_autoscaler), self.trials)
            self.directory.create(("runs", "tune"))
            self.directory.write(CONFIG, to_toml(self.record).encode())
            self._note(_room(concurrent, run.workers, there, needs(run).total))
            baseline = self._baseline(concurrent) if self.objective == "gap-per-cost" else []
            told = ToldRows(self.directory)
            grid = self._search(search, scheduler, concurrent, baseline, told)
            trials = trial_table(grid, self.space.domains, self.base)
            best = self._best(grid, trials)
            confirmed = self._confirm(concurrent, best.config) if best and self.settings.confirm_seeds else None
        figures = {
            **self._asked(),
            "states": {str(name): int(count) for name, count in trials["state"].value_counts().items()},
            "seconds": time.time() - began,
            "concurrent": concurrent,
            "best": best and {"trial": best.trial, "objective": best.objective, "settings": dict(best.sample)},
            "baseline": _last(baseline),
            "confirm": confirmed,
            "versions": versions(),
        }
        return Found(grid, trials, told.table(), best, figures)

    def _baseline(self, concurrent: int) -> Metrics:
        """The metrics of equal sample weights, which gap-per-cost is measured from."""
        equal = dataclasses.replace(self.base, curriculum=dataclasses.replace(self.base.curriculum, method="uniform"))
        self._note("measuring equal sample weights, which gap-per-cost is measured from")
        [result] = self._listed("baseline", [equal], concurrent)
        if result.error is not None:
            raise UserError(f"the run with equal sample weights failed ({result.error}), so there is no gap to measure")
        assert result.metrics is not None
        found = newest_good(RunDirectory(result.metrics["path"]), lambda text: None)
        assert found is not None, "a finished run has a checkpoint"
        return found.state.log.metrics

    def _search(
        self, search: Any, scheduler: Any, concurrent: int, baseline: Metrics, told: ToldRows
    ) -> tune.ResultGrid:
        objective = Objective(self.objective, self.base.run.epochs, baseline)

        def take_down(row: Row) -> None:
            told.add(row)
            self.show(row)

        with told.kept(), self._board(take_down) as board:
            plan = Plan(
                self.base,
                self.make,
                objective,
                f"{self.directory.path}/runs",
                board,
                ends_hopeless=self.settings.end_hopeless,
            )
            return Stage(
                plan,
                f"{self.directory.path}/tune",
                "search",
                concurrent,
                self.space.domains,
                search,
                scheduler,
                self.trials,
            ).run()

    def _best(self, grid: tune.ResultGrid, trials: pd.DataFrame) -> Best | None:
        """The trial with the largest objective among those that went to the end, or among all if none did."""
        known = trials[trials["objective"].notna() & trials["error"].isna()]
        ended = known[known["state"] == "finished"]
        if known.empty:
            return None
        row = (known if ended.empty else ended).iloc[0]
        samples = {(r.metrics or {}).get("trial_id"): r.config or {} for r in results_of(grid)}
        sample = samples[row["trial"]]
        return Best(str(row["trial"]), float(row["objective"]), sample, config_of(self.base, sample))

    def _confirm(self, concurrent: int, best: TrainConfig) -> dict[str, Any] | None:
        """Best and default settings on fresh seeds, with the test split, which no trial has seen."""
        seeds = fresh_seeds(self.base.run.seed, self.settings.confirm_seeds)
        self._note(f"training the best settings and those that it began from on seeds {', '.join(map(str, seeds))}")
        configs = [_with_seed(config, seed) for seed in seeds for config in (best, self.base)]
        results = self._listed("confirm", configs, concurrent)
        failed = next((result.error for result in results if result.error is not None), None)
        if failed is not None:
            self._note(f"warning: a run of the confirmation failed, so there is no verdict: {failed}")
            return None
        by_place = {r.config[LISTED]: r.metrics["result"]["test_accuracy"] for r in results if r.config and r.metrics}
        accuracies = [by_place[place] for place in range(len(configs))]
        if None in accuracies:
            self._note("warning: there is no test split, so there is no verdict")
            return None
        found, default = accuracies[::2], accuracies[1::2]
        tested = {"best": {"test_accuracy": found}, "default": {"test_accuracy": default}}
        return {"seeds": seeds, **tested, **verdict(found, default)}

    def _listed(self, name: str, configs: Sequence[TrainConfig], concurrent: int) -> list[tune.Result]:
        """Runs that are not searched, each to its end."""
        objective = Objective("accuracy", self.base.run.epochs)
        with self._board(lambda row: None) as board:
            plan = Plan(self.base, self.make, objective, f"{self.directory.path}/{name}", board, tuple(configs), False)
            return results_of(Stage(plan, f"{self.directory.path}/tune", name, min(concurrent, len(configs)), {}).run())

    @contextmanager
    def _board(self, show: Show) -> Iterator[Any]:
        board: Any = ray.remote(ProgressBoard).options(num_cpus=0).remote()
        try:
            with watched(board, show):
                yield board
        finally:
            ray.kill(board)

    def _note(self, text: str) -> None:
        self.show({"kind": "note", "text": text})

    def _asked(self) -> dict[str, Any]:
        return {
            "space": self.space.name,
            "objective": self.objective,
            "scheduler": self.settings.scheduler,
            "search": self.settings.search,
            "trials": self.trials,
            "seed": self.base.run.seed,
            "epochs": self.base.run.epochs,
        }


def _last(metrics: Metrics) -> dict[str, float | None] | None:
    """What a whole run comes to."""
    if not metrics:
        return None
    return {"accuracy": metrics[-1]["validation_accuracy"], "seconds": metrics[-1]["train_seconds"]}


def _room(concurrent: int, workers: int, there: Mapping[str, float], each: Mapping[str, float]) -> str:
    """How many trials run at a time, and why."""
    takes = " and ".join(f"{amount:g} {name}" for name, amount in each.items())
    has = " and ".join(f"{there.get(name, 0.0):g} {name}" for name, amount in each.items())
    how = f"{workers} workers each" if workers else "a process each"
    return f"trials at a time: {concurrent}, {how}; a trial takes {takes}, and there are {has}"


def _with_seed(config: TrainConfig, seed: int) -> TrainConfig:
    return dataclasses.replace(config, run=dataclasses.replace(config.run, seed=seed))
