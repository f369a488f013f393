"""The parts of a sweep that need no Ray to run: room, schedulers, objective, verdict."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray import tune
from ray.tune.execution.experiment_state import _ExperimentCheckpointManager
from ray.tune.experiment import Trial
from ray.tune.schedulers import PopulationBasedTraining, TrialScheduler
from scipy import stats
from small_sweeps import BASE, having

from ray_mentor.config.sweep import SweepSettings
from ray_mentor.errors import UserError
from ray_mentor.on_ray.session.environment import unheard
from ray_mentor.on_ray.tune.objective import Objective
from ray_mentor.on_ray.tune.room import at_once, memory, needs
from ray_mentor.on_ray.tune.schedulers import make_scheduler
from ray_mentor.on_ray.tune.search import make_search
from ray_mentor.on_ray.tune.stage import KEEPS_BOOKS
from ray_mentor.run.over_seeds.verdict import fresh_seeds, verdict

# Room


@pytest.mark.parametrize(
    ("workers", "share", "there", "expected"),
    [
        (0, None, {"CPU": 2.0}, 2),
        (0, None, {"CPU": 7.0}, 7),
        (2, None, {"CPU": 7.0}, 3),
        (3, None, {"CPU": 3.0}, 1),
        (0, 0.25, {"CPU": 16.0, "GPU": 1.0}, 4),
        (0, 0.1, {"CPU": 16.0, "GPU": 1.0}, 10),
        (2, 0.5, {"CPU": 16.0, "GPU": 4.0}, 4),
        (0, 1.0, {"CPU": 2.0, "GPU": 8.0}, 2),
    ],
)
def test_as_many_trials_as_the_scarcest_allows(
    workers: int, share: float | None, there: dict[str, float], expected: int
) -> None:
    run = having(BASE, workers=workers, gpu=share is not None, gpus_per_worker=share or 1.0).run
    assert at_once(run, there, None, never) == expected
    assert at_once(run, there, 1, never) == 1
    assert at_once(run, there, expected, never) == expected
    assert at_once(run, there, 100, lambda: False) == expected
    assert at_once(run, there, 100, lambda: True) == 100, "what has no place yet makes the cluster grow"
    taken = {name: expected * amount for name, amount in needs(run).total.items()}
    assert all(amount <= there.get(name, 0.0) + 1e-9 for name, amount in taken.items())


@pytest.mark.parametrize(("workers", "gib", "expected"), [(0, 100, 16), (0, 4, 6), (0, 0.1, 1), (2, 9, 3), (2, 1, 1)])
def test_as_many_trials_as_memory_has_room_for_but_one_at_least(workers: int, gib: float, expected: int) -> None:
    """A process with PyTorch takes 600 MiB, and a trial with workers three besides theirs."""
    run = having(BASE, workers=workers).run
    assert at_once(run, {"CPU": 16.0, "memory": gib * 2**30}, None, never) == expected
    assert memory(run) == 600 * 2**20 * (1 if workers == 0 else workers + 3)


def never() -> bool:
    """Whether the cluster grows takes time to find out, and is not asked where it does not matter."""
    raise AssertionError


def test_a_trial_that_never_fits_is_refused() -> None:
    run = having(BASE, workers=4, gpu=True, gpus_per_worker=0.5).run
    with pytest.raises(UserError) as refused:
        at_once(run, {"CPU": 3.0}, None, never)
    assert str(refused.value) == (
        "a trial needs 4 CPUs and 2 GPUs, but there are 3 CPUs and 0 GPUs; give fewer --workers, or a smaller share of "
        "a GPU"
    )


# Schedulers and searches


def test_asha_first_looks_when_burn_in_is_over() -> None:
    scheduler: Any = make_scheduler("asha", {}, 60)
    rungs = sorted(milestone for bracket in scheduler._brackets for milestone, _ in bracket._rungs)
    assert rungs == [12, 36]


@pytest.mark.parametrize("epochs", [1, 2, 4])
def test_asha_of_a_short_run(epochs: int) -> None:
    make_scheduler("asha", {}, epochs)


def test_pbt_changes_what_can_be_changed_and_stays_inside() -> None:
    domains = {
        "mentor_learning_rate": tune.loguniform(1e-3, 2e-3),
        "update_interval": tune.choice([1, 5, 10]),
        "meta_batch_size": tune.randint(10, 20),
        "mentor_width": tune.choice([8, 16]),
    }
    scheduler: Any = make_scheduler("pbt", domains, 60)
    assert isinstance(scheduler, PopulationBasedTraining)
    assert set(scheduler._hyperparam_mutations) == {"mentor_learning_rate", "update_interval", "meta_batch_size"}
    sample = {"mentor_learning_rate": 2e-3, "update_interval": 10, "meta_batch_size": 19, "mentor_width": 8}
    inside = scheduler._custom_explore_fn({**sample, "mentor_learning_rate": 2.4e-3, "meta_batch_size": 23})
    assert inside == sample
    inside = scheduler._custom_explore_fn({**sample, "mentor_learning_rate": 8e-4, "meta_batch_size": 8})
    assert inside == {**sample, "mentor_learning_rate": 1e-3, "meta_batch_size": 10}


class Paused:
    """A trial that waits, as far as PBT looks at it."""

    def __init__(self, rate: float) -> None:
        self.status, self.experiment_tag = Trial.PAUSED, ""
        self.trial_id, self.config = f"t{rate:g}", {"mentor_learning_rate": rate, "trial": f"t{rate:g}"}
        self.checkpoint, self.temporary_state = f"of {self.trial_id}", SimpleNamespace(saving_to=None)
        self.run_metadata: Any = SimpleNamespace(
            checkpoint_manager=SimpleNamespace(checkpoint_config=SimpleNamespace(num_to_keep=None))
        )

    def is_finished(self) -> bool:
        return self.status == Trial.TERMINATED

    def set_experiment_tag(self, tag: str) -> None:
        self.experiment_tag = tag

    def set_config(self, config: dict[str, Any]) -> None:
        self.config = config


@pytest.mark.parametrize("waiting", [1, 2])
def test_trials_of_pbt_do_not_wait_for_one_that_has_ended(waiting: int) -> None:
    """It was taken up again further on than they, and ended without a result at which all would have met."""
    scheduler: Any = make_scheduler("pbt", {"mentor_learning_rate": tune.loguniform(1e-4, 1e-1)}, 4)
    trials = [Paused(10.0 ** -(2 + number)) for number in range(waiting + 1)]
    controller = SimpleNamespace(
        search_alg=None,
        get_trials=lambda: trials,
        get_live_trials=lambda: [trial for trial in trials if not trial.is_finished()],
        pause_trial=lambda *_, **__: pytest.fail("they wait"),
    )
    for trial in trials:
        scheduler.on_trial_add(controller, trial)
    *left, ended = trials
    for epoch, trial in enumerate(left, 2):
        row = {"epoch": epoch, "objective": float(epoch)}
        assert scheduler.on_trial_result(controller, trial, row) == TrialScheduler.NOOP
        assert scheduler.choose_trial_to_run(controller) is not None, "the one that is behind, while it is there"
    ended.status = Trial.TERMINATED
    assert scheduler.choose_trial_to_run(controller) is left[0]
    for trial in left:
        trial.status = Trial.RUNNING
        assert scheduler.choose_trial_to_run(controller) in [*left, None]
    rates = [trial.config["mentor_learning_rate"] for trial in left]
    assert rates[1:] == [1e-3] * (waiting - 1), "the better keeps its own"
    assert (rates[0] == 1e-2) == (waiting == 1), "and where they met, the worse took over the better's"


def test_pbt_refuses_a_space_in_which_nothing_can_change() -> None:
    with pytest.raises(UserError, match="scheduler pbt changes settings in the middle of a run, but this space has"):
        make_scheduler("pbt", {"mentor_width": tune.choice([8, 16])}, 60)


def test_pbt_does_its_own_search() -> None:
    with pytest.raises(UserError) as refused:
        SweepSettings(scheduler="pbt", search="optuna")
    assert str(refused.value) == (
        "search is 'optuna', but scheduler pbt begins with random draws and changes them itself; give --search random"
    )


def test_unknown_names() -> None:
    with pytest.raises(UserError, match=r"unknown scheduler 'x'; valid: asha, pbt, none"):
        make_scheduler("x", {}, 60)
    with pytest.raises(UserError, match=r"unknown search 'x'; valid: random, optuna, pareto"):
        make_search("x", 0, {})


def test_optuna_refuses_a_domain_that_it_does_not_know() -> None:
    with pytest.raises(UserError, match=r"search is 'optuna', but the space has a domain that Optuna does not know"):
        make_search("optuna", 0, {"entropy": tune.randn(0, 1)})
    make_search("random", 0, {"entropy": tune.randn(0, 1)})


# Objective


def row(epoch: int, **values: float) -> dict[str, float | None]:
    return {"epoch": epoch, "trusted_accuracy": 0.5, "train_seconds": 2.0, "fallbacks": 0, "steps": 10, **values}


def test_seconds_are_those_of_a_whole_run() -> None:
    figures = Objective("accuracy", 10).figures(row(3, train_seconds=8.0), None)
    assert figures.epoch == 4
    assert figures.seconds == 20.0
    assert figures.objective == figures.accuracy == 0.5


def test_gap_per_cost() -> None:
    baseline = [row(0, trusted_accuracy=0.4, train_seconds=1.0), row(1, trusted_accuracy=0.45, train_seconds=2.0)]
    figures = Objective("gap-per-cost", 2, baseline).figures(row(1, trusted_accuracy=0.6, train_seconds=3.0), None)
    assert figures.objective == pytest.approx((0.6 - 0.45) / (3.0 / 2.0))


def test_the_share_of_collapsed_steps_is_of_this_epoch_alone() -> None:
    before, now = row(0, fallbacks=10, steps=10), row(1, fallbacks=12, steps=20)
    assert Objective("accuracy", 2).figures(now, before).equal_share == pytest.approx(0.2)
    assert Objective("accuracy", 2).figures(before, None).equal_share == 1.0


def test_without_held_out_trusted_samples_there_is_nothing_to_choose_by() -> None:
    with pytest.raises(UserError, match="no trusted sample is held out, but a sweep chooses by"):
        Objective("accuracy", 2).figures({**row(0), "trusted_accuracy": None}, None)


# Verdict


def test_the_interval_is_that_of_a_paired_t_test() -> None:
    draw = np.random.default_rng(0)
    for shift, says in ((0.05, "better"), (-0.05, "worse"), (0.0, "no difference shown")):
        default = draw.normal(0.9, 0.02, 5)
        best = default + shift + draw.normal(0, 0.01, 5)
        found = verdict(best.tolist(), default.tolist())
        interval = stats.ttest_rel(best, default).confidence_interval(0.95)
        assert found["difference"]["low"] == pytest.approx(interval.low)
        assert found["difference"]["high"] == pytest.approx(interval.high)
        assert found["verdict"] == says


def test_one_seed_shows_nothing() -> None:
    assert verdict([0.9], [0.1]) == {
        "difference": {"mean": pytest.approx(0.8), "low": None, "high": None},
        "verdict": "no difference shown",
    }


def test_fresh_seeds_are_not_the_sweeps_own() -> None:
    assert fresh_seeds(7, 3) == [8, 9, 10]


# Ray Tune's own books


class Moved:
    """What copies a file that was there a moment ago."""

    def wait(self) -> None:
        raise FileNotFoundError(".1-tmp-search_gen_state.json")

    def sync_up(self, *paths: str) -> bool:
        return True


def test_of_books_that_are_thrown_away_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Ray Tune copies them while it writes them, and tells of files that were renamed meanwhile."""
    storage: Any = SimpleNamespace(experiment_driver_staging_path="a", experiment_fs_path="b", syncer=Moved())
    books = _ExperimentCheckpointManager(storage=storage, checkpoint_period=0.0)
    with unheard(KEEPS_BOOKS):
        books.sync_up_experiment_state(lambda: None, force=True)
    assert caplog.text == ""
    books.sync_up_experiment_state(lambda: None, force=True)
    assert "search_gen_state.json" in caplog.text, "it is this logger's"
