"""A sweep from start to end: baseline, search, confirmation."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from ray.tune.schedulers import TrialScheduler

from ray_mentor.config import TrainConfig
from ray_mentor.config.file import to_toml
from ray_mentor.config.sweep import SweepSettings
from ray_mentor.errors import UserError
from ray_mentor.on_ray.tune.listed import RUNS, ListedRuns, Makers, place
from ray_mentor.on_ray.tune.objective import Objective
from ray_mentor.on_ray.tune.record import Record, Told
from ray_mentor.on_ray.tune.resumed import true_accuracies, unfinished
from ray_mentor.on_ray.tune.schedulers import Asha, make_scheduler
from ray_mentor.on_ray.tune.search import Suggestions, check_search, make_search
from ray_mentor.on_ray.tune.spaces import FoundSpace, config_of
from ray_mentor.on_ray.tune.stage import Stage
from ray_mentor.on_ray.tune.table import curves, trial_table
from ray_mentor.on_ray.tune.trial import Plan, metrics_of
from ray_mentor.run.claim import ClaimedDirectory
from ray_mentor.run.directory import CONFIG, RunDirectory
from ray_mentor.run.marks import Show
from ray_mentor.run.outcome import versions
from ray_mentor.run.over_seeds.verdict import fresh_seeds, verdict
from ray_mentor.run.progress import Row

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
        trials: a row a trial, best first.
        curves: a row a trial and epoch.
        best: None if no trial got through an epoch.
        summary: what ``sweep.json`` holds.
        directory: of the sweep, which this process has taken up.
    """

    trials: pd.DataFrame
    curves: pd.DataFrame
    best: Best | None
    summary: dict[str, Any]
    directory: ClaimedDirectory


@dataclass(frozen=True)
class Study:
    """A sweep that is about to run.

    Attributes:
        space: what is searched.
        base: the settings around it.
        settings: how it is searched.
        makers: gives what makes the trainers of runs with these settings, with their test split or without.
        directory: of the sweep.
        settings_file: what to write into it as its settings.
        show: takes progress rows of the search, and notes.
        verbose: let Ray's own log through.
    """

    space: FoundSpace
    base: TrainConfig
    settings: SweepSettings
    makers: Makers
    directory: RunDirectory
    settings_file: Mapping[str, Any]
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
            UserError: a cluster on which no trial fits; an interrupted sweep whose files are damaged; a sweep that
                another process takes up before this one is through.
        """
        began = time.time()
        run = self.base.run
        check_search(self.settings.search, self.space.domains)
        self._remembered()
        with place(
            self.directory, run, self.settings.concurrent, self.trials, self._note, verbose=self.verbose
        ) as here:
            return dataclasses.replace(self, directory=here.directory)._claimed(here.directory, here.concurrent, began)

    def _claimed(self, claimed: ClaimedDirectory, concurrent: int, began: float) -> Found:
        """Runs it where nobody else adds anything by now."""
        claimed.write(CONFIG, to_toml(self.settings_file).encode())
        scheduler, record, again = self._remembered()
        baseline = self._baseline(concurrent) if self.objective == "gap-per-cost" else []
        objective = Objective(self.objective, self.base.run.epochs, baseline)
        self._search(scheduler, concurrent, objective, record, again)
        trials = trial_table(record, self._runs, self.space.domains, self.base)
        best = self._best(record, trials)
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
        return Found(trials, curves(record, self._runs, objective), best, figures, claimed)

    def _remembered(self) -> tuple[TrialScheduler, Record, list[Told]]:
        """What was told of the sweep before, to the scheduler too, and the trials that go on."""
        scheduler = make_scheduler(self.settings.scheduler, self.space.domains, self.base.run.epochs)
        record = Record(self.directory, self.space.domains)
        if isinstance(scheduler, Asha):
            for name in scheduler.remember(record.rows):  # right before the sweep was killed, maybe
                record.trials[name].state = record.trials[name].state or "stopped"
        return scheduler, record, unfinished(record, self._runs, self.base, self.space.domains)

    @property
    def _runs(self) -> str:
        """The folder of the trials' run directories."""
        return f"{self.directory.path}/{RUNS}"

    def _baseline(self, concurrent: int) -> Metrics:
        """The metrics of equal sample weights, which gap-per-cost is measured from."""
        self._note("measuring equal sample weights, which gap-per-cost is measured from")
        equal = dataclasses.replace(self.base, curriculum=dataclasses.replace(self.base.curriculum, method="uniform"))
        [run] = self._listed("baseline", [equal], concurrent, test=False)
        if isinstance(run, str):
            raise UserError(f"the run with equal sample weights failed ({run}), so there is no gap to measure")
        return metrics_of(run, self.base.run.epochs)

    def _search(
        self, scheduler: TrialScheduler, concurrent: int, objective: Objective, record: Record, again: list[Told]
    ) -> None:
        names = [told.name for told in again]
        for told in record.trials.values():
            if told.name not in names:
                objective_then = (told.last or {}).get("objective")
                self.show({"kind": "ended", "trial": told.name, "state": told.state, "objective": objective_then})
        if record.trials:
            anew = "; population based training begins anew among them" if self.settings.scheduler == "pbt" else ""
            self._note(f"trials that were begun before: {len(record.trials)}, of which go on: {len(again)}{anew}")
        domains = self.space.domains
        search = make_search(self.settings.search, self.base.run.seed, domains, record.trials.values(), again)

        def tell(row: Row) -> None:
            if row["kind"] != "note":
                record.add(row)
            self.show(row)

        try:
            Stage(
                Plan(
                    self.base,
                    self.makers([self.base], test=False),
                    objective,
                    self._runs,
                    ends_hopeless=self.settings.end_hopeless,
                ),
                self.directory.path,
                concurrent,
                Suggestions(search, domains, names, record.begin),
                len(again) + max(self.trials - len(record.trials), 0),
                tell,
                scheduler,
            ).run()
        finally:
            record.close()

    def _best(self, record: Record, trials: pd.DataFrame) -> Best | None:
        """The trial with the largest objective among those that went to the end, or among all if none did."""
        known = trials[trials["objective"].notna() & trials["error"].isna()]
        ended = known[known["state"] == "finished"]
        if known.empty:
            return None
        row = (known if ended.empty else ended).iloc[0]
        last = record.trials[row["trial"]].last or {}
        sample = last["settings"]
        return Best(str(row["trial"]), float(row["objective"]), sample, config_of(self.base, sample))

    def _confirm(self, concurrent: int, best: TrainConfig) -> dict[str, Any] | None:
        """Best and default settings on fresh seeds.

        Measured on a test split whose truth is known, which no trial has seen, or on held-out trusted samples.
        """
        seeds = fresh_seeds(self.base.run.seed, self.settings.confirm_seeds)
        self._note(f"training the best settings and those that it began from on seeds {', '.join(map(str, seeds))}")
        configs = [_with_seed(config, seed) for seed in seeds for config in (best, self.base)]
        runs = self._listed("confirm", configs, concurrent, test=True)
        failed = next((run for run in runs if isinstance(run, str)), None)
        if failed is not None:
            self._note(f"warning: a run of the confirmation failed, so there is no verdict: {failed}")
            return None
        measured = true_accuracies([run for run in runs if not isinstance(run, str)])
        if measured is None:
            self._note("warning: neither a test split's truth is known nor is a trusted sample held out: no verdict")
            return None
        on, accuracies = measured
        found, default = accuracies[::2], accuracies[1::2]
        return {"seeds": seeds, "on": on, "best": {on: found}, "default": {on: default}, **verdict(found, default)}

    def _listed(
        self, folder: str, configs: Sequence[TrainConfig], concurrent: int, *, test: bool
    ) -> list[RunDirectory | str]:
        return ListedRuns(self.base, self.makers, self.directory, folder, concurrent, test=test).run(configs)

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
    return {"accuracy": metrics[-1]["trusted_accuracy"], "seconds": metrics[-1]["train_seconds"]}


def _with_seed(config: TrainConfig, seed: int) -> TrainConfig:
    return dataclasses.replace(config, run=dataclasses.replace(config.run, seed=seed))
