"""What of an interrupted sweep is done, and what of it goes on: read from its record and its trials' runs."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from ray_mentor.config import TrainConfig
from ray_mentor.config.file import to_toml
from ray_mentor.errors import UserError, shown
from ray_mentor.on_ray.tune.record import Record, Told, drawn
from ray_mentor.on_ray.tune.spaces import config_of, settings_of
from ray_mentor.on_ray.tune.trial import BRANCH, newest_run
from ray_mentor.run.checkpoint.resume import MAY_CHANGE, started_with
from ray_mentor.run.directory import RESULT, RunDirectory


def unfinished(record: Record, folder: str, base: TrainConfig, domains: Mapping[str, Any]) -> list[Told]:
    """The trials that go on, each from its run's newest checkpoint: those that were interrupted, and those that failed.

    Args:
        folder: of the trials' run directories.

    Raises:
        UserError: a file that can't be what a trial has left, or is another trial's.
    """
    return [told for told in record.trials.values() if _goes_on(told, folder, base, domains)]


def _goes_on(told: Told, folder: str, base: TrainConfig, domains: Mapping[str, Any]) -> bool:
    if told.state in ("stopped", "hopeless"):
        return False
    run = newest_run(folder, told.name)
    told.sample = _sample_of(run, domains) or told.sample
    if told.state != "finished" or table_in(run, RESULT) is None:
        return True
    _check_is_asked_for(told, run, base)
    return False


def true_accuracies(runs: Sequence[RunDirectory]) -> tuple[str, list[float]] | None:
    """Of finished runs: the first of :data:`TRUE_ACCURACIES` that all of them know, and theirs; None if there is none.

    Raises:
        UserError: no result, or a file that can't be one.
    """
    results = [(run, table_in(run, RESULT) or {}) for run in runs]
    for name in TRUE_ACCURACIES:
        found = [_accuracy(run, name, result.get(name, "")) for run, result in results]
        known = [accuracy for accuracy in found if accuracy is not None]
        if len(known) == len(runs):
            return name, known
    return None


TRUE_ACCURACIES = ("test_accuracy", "trusted_accuracy")
"""Figures of a result that no wrong label is in: on a test split whose truth is known, on held-out trusted samples."""


def _accuracy(run: RunDirectory, name: str, value: Any) -> float | None:
    if value is not None and type(value) not in (int, float):
        raise _damaged(run, RESULT, ValueError(f"{name} is {shown(value)}"))
    return None if value is None else float(value)


def digest(config: TrainConfig) -> str:
    """A name for a run that only runs of the same settings have, wherever and in however many pieces they happen."""
    same = {name: value for name, value in config.flat().items() if name not in MAY_CHANGE - {"epochs", "workers"}}
    return hashlib.sha256(to_toml(same).encode()).hexdigest()[:16]


def _sample_of(run: RunDirectory, domains: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a run was given when it took over another's state; None of a trial that is still its first run."""
    branch = table_in(run, BRANCH)
    if branch is None:
        return None
    try:
        return drawn(branch.get("settings"), domains)
    except ValueError as error:
        raise _damaged(run, BRANCH, error) from error


def branch_step(run: RunDirectory) -> int:
    """The steps that a run took over from another; 0 of one that began by itself."""
    step = (table_in(run, BRANCH) or {"step": 0}).get("step")
    if type(step) is not int:
        raise _damaged(run, BRANCH, ValueError(f"step is {shown(step)}"))
    return step


def _check_is_asked_for(told: Told, run: RunDirectory, base: TrainConfig) -> None:
    """All else is the same for all trials of a sweep, and was compared."""
    asked = tomllib.loads(to_toml(config_of(base, told.sample).flat()))
    written = started_with(run)
    for name in settings_of(told.sample):
        if name in written and written[name] != asked.get(name):
            raise UserError(
                f"{name} is {shown(written[name])} in {run.path}, but was {shown(asked.get(name))} for trial "
                f"{told.name}; put back what was there, or remove {run.path}, and it is trained again"
            )


def table_in(run: RunDirectory, name: str) -> dict[str, Any] | None:
    """What a file of a run holds as JSON; None if it is not there.

    Raises:
        UserError: it can't be one that a run has written.
    """
    data = run.read(name, _MOST_BYTES + 1)
    if data is None:
        return None
    try:
        if len(data) > _MOST_BYTES:
            raise ValueError(f"it is larger than {_MOST_BYTES >> 10} KiB")
        table = json.loads(data)
        if not isinstance(table, dict):
            raise ValueError(f"it holds {shown(table)}")
    except Exception as error:  # [[[[... is a RecursionError
        raise _damaged(run, name, error) from error
    return table


_MOST_BYTES = 1 << 20


def _damaged(run: RunDirectory, name: str, error: Exception) -> UserError:
    return UserError(
        f"{run.path}/{name} cannot be read ({type(error).__name__}: {error}); it is damaged: put back what was there, "
        f"or remove {run.path}, and the trial begins anew"
    )
