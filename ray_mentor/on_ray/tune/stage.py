"""One call of Ray Tune: many trials of one plan, as many at a time as fit, that go on after anything."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ray import tune

from ray_mentor.on_ray.session.environment import having
from ray_mentor.on_ray.session.session import put_back
from ray_mentor.on_ray.tune.room import reserved
from ray_mentor.on_ray.tune.trial import LISTED, Plan, Trial


@dataclass(frozen=True)
class Stage:
    """Trials that Ray Tune makes.

    Attributes:
        plan: what they share.
        folder: where Ray Tune keeps its books.
        name: of the folder of this stage in it.
        concurrent: trials at a time.
        domains: of the space; empty where the plan lists its runs.
        search: a searcher of Ray Tune's, made anew; None where the runs are listed.
        scheduler: one of Ray Tune's, made anew; None: all go on to the end.
        trials: how many samples.
    """

    plan: Plan
    folder: str
    name: str
    concurrent: int
    domains: Mapping[str, Any]
    search: Any = None
    scheduler: Any = None
    trials: int = 1

    def run(self) -> tune.ResultGrid:
        """Runs all trials to their end; those of an earlier call that was interrupted go on, and finished ones stay.

        A trial that fails is started again as often as ``max_failures`` says, and goes on from its run's newest
        checkpoint.
        """
        trainable = tune.with_resources(tune.with_parameters(Trial, plan=self.plan), reserved(self.plan.base.run))
        path = f"{self.folder}/{self.name}"
        with having(_QUIET), _ctrl_c_is_told():
            if tune.Tuner.can_restore(path):
                return tune.Tuner.restore(path, trainable, resume_unfinished=True, resume_errored=True).fit()
            return self._tuner(trainable).fit()

    def _tuner(self, trainable: Any) -> tune.Tuner:
        listed = {LISTED: tune.grid_search(list(range(len(self.plan.listed))))}
        return tune.Tuner(
            trainable,
            param_space=dict(self.domains) or listed,
            tune_config=tune.TuneConfig(
                search_alg=self.search,
                scheduler=self.scheduler,
                num_samples=self.trials,
                max_concurrent_trials=self.concurrent,
                reuse_actors=True,
                trial_dirname_creator=_id,
            ),
            run_config=tune.RunConfig(
                name=self.name,
                storage_path=self.folder,
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # a run writes its own
                failure_config=tune.FailureConfig(max_failures=self.plan.base.run.max_failures),
            ),
        )


@contextmanager
def _ctrl_c_is_told() -> Iterator[None]:
    """Ctrl-C lets Ray Tune save what it knows, and then raises KeyboardInterrupt.

    Ray Tune's own handler ends its loop as if all were done, and puts back the one that it found, which tells that it
    was called; when it was not, it stays, and would swallow the next Ctrl-C.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
        if signal.getsignal(signal.SIGINT) is interrupt:
            raise KeyboardInterrupt
    finally:
        put_back(before)


def results_of(grid: tune.ResultGrid) -> list[tune.Result]:
    """The results of a grid, in the order of the trials."""
    return [grid[place] for place in range(len(grid))]


_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the other output prints a table whatever its verbosity
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # they are in the trials' table
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # each run has its own metrics
}


def _id(trial: Any) -> str:
    return str(trial.trial_id)
