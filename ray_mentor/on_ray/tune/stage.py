"""One call of Ray Tune: many trials of one plan, as many at a time as fit."""

from __future__ import annotations

import re
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from ray_mentor.data.stores import resolved
from ray_mentor.errors import UserError
from ray_mentor.on_ray.session.environment import having, unheard
from ray_mentor.on_ray.session.session import put_back
from ray_mentor.on_ray.tune.record import FIGURES
from ray_mentor.on_ray.tune.room import reserved
from ray_mentor.on_ray.tune.trial import NAME, Plan, Trial
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.progress import Row


@dataclass(frozen=True)
class Stage:
    """Trials that Ray Tune makes.

    Attributes:
        plan: what they share.
        folder: where Ray Tune keeps its books while it works, in a folder of their own. They are pickles: what was
            there before is not looked at, and what was written is removed.
        concurrent: trials at a time.
        search: suggests trials: settings, and the trial's name.
        trials: how many it suggests.
        tell: takes a row of each epoch of a trial (kind ``trial``), of its end (``ended``), and notes.
        scheduler: one of Ray Tune's; None: all go on to the end.
    """

    plan: Plan
    folder: str
    concurrent: int
    search: Searcher
    trials: int
    tell: Callable[[Row], None]
    scheduler: Any = None

    def run(self) -> None:
        """Runs all trials to their end.

        A trial that fails is started again as often as ``max_failures`` says, and goes on from its run's newest
        checkpoint.

        Raises:
            UserError: what is told can't be written down.
        """
        if self.trials == 0:
            return
        trainable = tune.with_resources(tune.with_parameters(Trial, plan=self.plan), reserved(self.plan.base.run))
        books = f"{_BOOKS}{uuid.uuid4().hex}"
        try:
            with having(_QUIET), unheard(KEEPS_BOOKS), _ctrl_c_is_told():
                self._run(trainable, books)
        except Exception as error:
            raise told_error(error) or error from error
        finally:
            _remove(f"{self.folder}/{books}")

    def _run(self, trainable: Any, books: str) -> None:
        tune.run(
            trainable,
            name=books,
            storage_path=self.folder,
            search_alg=self.search,
            scheduler=self.scheduler,
            num_samples=self.trials,
            max_concurrent_trials=self.concurrent,
            reuse_actors=not self.plan.alone,
            trial_dirname_creator=_id,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # a run writes its own
            max_failures=self.plan.base.run.max_failures,
            raise_on_failed_trial=False,
            callbacks=[_Teller(self.tell, self.plan.objective.epochs)],
            verbose=0,
        )


class _Teller(tune.Callback):
    """Tells what Ray Tune hears of trials, in this process: nothing of it can be lost on the way."""

    def __init__(self, tell: Callable[[Row], None], epochs: int) -> None:
        self._tell = tell
        self._epochs = epochs

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Row, **info: Any) -> None:
        settings = {name: value for name, value in trial.config.items() if name != NAME}
        self._tell_of(trial, "trial", **{name: result[name] for name in FIGURES}, settings=settings)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        last = trial.last_result
        state = "hopeless" if last["hopeless"] else "finished" if last["epoch"] >= self._epochs else "stopped"
        self._tell_of(trial, "ended", state=state, objective=last["objective"], error=None)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._tell({"kind": "note", "text": f"trial {trial.config[NAME]} failed and goes on: {brief(_error(trial))}"})

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        error = _error(trial)
        self._tell({"kind": "note", "text": f"trial {trial.config[NAME]} failed: {brief(error)}"})
        self._tell_of(trial, "ended", state="failed", objective=None, error=error)

    def _tell_of(self, trial: Any, kind: str, **row: Any) -> None:
        self._tell({"kind": kind, "trial": trial.config[NAME], **row})


def told_error(error: BaseException | None) -> UserError | None:
    """The user's error behind one of Ray Tune's.

    Tune tells of what is raised where it tells us something as text, and may trip over another of its trials' results
    while it cleans up after it.
    """
    while error is not None and not isinstance(error, UserError):
        error = error.__context__
    return error


def _error(trial: Any) -> str:
    """The text of a trial's errors, the newest last, traceback and all; without Ray's colours.

    Of the file that Ray Tune has just written in this process; what lies in its storage is a copy that may be older.
    """
    file = Path(trial.error_file or "")
    return re.sub(r"\x1b\[[0-9;]*m", "", file.read_text() if file.is_file() else "no reason is known")


def brief(error: str) -> str:
    """The line of an error, through the layers of Ray's, that says most."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason is known"


def remove_books(directory: RunDirectory) -> None:
    """Removes what Ray Tune kept for processes that were killed, from the folder of a sweep that is taken up."""
    for info in directory.entries():
        if re.fullmatch(rf"{re.escape(_BOOKS)}[0-9a-f]{{32}}", info.base_name):
            _remove(f"{directory.path}/{info.base_name}")


_BOOKS = ".tune-"
"""Begins the name of the folder in which Ray Tune keeps its books of a stage."""

KEEPS_BOOKS = "ray.tune.execution.experiment_state"
"""The logger of what copies them. It does so while they are written, and tells of files that were gone meanwhile."""


def _remove(folder: str) -> None:
    files, path = resolved(folder)
    with suppress(OSError):  # litter is no reason to lose what a sweep has found
        files.delete_dir(path)


@contextmanager
def _ctrl_c_is_told() -> Iterator[None]:
    """Ctrl-C lets Ray Tune end its trials, and then raises KeyboardInterrupt.

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


_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the other output prints a table whatever its verbosity
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # they are in the trials' table
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # each run has its own metrics
}


def _id(trial: Any) -> str:
    return str(trial.trial_id)
