"""Which trials of a sweep are worth going on with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search.sample import Categorical, Domain, Float, Integer

from ray_mentor.errors import UserError, one_of
from ray_mentor.on_ray.session.internals.of_tune import Population
from ray_mentor.on_ray.tune.spaces import mutable
from ray_mentor.on_ray.tune.trial import NAME
from ray_mentor.run.progress import Row

SCHEDULERS = ("asha", "pbt", "none")

_EPOCH, _OBJECTIVE = "epoch", "objective"


def make_scheduler(name: str, domains: Mapping[str, Any], epochs: int) -> TrialScheduler:
    """The scheduler of this name; it counts in epochs done.

    asha: a trial may go on past ⌈epochs/5⌉, 3 times that, ... epochs if it is among the best third there. By the first
    of these a mentor has learnt for a while: burn-in, 15 % by default, is over. pbt: every ⌈epochs/10⌉ epochs from
    ⌈epochs/5⌉ on all wait for one another, and the worst quarter takes over the whole state of one of the best, with
    settings near its own.

    Raises:
        UserError: an unknown name, or pbt on a space of which nothing can change in the middle of a run.
    """
    one_of(name, SCHEDULERS, "scheduler")
    if name == "none":
        return FIFOScheduler()
    aim: dict[str, Any] = {"time_attr": _EPOCH, "metric": _OBJECTIVE, "mode": "max"}
    if name == "asha":
        grace = min(math.ceil(epochs / 5), epochs)
        return Asha(**aim, max_t=max(epochs, 1), grace_period=grace, reduction_factor=3)
    live = {key: domains[key] for key in mutable(domains)}
    if not live:
        raise UserError(
            "scheduler pbt changes settings in the middle of a run, but this space has none that can be; add e.g. "
            "mentor_learning_rate or update_interval to it, or give --scheduler asha"
        )
    mutations = {key: list(d.categories) if isinstance(d, Categorical) else d for key, d in live.items()}
    return Population(
        NAME,
        **aim,
        perturbation_interval=math.ceil(epochs / 10),
        burn_in_period=math.ceil(epochs / 5),
        synch=True,  # otherwise trials of equal rank take over one another for ever, and nobody else gets a place
        hyperparam_mutations=mutations,
        custom_explore_fn=_Inside(live),
        log_config=False,
    )


class Asha(ASHAScheduler):
    """ASHA that knows trials by the names that a sweep's record has: those of Ray Tune are others each time."""

    def __init__(self, *, max_t: int, **arguments: Any) -> None:
        super().__init__(max_t=max_t, **arguments)
        self._epochs = max_t

    def remember(self, rows: Iterable[Row]) -> set[str]:
        """Takes up what was told of trials, in order; returns those that it has stopped before their end."""
        stopped: set[str] = set()
        for row in rows:
            trial = SimpleNamespace(config={NAME: row["trial"]})
            if row["kind"] == "begun":
                self.on_trial_add(None, trial)
            elif row["kind"] == "trial" and self.on_trial_result(None, trial, row) == TrialScheduler.STOP:
                stopped |= {row["trial"]} if row["epoch"] < self._epochs else set()
        return stopped

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_add(tune_controller, _named(trial))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Any) -> str:
        decision: str = super().on_trial_result(tune_controller, _named(trial), result)
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: Any) -> None:
        super().on_trial_complete(tune_controller, _named(trial), result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_remove(tune_controller, _named(trial))


def _named(trial: Any) -> Any:
    return SimpleNamespace(trial_id=trial.config[NAME])


class _Inside:
    """Brings settings that were multiplied by 0.8 or 1.2 back between the ends of their domains."""

    def __init__(self, domains: Mapping[str, Domain]) -> None:
        self._ends = {
            name: (domain.lower, domain.upper - isinstance(domain, Integer))
            for name, domain in domains.items()
            if isinstance(domain, Float | Integer)
        }

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        inside = {name: min(max(sample[name], low), high) for name, (low, high) in self._ends.items()}
        return {**sample, **inside}
