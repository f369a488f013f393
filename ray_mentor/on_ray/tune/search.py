"""How a sweep chooses: which settings are tried next, and which trials are worth going on with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, PopulationBasedTraining, TrialScheduler
from ray.tune.search import BasicVariantGenerator, SearchAlgorithm, Searcher
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.sample import Categorical, Domain, Float, Integer

from ray_mentor.errors import UserError, one_of
from ray_mentor.on_ray.tune.spaces import mutable

SCHEDULERS = ("asha", "pbt", "none")
SEARCHES = ("random", "optuna", "pareto")

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
        return ASHAScheduler(**aim, max_t=max(epochs, 1), grace_period=grace, reduction_factor=3)
    live = {key: domains[key] for key in mutable(domains)}
    if not live:
        raise UserError(
            "scheduler pbt changes settings in the middle of a run, but this space has none that can be; add e.g. "
            "mentor_learning_rate or update_interval to it, or give --scheduler asha"
        )
    mutations = {key: list(d.categories) if isinstance(d, Categorical) else d for key, d in live.items()}
    return PopulationBasedTraining(
        **aim,
        perturbation_interval=math.ceil(epochs / 10),
        burn_in_period=math.ceil(epochs / 5),
        synch=True,  # otherwise trials of equal rank take over one another for ever, and nobody else gets a place
        hyperparam_mutations=mutations,
        custom_explore_fn=_Inside(live),
        log_config=False,
    )


def make_search(name: str, seed: int, domains: Mapping[str, Any]) -> SearchAlgorithm | Searcher:
    """The search of this name: random draws, Optuna's TPE, or pareto: Optuna for accuracy against seconds.

    Raises:
        UserError: an unknown name, or a domain that Optuna does not know.
    """
    one_of(name, SEARCHES, "search")
    if name == "random":
        return BasicVariantGenerator(random_state=seed)
    try:
        OptunaSearch.convert_search_space(dict(domains))
    except Exception as error:  # Ray Tune raises whatever it trips over
        raise UserError(
            f"search is {name!r}, but the space has a domain that Optuna does not know ({error}); use choice, uniform, "
            "loguniform, quniform, randint or lograndint, or give --search random"
        ) from error
    if name == "optuna":
        return OptunaSearch(metric=_OBJECTIVE, mode="max", seed=seed)
    return OptunaSearch(metric=["accuracy", "seconds"], mode=["max", "min"], seed=seed)


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
