"""One trial of a sweep: an ordinary run that waits at each epoch's end for what Ray Tune says.

The run goes on in a thread of the trial's process; if it has workers, they are Ray Train's. A trial has a run
directory of its own, and goes on from its newest checkpoint when its process died. Ray Tune's checkpoints, made where
a scheduler lets one trial go on from another's state, are copies of the run's.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ray import tune
from ray.actor import ActorHandle

from ray_mentor.config import TrainConfig
from ray_mentor.config.file import to_toml
from ray_mentor.on_ray.train.trainer import CurriculumTrainer
from ray_mentor.on_ray.tune.objective import Figures, Objective
from ray_mentor.on_ray.tune.running import Running
from ray_mentor.on_ray.tune.spaces import config_of
from ray_mentor.run.checkpoint.checkpoints import newest_good
from ray_mentor.run.checkpoint.history_files import names_in
from ray_mentor.run.directory import CHECKPOINTS, CONFIG, HISTORY, LEDGER, RESULT, RunDirectory, name_of
from ray_mentor.run.progress import ProgressBoard, Row

LISTED = "listed"
"""The name under which a trial is told which of the listed runs it is."""

BRANCH = "branch.json"
"""Of a run that goes on from another's checkpoint: whose, and from which step. Its ledger begins there."""

_STATE = "state.pt"
_HOPELESS_EPOCHS = 2


class MakeTrainer(Protocol):
    """Makes a trial's trainer. Called in the trial's process."""

    def __call__(self, config: TrainConfig, *, test: bool) -> CurriculumTrainer:
        """The trainer that ``config`` describes; without a test split unless ``test``."""


@dataclass(frozen=True)
class Plan:
    """What all trials of a sweep share.

    Attributes:
        base: the settings that a sample of the space is put over.
        listed: runs that are made as they are, instead of samples of a space.
        make: makes their trainers.
        objective: what they report.
        folder: of their run directories.
        board: takes progress rows.
        ends_hopeless: whether a trial is ended whose mentor collapses at every other step.
    """

    base: TrainConfig
    make: MakeTrainer
    objective: Objective
    folder: str
    board: ActorHandle[ProgressBoard]
    listed: tuple[TrainConfig, ...] = ()
    ends_hopeless: bool = True

    def config(self, sample: Mapping[str, Any]) -> TrainConfig:
        """The settings of the trial that Ray Tune made from ``sample``."""
        return self.listed[sample[LISTED]] if self.listed else config_of(self.base, sample)


class Trial(tune.Trainable):
    """A run, epoch by epoch, for Ray Tune; its process serves one trial after another."""

    _directory: RunDirectory
    _hopeless: int
    _running: Running | None
    _before: Row | None
    _last: Figures | None

    def setup(self, config: dict[str, Any], plan: Plan) -> None:  # type: ignore[override]
        self._plan = plan
        self._prepare(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self._prepare(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Lets the run go on by an epoch."""
        try:
            return self._step()
        except Exception as error:
            self._tell("note", text=f"trial {self.trial_id} failed: {error}")
            self._tell("ended", state="failed", objective=None)
            raise

    def _step(self) -> dict[str, Any]:
        self._saved = False
        row = self._next_epoch()
        figures = self._plan.objective.figures(row, self._before)
        self._before = row
        collapsed = figures.equal_share > 0.5
        self._hopeless = self._hopeless + 1 if collapsed else 0
        hopeless = self._plan.ends_hopeless and self._hopeless >= _HOPELESS_EPOCHS
        finished = figures.epoch == self._plan.objective.epochs
        self._tell("trial", **dataclasses.asdict(figures), settings=self._sample)
        reply: dict[str, Any] = {**dataclasses.asdict(figures), "path": self._directory.path, "hopeless": hopeless}
        if finished:
            reply["result"] = self._result()
            self._tell("ended", state="finished", objective=figures.objective)
        elif hopeless:
            self._tell("ended", state="hopeless", objective=figures.objective)
        self._ended = finished or hopeless
        self._last = figures
        return {**reply, "done": self._ended}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Copies the run's state at the end of this epoch, and says whose it is."""
        self._saved = True
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
        self._directory = self._another_directory()
        self._directory.create((LEDGER, HISTORY))
        self._directory.write(BRANCH, json.dumps(whose).encode())
        self._directory.write(CONFIG, to_toml(self._run_config().flat()).encode())
        for file in folder.glob("step-*"):
            self._directory.write(f"{HISTORY}/{file.name}", file.read_bytes())
        self._directory.write(f"{CHECKPOINTS}/{name_of(whose['step'])}", (folder / _STATE).read_bytes())

    def cleanup(self) -> None:
        """Ends the run where it waits, and all that belongs to it; one whose state was saved only pauses."""
        if self._running is not None:
            self._running.stop()
            self._running = None
            if not (self._ended or self._saved or self._last is None):
                self._tell("ended", state="stopped", objective=self._last.objective)

    def _next_epoch(self) -> Row:
        """The metrics of the run's next epoch; of its last, if all was done when the trial's process died."""
        if self._directory.read(RESULT) is not None:
            found = newest_good(self._directory, lambda text: None)
            assert found is not None, "a finished run has a checkpoint"
            return dict(found.state.log.metrics[-1])
        if self._running is None:
            self._running = Running(self._trainer(), on_ray=self._config.run.workers > 0)
        return self._running.next_epoch()

    def _result(self) -> dict[str, Any]:
        """Of a run whose epochs are done."""
        if self._running is not None:
            self._running.finish()
        result: dict[str, Any] = json.loads(self._directory.read(RESULT) or b"{}")
        return result

    def _prepare(self, sample: dict[str, Any]) -> None:
        self._sample = sample
        self._config = self._plan.config(sample)
        self._directory = self._newest_directory()
        self._running = self._before = self._last = None
        self._hopeless, self._ended, self._saved = 0, False, False

    def _trainer(self) -> CurriculumTrainer:
        return self._plan.make(self._run_config(), test=bool(self._plan.listed))

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

    def _newest_directory(self) -> RunDirectory:
        number = 1
        while self._numbered(number + 1).exists():
            number += 1
        return self._numbered(number)

    def _another_directory(self) -> RunDirectory:
        newest = self._newest_directory()
        number = int(newest.path.rsplit("~", 1)[1]) if "~" in newest.path else 1
        return self._numbered(number + 1 if newest.exists() else 1)

    def _numbered(self, number: int) -> RunDirectory:
        return RunDirectory(f"{self._plan.folder}/{self.trial_id}{f'~{number}' if number > 1 else ''}")

    def _tell(self, kind: str, **row: Any) -> None:
        self._plan.board.post.remote({"kind": kind, "trial": self.trial_id, **row})
