"""What is tried next, and which trials go on: in one piece, or after an interruption from the record alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from ray import tune
from ray.tune.schedulers import TrialScheduler

from ray_mentor.on_ray.tune.record import Told
from ray_mentor.on_ray.tune.schedulers import Asha, make_scheduler
from ray_mentor.on_ray.tune.search import Listed, Suggestions, make_search
from ray_mentor.on_ray.tune.trial import NAME

DOMAINS = {
    "update_interval": tune.choice([1, 5, 10]),
    "mentor_learning_rate": tune.loguniform(1e-3, 1e-1),
    "meta_batch_size": tune.randint(10, 20),
    "anchor": 0.5,
}


def told(name: str, sample: dict[str, Any], accuracy: float | None, seconds: float = 1.0) -> Told:
    last = None if accuracy is None else {"objective": accuracy, "accuracy": accuracy, "seconds": seconds}
    return Told(name, sample, last=last)


def suggested(search: Any, count: int) -> list[dict[str, Any]]:
    return [search.suggest(f"t{number}") for number in range(count)]


def test_random_draws_go_on_where_they_were_interrupted() -> None:
    whole = suggested(make_search("random", 7, DOMAINS), 6)
    assert len({sample["mentor_learning_rate"] for sample in whole}) == 6
    before = [told(f"a{number}", sample, 0.5) for number, sample in enumerate(whole[:4])]
    again = suggested(make_search("random", 7, DOMAINS, before, [before[1], before[3]]), 4)
    assert again == [whole[1], whole[3], whole[4], whole[5]]


def studied(search: Any) -> list[optuna.trial.FrozenTrial]:
    trials: list[optuna.trial.FrozenTrial] = search._ot_study.trials
    return trials


@pytest.mark.parametrize("name", ["optuna", "pareto"])
def test_optuna_knows_what_trials_came_to_that_ended_before(name: str) -> None:
    whole = suggested(make_search(name, 7, DOMAINS), 5)
    samples = [{**sample, "anchor": 0.5} for sample in whole]
    before = [
        told("a0", samples[0], 0.5, 3.0),
        told("a1", samples[1], None),  # failed in its first epoch
        told("a2", samples[2], 0.7, 4.0),  # goes on
        told("a3", samples[3], float("nan")),
        told("a4", samples[4], 0.6, 5.0),
    ]
    search = make_search(name, 7, DOMAINS, before, [before[2]])
    known = [trial for trial in studied(search) if trial.state == optuna.trial.TrialState.COMPLETE]
    assert [trial.params for trial in known] == [whole[0], whole[4]]
    assert [trial.values for trial in known] == ([[0.5], [0.6]] if name == "optuna" else [[0.5, 3.0], [0.6, 5.0]])
    first, second = suggested(search, 2)
    assert first == whole[2]
    assert second not in whole, "it draws anew, but not the same again"
    search.on_trial_complete("t0", {"objective": 0.8, "accuracy": 0.8, "seconds": 6.0})
    assert ([0.8] if name == "optuna" else [0.8, 6.0]) in [trial.values for trial in studied(search)]


def test_what_optuna_was_told_of_has_a_say_in_what_it_suggests() -> None:
    """Twelve bad draws everywhere but near 0.05, and twelve good ones there: the next are near."""
    rates = [*np.geomspace(0.001, 0.01, 12), *np.geomspace(0.045, 0.055, 12)]
    before = [
        told(
            f"a{number}",
            {"update_interval": 1, "mentor_learning_rate": float(rate), "meta_batch_size": 12, "anchor": 0.5},
            0.9 if rate > 0.04 else 0.1,
        )
        for number, rate in enumerate(rates)
    ]
    assert low(make_search("optuna", 0, DOMAINS, before)) <= 2
    assert low(make_search("optuna", 0, DOMAINS)) >= 6


def low(search: Any) -> int:
    """How many of twenty suggested learning rates lie in the lower half."""
    return sum(sample["mentor_learning_rate"] < 0.01 for sample in suggested(search, 20))


def test_a_new_trial_is_written_down_before_ray_tune_knows_of_it() -> None:
    begun: list[tuple[str, dict[str, Any]]] = []
    search = make_search("optuna", 0, DOMAINS)
    suggestions = Suggestions(search, DOMAINS, ["b7"], lambda name, sample: begun.append((name, sample)))
    first = suggestions.suggest("t0")
    assert first[NAME] == "b7"
    assert begun == []
    second = suggestions.suggest("t1")
    assert second[NAME] == "t1"
    assert begun == [("t1", {name: value for name, value in second.items() if name != NAME})]
    assert begun[0][1].keys() == DOMAINS.keys()


def test_listed_runs_are_suggested_by_name() -> None:
    listed = Listed({"one": 1, "two": 2})
    assert suggested(listed, 2) == [{NAME: "one"}, {NAME: "two"}]


# ASHA


class ATrial:
    """As much of Ray Tune's as a scheduler looks at; its own id is another in each call."""

    def __init__(self, name: str, call: int) -> None:
        self.trial_id = f"{name}-{call}"
        self.config = {NAME: name}


def test_asha_decides_after_an_interruption_as_it_would_have_without_one() -> None:
    """Forty trials tell their epochs in any order; whenever it is interrupted, every later decision is the same."""
    random = np.random.default_rng(3)
    epochs = 20
    rows: list[dict[str, Any]] = []
    undisturbed = asha(epochs)
    decisions: list[str] = []
    trials = {f"a{number}": ATrial(f"a{number}", 0) for number in range(40)}
    for name, trial in trials.items():
        undisturbed.on_trial_add(None, trial)
        rows.append({"kind": "begun", "trial": name})
    alive, done = list(trials), dict.fromkeys(trials, 0)
    while alive:
        name = str(random.choice(alive))
        done[name] += 1
        row = {"kind": "trial", "trial": name, "epoch": done[name], "objective": float(random.normal())}
        decisions.append(undisturbed.on_trial_result(None, trials[name], row))
        rows.append(row)
        if decisions[-1] == TrialScheduler.STOP:
            alive.remove(name)
            rows.append({"kind": "ended", "trial": name})
    told_rows = [row for row in rows if row["kind"] == "trial"]
    assert 5 < decisions.count(TrialScheduler.STOP) <= 40
    for cut in (0, 1, 60, 150, len(told_rows) - 5):
        at = rows.index(told_rows[cut])
        resumed = asha(epochs)
        stopped = resumed.remember(rows[:at])
        assert stopped == {
            row["trial"]
            for row, decision in zip(told_rows[:cut], decisions[:cut], strict=True)
            if decision == TrialScheduler.STOP and row["epoch"] < epochs
        }
        again = {name: ATrial(name, 1) for name in trials if name not in stopped}
        for trial in again.values():
            resumed.on_trial_add(None, trial)
        for row, decision in zip(told_rows[cut:], decisions[cut:], strict=True):
            assert resumed.on_trial_result(None, again[row["trial"]], row) == decision


def asha(epochs: int) -> Asha:
    scheduler = make_scheduler("asha", {}, epochs)
    assert isinstance(scheduler, Asha)
    return scheduler


def test_a_population_keeps_its_names() -> None:
    scheduler: Any = make_scheduler("pbt", DOMAINS, 60)
    worst, best = ATrial("worst", 0), ATrial("best", 0)
    for trial, rate in ((worst, 0.002), (best, 0.05)):
        trial.config |= {"update_interval": 5, "mentor_learning_rate": rate, "meta_batch_size": 12}
    config, _ = scheduler._get_new_config(worst, best)
    assert config[NAME] == "worst"
    assert set(config) == set(best.config)
