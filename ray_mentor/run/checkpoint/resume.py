"""Whether a run may go on under the settings it is given."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray_mentor.config.file import MOST_BYTES, settings_in, to_toml
from ray_mentor.errors import UserError, shown
from ray_mentor.run.checkpoint.state import RunState
from ray_mentor.run.directory import CHECKPOINTS, CONFIG, RunDirectory, check_free, is_older
from ray_mentor.run.findings.names import class_names
from ray_mentor.wording import counted

MAY_CHANGE = {
    "resume",
    "resume_or_start",
    "run_name",
    "storage_path",
    "log_to",
    "data_backend",
    "data_cache",
    "workers",
    "min_workers",
    "gpu",
    "gpus_per_worker",
    "checkpoint_seconds",
    "checkpoint_steps",
    "keep_checkpoints",
    "max_failures",
    "hang_seconds",
    "node_seconds",
    "epochs",
    "concurrent",
    "scoring",
}
"""Settings that say where a run happens and how far it goes, not what it is. More epochs go on under the
schedule of the longer run."""


def resuming(directory: RunDirectory, *, resume: bool, or_start: bool) -> bool:
    """Whether a run goes on, rather than starts: because it must, or because it may and is there."""
    return resume or (or_start and directory.exists())


def longer(record: Mapping[str, Any], directory: RunDirectory) -> str | None:
    """What there is to say of a run that goes on for more epochs than it was started with; None of another."""
    before, now = started_with(directory).get("epochs", 0), record.get("epochs", 0)
    if now <= before or not before:
        return None
    return (
        f"the run was started with {counted(before, 'epoch')} and goes on to {now}, from here on under the schedule of "
        "the longer run (learning rate, burn-in, how often the mentor learns): it does not end as one that was started "
        f"with {now}"
    )


def check_free_or_same(record: Mapping[str, Any], directory: RunDirectory, *, resume: bool) -> None:
    """Refuses to start a run where one is, and to go on where none is, or another.

    Raises:
        UserError: saying which.
    """
    check_free(directory, resume=resume)
    if resume:
        check_same_run(record, directory)


def check_same_run(
    record: Mapping[str, Any],
    directory: RunDirectory,
    also_kept: Collection[str] = (),
    may_change: Collection[str] = (),
) -> None:
    """Refuses to go on with a run under other settings than it was started with.

    Args:
        also_kept: settings that may not change either.
        may_change: settings that may, besides :data:`MAY_CHANGE`.

    Raises:
        UserError: no run there, one of an earlier version, or a setting that differs; the message names both values.
    """
    before = started_with(directory)
    older = next(filter(is_older, directory.names(CHECKPOINTS)), None)
    if older is not None:
        raise UserError(
            f"run {directory.path} is of an earlier version of ray_mentor, whose checkpoints ({older}) this one does "
            "not read; go on with that version, or start another run"
        )
    now = tomllib.loads(to_toml(record))
    if now.get("epochs", 0) < before.get("epochs", 0):
        raise UserError(
            f"epochs is {now['epochs']}, but run {directory.path} was started with {before['epochs']}; a run goes on "
            "with as many or more"
        )
    _check_same_order(before, now, directory)
    for name in sorted((before.keys() | now.keys()) - ((MAY_CHANGE | set(may_change)) - set(also_kept))):
        if before.get(name) != now.get(name):
            raise UserError(
                f"{name} is {shown(now.get(name))}, but run {directory.path} was started with "
                f"{shown(before.get(name))}; "
                f"go on with --config {directory.path}/{CONFIG}, or start another run"
            )


@dataclass(frozen=True)
class Identity:
    """What a run is, and no other.

    Attributes:
        record: its settings.
        data: which samples and mentor it works with, a digest by what it is of (:data:`TRAINING` and the like).
        params: of its student, how large each is.
        classes: the names of them.
    """

    record: Mapping[str, Any]
    data: Mapping[str, str]
    params: Mapping[str, tuple[int, ...]]
    classes: Sequence[str]

    def check(self, directory: RunDirectory, state: RunState) -> None:
        """Refuses a run with a checkpoint that is another one.

        Raises:
            UserError: another student, or what :func:`check_same_run` and :func:`check_same_data` say.
        """
        check_same_run(self.record, directory)
        check_same_data(state, self.data, directory, self.classes)
        there = {name: tuple(value.shape) for name, value in state.student.items()}
        for name, shape in self.params.items():
            if there.get(name) != shape:
                raise UserError(
                    f"the student of run {directory.path} has {name} {shown(there.get(name))}, but here it has "
                    f"{shown(shape)}; go on with the student as it was, or start another run"
                )


TRAINING, TRUSTED, VALIDATION = "training samples", "trusted samples", "validation samples"
TEST, MENTOR = "test samples", "given mentor"
STUDENT_CODE, AUGMENT_CODE = "student", "augment"
"""What digests are of."""


def check_same_data(state: RunState, data: Mapping[str, str], directory: RunDirectory, classes: Sequence[str]) -> None:
    """Refuses to go on with other samples: those of an epoch would no longer be each of them once.

    A test split may come or go; another one, another mentor's file, or other code in the file of a student or of random
    changes would make two runs of one.

    Args:
        data: which they are now, by the name of their split.
        classes: the names that they have now.

    Raises:
        UserError: ids, labels, classes or inputs that were others when the checkpoint was made, or a file.
    """
    before = state.data if isinstance(state.data, dict) else {}
    needed = {name for name in data if name in (TRAINING, TRUSTED, VALIDATION) or name in before}
    differ = [name for name in data if name in needed and before.get(name) != data[name]]
    if MENTOR in differ:
        raise UserError(
            f"the file of the mentor that was given to run {directory.path} holds another one now; put back what was "
            "there, or start another run"
        )
    for name in (STUDENT_CODE, AUGMENT_CODE):
        if name in differ:
            raise UserError(
                f"the file that {name} of run {directory.path} names holds other code than when the run was started; "
                "put back what was there, or start another run"
            )
    counted_so = [str(number) for number in range(len(classes) + 1)]
    if differ and list(classes) == counted_so[1:] and class_names(directory) == counted_so:
        raise UserError(
            f"run {directory.path} is of a version of ray_mentor that counted labels from 1 to {len(classes)} as "
            f"{len(classes) + 1} classes, of which 0 was empty; they are {len(classes)} classes by now, so that it "
            "can't go on: start another run"
        )
    if differ:
        raise UserError(
            f"the {' and the '.join(differ)} of the checkpoints in {directory.path} are others than now (their ids, "
            "labels, classes or inputs differ); go on with the data as they were, or start another run"
        )


def started_with(directory: RunDirectory, fix: str = "check --run-name and --storage-path") -> dict[str, Any]:
    """What a run was started with.

    Args:
        fix: what to do where there is none.

    Raises:
        UserError: no run there, or a file that can't be read.
    """
    written = directory.read(CONFIG, at_most=MOST_BYTES + 1)
    if written is None:
        raise UserError(f"{directory.path} is not a run: it has no {CONFIG}; {fix}")
    return _settings(written, f"{directory.path}/{CONFIG}")


def _check_same_order(before: Mapping[str, Any], now: Mapping[str, Any], directory: RunDirectory) -> None:
    """Memory and arrow go through an epoch in one order, ray in another."""
    was, is_now = before.get("data_backend", "memory"), now.get("data_backend", "memory")
    if was != is_now and "ray" in (was, is_now):
        raise UserError(
            f"data_backend is {is_now!r}, but run {directory.path} was started with {shown(was)}, which goes through "
            f"the samples in another order; go on with --data-backend {shown(was)}, or start another run"
        )


def _settings(written: bytes, name: str) -> dict[str, Any]:
    try:
        settings = settings_in(written, ".toml", name)
        epochs = settings.setdefault("epochs", 0)
        if type(epochs) is not int:
            raise UserError(f"epochs of {name} is {shown(epochs)}, but it must be a whole number")
    except UserError as error:
        raise UserError(f"{error.written} (it is damaged: put it back, or start another run)") from error
    return settings
