"""One trial of a sweep: an ordinary run that waits at each epoch's end for what Ray Tune says.

The run goes on in a thread of the trial's process; if it has workers, they are Ray Train's. A trial has a run
directory of its own, and goes on from its newest checkpoint when its process died. Ray Tune's checkpoints, made where
a scheduler lets one trial go on from another's state, are copies of the run's.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ray import tune

from ray_mentor.config import TrainConfig
from ray_mentor.config.file import to_toml
from ray_mentor.errors import UserError
from ray_mentor.on_ray.train.trainer import CurriculumTrainer
from ray_mentor.on_ray.tune.objective import Objective
from ray_mentor.on_ray.tune.record import to_json
from ray_mentor.on_ray.tune.running import Running, peak_memory_mb
from ray_mentor.on_ray.tune.spaces import config_of
from ray_mentor.run.checkpoint.checkpoints import newest_good
from ray_mentor.run.checkpoint.history_files import names_in
from ray_mentor.run.checkpoint.state import RunState
from ray_mentor.run.directory import CHECKPOINTS, CONFIG, HISTORY, LEDGER, RESULT, RunDirectory, name_of
from ray_mentor.run.progress import Row

NAME = "trial"
"""Under which a trial is told its name, beside its settings."""

BRANCH = "branch.json"
"""Of a run that goes on from another's checkpoint: whose, from which step, and under which settings of the space. Its
ledger begins there. It is the last of its files to be made, so that the others are there where it is."""

PEAK = "memory.json"
"""Of a run that had a process of its own: the most that this has held."""

_STATE = "state.pt"
_HOPELESS_EPOCHS = 2


class MakeTrainer(Protocol):
    """Makes a trial's trainer. Called in the trial's process; what it holds lies in Ray's object store once."""

    def __call__(self, config: TrainConfig, *, test: bool) -> CurriculumTrainer:
        """The trainer that ``config`` describes; without a test split unless ``test``."""


@dataclass(frozen=True)
class Plan:
    """What all trials of a sweep share.

    Attributes:
        base: the settings that a sample of the space is put over.
        make: makes their trainers.
        objective: what they report.
        folder: of their run directories.
        listed: runs by their names that are made as they are, instead of samples of a space.
        test: whether they measure the test split.
        ends_hopeless: whether a trial is ended whose mentor collapses at every other step.
        alone: whether each has a process of its own, rather than one that serves one after another; then what it has
            held of memory is written down (:data:`PEAK`), unless it lay in workers.
    """

    base: TrainConfig
    make: MakeTrainer
    objective: Objective
    folder: str
    listed: Mapping[str, TrainConfig] = field(default_factory=dict)
    test: bool = False
    ends_hopeless: bool = True
    alone: bool = False

    def config(self, name: str, sample: Mapping[str, Any]) -> TrainConfig:
        """The settings of the trial of this name that was made from ``sample``."""
        return self.listed[name] if self.listed else config_of(self.base, sample)


class Trial(tune.Trainable):
    """A run, epoch by epoch, for Ray Tune; its process serves one trial after another, unless each is to be alone."""

    _directory: RunDirectory
    _hopeless: int
    _running: Running | None
    _before: Row | None

    def setup(self, config: dict[str, Any], plan: Plan) -> None:  # type: ignore[override]
        self._plan = plan
        self._prepare(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self._prepare(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Lets the run go on by an epoch."""
        row = self._next_epoch()
        figures = self._plan.objective.figures(row, self._before)
        self._before = row
        collapsed = figures.equal_share > 0.5
        self._hopeless = self._hopeless + 1 if collapsed else 0
        hopeless = self._plan.ends_hopeless and self._hopeless >= _HOPELESS_EPOCHS
        finished = figures.epoch == self._plan.objective.epochs
        if finished and self._running is not None:
            self._running.finish()
            if self._plan.alone and self._config.run.n_workers == 0:
                self._directory.write(PEAK, json.dumps({"peak_memory_mb": peak_memory_mb()}).encode())
        return {**dataclasses.asdict(figures), "hopeless": hopeless, "done": finished or hopeless}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Copies the run's state at the end of this epoch, and says whose it is."""
        if self._running is not None:
            self._running.save()
        found = newest_good(self._directory, lambda text: None)
        folder, whose = Path(checkpoint_dir), {"run": self._directory.path, "step": 0}
        if found is not None:
            (folder / _STATE).write_bytes(found.state.branched().to_bytes())
            for name in names_in(found.state.history_pieces):
                (folder / name).write_bytes(self._directory.read(f"{HISTORY}/{name}") or b"")
            whose["step"] = found.state.curriculum.step
        (folder / BRANCH).write_text(json.dumps(whose))

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Goes on from that state, in a run directory of its own if the state is another run's."""
        folder = Path(checkpoint)
        whose = json.loads((folder / BRANCH).read_text())
        if whose["run"] == self._directory.path or not whose["step"]:
            return
        self._directory = newest_run(self._plan.folder, self._name, another=True)
        self._directory.create((LEDGER, HISTORY))
        for place in (HISTORY, CHECKPOINTS):
            for name in self._directory.names(place):  # a process was killed here before the branch was made
                self._directory.remove(f"{place}/{name}")
        for file in folder.glob("step-*"):
            self._directory.write(f"{HISTORY}/{file.name}", file.read_bytes())
        self._directory.write(f"{CHECKPOINTS}/{name_of(whose['step'])}", (folder / _STATE).read_bytes())
        self._directory.write(CONFIG, to_toml(self._run_config().flat()).encode())
        self._directory.write(BRANCH, to_json({**whose, "settings": self._sample}).encode())

    def cleanup(self) -> None:
        """Ends the run where it waits, and all that belongs to it."""
        if self._running is not None:
            self._running.stop()
            self._running = None

    def _next_epoch(self) -> Row:
        """The metrics of the run's next epoch; of its last, if all was done when the trial's process died."""
        if self._running is None:
            trainer = self._plan.make(self._run_config(), test=self._plan.test)
            if self._directory.read(RESULT) is not None:
                trainer.check_directory()  # or it would be believed, whatever settings it had
                return dict(metrics_of(self._directory, self._plan.objective.epochs)[-1])
            self._running = Running(trainer, on_ray=self._config.run.n_workers > 0)
        return self._running.next_epoch()

    def _prepare(self, config: Mapping[str, Any]) -> None:
        self._name = config[NAME]
        self._sample = {name: value for name, value in config.items() if name != NAME}
        self._config = self._plan.config(self._name, self._sample)
        self._directory = newest_run(self._plan.folder, self._name)
        self._running = self._before = None
        self._hopeless = 0

    def _run_config(self) -> TrainConfig:
        """The trial's settings, with its place, and whether something is there to go on from."""
        name = self._directory.path.rsplit("/", 1)[1]
        run = dataclasses.replace(
            self._config.run,
            storage_path=self._plan.folder,
            run_name=name,
            resume=self._directory.exists(),
            resume_or_start=False,
        )
        return dataclasses.replace(self._config, run=run)


def newest_run(folder: str, name: str, *, another: bool = False) -> RunDirectory:
    """A trial's run directory; the newest, if it took over others' states; if there shall be another, the next."""
    number = 1
    while _numbered(folder, name, number + 1).size(BRANCH) is not None:
        number += 1
    return _numbered(folder, name, number + another if _numbered(folder, name, number).exists() else number)


def all_runs(folder: str, name: str) -> list[RunDirectory]:
    """A trial's run directories, one for each time that it took over another's state; the newest first."""
    newest = newest_run(folder, name).path
    count = int(newest.rpartition("~")[2]) if "~" in newest.rsplit("/", 1)[1] else 1
    return [_numbered(folder, name, number) for number in range(count, 0, -1)]


def _numbered(folder: str, name: str, number: int) -> RunDirectory:
    return RunDirectory(f"{folder}/{name}{f'~{number}' if number > 1 else ''}")


def metrics_of(directory: RunDirectory, epochs: int) -> list[dict[str, float | None]]:
    """A row an epoch of a finished run of so many.

    Raises:
        UserError: it has none, although it has a result.
    """
    return last_state(directory, epochs).log.metrics


def last_state(directory: RunDirectory, epochs: int) -> RunState:
    """How a finished run of so many epochs ended.

    Raises:
        UserError: no checkpoint says so, although it has a result.
    """
    found = newest_good(directory, lambda text: None)
    if found is None or len(found.state.log.metrics) < epochs:
        raise UserError(
            f"run {directory.path} has a {RESULT}, but no checkpoint that says what it came to; remove its {RESULT}, "
            "and it is trained again"
        )
    return found.state
