"""Accidents that befall the processes of a run, each once, at a moment that is told beforehand.

An accident is armed by a file; who meets it removes the file first, so that it does not happen again after the
restart.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from ray_mentor.config import StudentConfig
from ray_mentor.core.mentor.learner import MentorState
from ray_mentor.core.student.optimizers import make_optimizer
from ray_mentor.on_ray.mentor.actor import MentorActor
from ray_mentor.students import MLP


@dataclass(frozen=True)
class Accident:
    """Something that happens to a process.

    Attributes:
        folder: of the files that arm accidents.
        name: of this one.
        what: kill, exit, stop (as kill -STOP does) or hang: nothing goes on in the thread that trains.
        mentor: it happens to the mentor actor, whoever meets it.
    """

    folder: str
    name: str
    what: str = "kill"
    mentor: bool = False

    def arm(self) -> Accident:
        self.file.touch()
        return self

    @property
    def file(self) -> Path:
        return Path(self.folder) / self.name

    @property
    def happened(self) -> bool:
        return not self.file.exists()

    def meet(self) -> None:
        """Happens, if it has not yet."""
        try:
            self.file.unlink()
        except FileNotFoundError:
            return
        process = int((Path(self.folder) / "mentor.pid").read_text()) if self.mentor else os.getpid()
        if self.what == "exit":
            os._exit(1)
        if self.what == "hang":
            time.sleep(1e6)
        os.kill(process, signal.SIGSTOP if self.what == "stop" else signal.SIGKILL)


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


@dataclass(frozen=True)
class AtStep:
    """An optimizer's maker: a worker meets accidents in its student steps, counted from its start.

    Attributes:
        accidents: (rank, step, accident).
    """

    accidents: tuple[tuple[int, int, Accident], ...]

    def __call__(self, params: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = make_optimizer(params, StudentConfig(learning_rate=0.02))
        steps = 0

        def count(*_: Any) -> None:
            nonlocal steps
            steps += 1
            for where, when, accident in self.accidents:
                if (where, when) == (rank(), steps):
                    accident.meet()

        optimizer.register_step_pre_hook(count)
        return optimizer


@dataclass(frozen=True)
class Slow:
    """An optimizer's maker: so many seconds a step, for whoever wants to stop a run in the middle of it."""

    seconds: float

    def __call__(self, params: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = make_optimizer(params, StudentConfig(learning_rate=0.02))
        optimizer.register_step_pre_hook(lambda *_: time.sleep(self.seconds))
        return optimizer


class MeetsAccidents(MLP):
    """A student that meets an accident when its state is taken for a checkpoint, on rank 0."""

    def __init__(self, accident: Accident) -> None:
        super().__init__(8, 3, (16,))
        self._accident = accident

    def state_dict(self, *arguments: Any, **named: Any) -> Any:
        if rank() == 0:
            self._accident.meet()
        return super().state_dict(*arguments, **named)


class TellsWhoTakesItsState(MLP):
    """A student that leaves a file for each rank that takes its state."""

    def __init__(self, folder: str) -> None:
        super().__init__(8, 3, (16,))
        self._folder = folder

    def state_dict(self, *arguments: Any, **named: Any) -> Any:
        (Path(self._folder) / f"rank-{rank()}").touch()
        return super().state_dict(*arguments, **named)


@dataclass(frozen=True)
class AtCheckpoint:
    """Builds a student that meets an accident in the middle of a checkpoint: ledger written, state not."""

    accident: Accident

    def __call__(self) -> nn.Module:
        return MeetsAccidents(self.accident)


def mentor_that_meets(folder: str, accidents: dict[tuple[str, int], Accident]) -> type[MentorActor]:
    """An actor's class: its process meets accidents at calls, counted from the first of the run.

    Args:
        accidents: by ("score" | "learn" | "learned", number): before a call does its work, or after and before it
            answers.
    """

    class Meets(MentorActor):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self._note("started")
            (Path(folder) / "mentor.pid").write_text(str(os.getpid()))

        def score(self, *arguments: Any) -> Any:
            self._meet("score")
            return super().score(*arguments)

        def learn(self, *arguments: Any) -> Any:
            self._meet("learn")
            reply = super().learn(*arguments)
            self._meet("learned")
            return reply

        def load(self, state: MentorState) -> None:
            self._note("loaded")
            super().load(state)

        def _meet(self, what: str) -> None:
            accident = accidents.get((what, self._note(what)))
            if accident is not None:
                accident.meet()

        def _note(self, what: str) -> int:
            """Counts in a file, which outlives the process."""
            with open(Path(folder) / f"{what}.calls", "a") as file:
                file.write("x")
            return (Path(folder) / f"{what}.calls").stat().st_size

    return Meets


def count(folder: str, what: str) -> int:
    """How often the mentor's process was started, loaded, asked."""
    file = Path(folder) / f"{what}.calls"
    return file.stat().st_size if file.exists() else 0


def breaking(broken: str, after_steps: int) -> Any:
    """An optimizer's maker: while a file is there, all params are lost after so many steps."""

    def make(params: Any) -> torch.optim.Optimizer:
        optimizer = make_optimizer(params, StudentConfig(learning_rate=0.02))
        steps = 0

        def count(*_: Any) -> None:
            nonlocal steps
            steps += 1
            if steps == after_steps and Path(broken).exists():
                for param in optimizer.param_groups[0]["params"]:
                    param.data.fill_(torch.nan)

        optimizer.register_step_post_hook(count)
        return optimizer

    return make
