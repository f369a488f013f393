"""The trained student, written into a run's folder."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

from torch import nn

from ray_mentor.data.splits.splits import Splits
from ray_mentor.errors import UserError
from ray_mentor.run.accuracy import OF_AVERAGE
from ray_mentor.run.checkpoint.checkpoints import newest_good
from ray_mentor.run.checkpoint.kept import kept_student
from ray_mentor.run.checkpoint.state import RunState
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.outcome import accuracies, hits_figures, trusted_figures, versions
from ray_mentor.run.trained.about import About
from ray_mentor.run.trained.files import ABOUT, AVERAGE, FOLDER, LAST, MODEL, TRAINED_ON
from ray_mentor.run.trained.hub_files import hub_files
from ray_mentor.run.trained.params import to_bytes
from ray_mentor.run.trained.trained_on import TrainedOn


def write_student(
    directory: RunDirectory,
    about: About,
    state: RunState,
    build: Callable[[], nn.Module],
    trained_on: TrainedOn | None = None,
) -> None:
    """Writes params of the student that is kept, and of the last epoch's where that is another, and what they are.

    ``student.json`` is there last, and names the digest of each file.

    Args:
        about: how it is built, and what it is fed.
        state: of the run, at its end or as far as it got.
        build: builds a fresh one (one of two).
        trained_on: the samples; None: they can't be known again.
    """
    directory.create((FOLDER,))
    directory.remove(ABOUT)
    if trained_on is None:
        directory.remove(TRAINED_ON)
    else:
        directory.write(TRAINED_ON, trained_on.to_bytes())
    files: dict[str, dict[str, Any]] = {}
    kept = state.kept
    parts = [
        (MODEL, kept_student(kept, state.student), None if kept is None else kept.kept_epoch, trusted_figures(kept))
    ]
    if kept is not None and kept.is_earlier:
        parts.append((LAST, state.student, kept.last_epoch, hits_figures(kept.last_hits)))
    else:
        directory.remove(LAST)
    if state.average is not None:
        parts.append((AVERAGE, state.average, None, {}))
    for name, params, epoch, trusted in parts:
        content = to_bytes(params)
        directory.write(name, content)
        figures = accuracies(state.log.metrics, epoch)
        averages = {own: figures.pop(each) for each, own in OF_AVERAGE.items() if each in figures}
        if name == AVERAGE:
            figures = {"kept_epoch": figures["kept_epoch"], **averages}
        files[name.removeprefix(f"{FOLDER}/")] = {
            "epoch": figures.pop("kept_epoch"),
            "step": state.curriculum.step if params is state.student else None,
            "sha256": hashlib.sha256(content).hexdigest(),
            **trusted,
            **figures,
        }
    tokens = about.input.tokens
    for name, content in () if tokens is None else tokens.files:
        directory.write(f"{FOLDER}/{name}", content)
    for name, content in hub_files(about, build).items():
        directory.write(name, content)
    whole = dataclasses.replace(about, files=files, versions=versions())
    directory.write(ABOUT, whole.to_bytes())


def student_at_end(
    directory: RunDirectory, about: About, state: RunState, build: Callable[[], nn.Module], splits: Splits
) -> str | None:
    """Writes it as a run ends; what there is to say where it can't be: a student of odd state ends no run."""
    try:
        write_student(directory, about, state, build, TrainedOn.of((splits.train, splits.meta)))
    except Exception as error:
        return (
            f"no {ABOUT} was written ({_why(error)}); the run is whole without it: outcome.student_state has the params"
        )
    return None


def student_so_far(directory: RunDirectory, about: About, build: Callable[[], nn.Module], splits: Splits) -> str | None:
    """Writes that of the newest checkpoint, of a run that ends early; what there is to say where it can't be."""
    try:
        found = newest_good(directory, lambda _: None)
        if found is not None:
            write_student(directory, about, found.state, build, TrainedOn.of((splits.train, splits.meta)))
    except Exception as error:
        return f"no {ABOUT} was written ({_why(error)}); the run goes on without it, and writes one at its end"
    return None


def _why(error: Exception) -> str:
    return error.written if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
