"""Which settings are tried next."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import optuna
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.sample import Domain
from ray.tune.search.variant_generator import generate_variants

from ray_mentor.errors import UserError, one_of
from ray_mentor.on_ray.tune.record import Sample, Told
from ray_mentor.on_ray.tune.trial import NAME

SEARCHES = ("random", "optuna", "pareto")

_AIMS = {"optuna": {"objective": "max"}, "pareto": {"accuracy": "max", "seconds": "min"}}
"""What Optuna makes large or small."""

_DIRECTIONS = {"max": optuna.study.StudyDirection.MAXIMIZE, "min": optuna.study.StudyDirection.MINIMIZE}

_STUDY = "study"


def check_search(name: str, domains: Mapping[str, Any]) -> None:
    """Raises what :func:`make_search` would.

    Raises:
        UserError: an unknown name, or a domain that Optuna does not know.
    """
    one_of(name, SEARCHES, "search")
    if name == "random":
        return
    try:
        OptunaSearch.convert_search_space(dict(domains))
    except Exception as error:  # Ray Tune raises whatever it trips over
        raise UserError(
            f"search is {name!r}, but the space has a domain that Optuna does not know ({error}); use choice, uniform, "
            "loguniform, quniform, randint or lograndint, or give --search random"
        ) from error


def make_search(
    name: str, seed: int, domains: Mapping[str, Any], trials: Iterable[Told] = (), again: Sequence[Told] = ()
) -> Searcher:
    """The search of this name: random draws, Optuna's TPE, or pareto: Optuna for accuracy against seconds.

    Args:
        trials: that were drawn before, in order. Random draws go on behind theirs; Optuna knows what those came to
            that have ended, and draws from a stream of its own.
        again: those among them that are to be suggested before any new one.

    Raises:
        UserError: an unknown name, or a domain that Optuna does not know.
    """
    check_search(name, domains)
    before = list(trials)
    if name == "random":
        return _Random(domains, seed, len(before), [told.sample for told in again])
    with _optuna_is_quiet():
        return _optuna(name, seed, domains, before, {told.name for told in again})


def _optuna(name: str, seed: int, domains: Mapping[str, Any], before: Sequence[Told], again: set[str]) -> Searcher:
    names, modes = list(_AIMS[name]), list(_AIMS[name].values())
    distributions = OptunaSearch.convert_search_space(dict(domains))
    storage = optuna.storages.InMemoryStorage()
    directions = [_DIRECTIONS[mode] for mode in modes]
    study = optuna.create_study(storage=storage, study_name=_STUDY, directions=directions)
    for told in before:
        params = {key: told.sample[key] for key in distributions}
        if told.name in again:
            study.enqueue_trial(params)
        elif told.last is not None and all(math.isfinite(told.last[aim]) for aim in names):
            values = [told.last[aim] for aim in names]
            study.add_trial(optuna.trial.create_trial(values=values, params=params, distributions=distributions))
    one = len(names) == 1
    return OptunaSearch(
        distributions,
        metric=names[0] if one else names,
        mode=modes[0] if one else modes,
        study_name=_STUDY,
        storage=storage,
        seed=seed if not before else int(np.random.default_rng([seed, len(before)]).integers(2**31)),
    )


@contextmanager
def _optuna_is_quiet() -> Iterator[None]:
    """It tells of each study that it makes or finds."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


class _Random(Searcher):
    """Independent draws, the same for the same seed, whoever was interrupted where."""

    def __init__(self, domains: Mapping[str, Any], seed: int, skip: int, first: Sequence[Sample]) -> None:
        super().__init__()
        self._domains = dict(domains)
        self._random = np.random.default_rng(seed)
        self._first = list(first)
        for _ in range(skip):
            self._draw()

    def suggest(self, trial_id: str) -> Sample:
        return self._first.pop(0) if self._first else self._draw()

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        pass

    def _draw(self) -> Sample:
        ((_, sample),) = generate_variants(self._domains, random_state=self._random)
        return dict(sample)


class Suggestions(Searcher):
    """Hands Ray Tune what a search suggests, with the name of the trial that it is for.

    Args:
        search: of a sweep.
        domains: of its space.
        again: names of trials whose settings the search suggests first.
        begin: told of each new trial and its settings, before Ray Tune knows of it.
    """

    def __init__(
        self,
        search: Searcher,
        domains: Mapping[str, Any],
        again: Iterable[str],
        begin: Callable[[str, Sample], None],
    ) -> None:
        super().__init__()
        self._search = search
        self._fixed = {name: value for name, value in domains.items() if not isinstance(value, Domain)}
        self._again = list(again)
        self._begin = begin

    def suggest(self, trial_id: str) -> Sample:
        sample = {**self._fixed, **(self._search.suggest(trial_id) or {})}
        if self._again:
            return {**sample, NAME: self._again.pop(0)}
        self._begin(trial_id, sample)
        return {**sample, NAME: trial_id}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self._search.on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._search.on_trial_complete(trial_id, result, error)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """The sweep's own record is what another call goes on from."""


class Listed(Searcher):
    """Suggests runs by their names, one after another."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self._names = list(names)

    def suggest(self, trial_id: str) -> Sample:
        return {NAME: self._names.pop(0)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        pass

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """There is nothing to save."""
