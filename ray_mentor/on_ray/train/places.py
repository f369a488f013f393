"""Where a run trains: in this process, or by workers on Ray."""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import ray
import ray.exceptions
import ray.train
import torch
from ray.actor import ActorHandle

from ray_mentor.core.methods.table import method_of
from ray_mentor.core.student.random_state import untouched
from ray_mentor.data.splits.splits import Splits
from ray_mentor.errors import MentorLostError
from ray_mentor.on_ray.mentor.actor import MentorActor
from ray_mentor.on_ray.session.environment import hangs_end_after, nobody_takes_machines, quiet, trains_metrics_of
from ray_mentor.on_ray.session.failures import Failures, as_ray_says, causes, how_to_go_on, users_error
from ray_mentor.on_ray.session.growth import Needs
from ray_mentor.on_ray.session.internals.of_train import BOOKS
from ray_mentor.on_ray.session.internals.of_trainer import StoppableTrainer
from ray_mentor.on_ray.session.session import alone_in_process, check_machine, ctrl_c_is_ours, ray_session
from ray_mentor.on_ray.train.given.rays_configs import as_told_to_ray, least_needs
from ray_mentor.on_ray.train.reports import CallbacksHere
from ray_mentor.on_ray.train.sigterm import HERE, WorkersSaveFirst, workers_save_first
from ray_mentor.on_ray.train.watch import LocalBoard, RemoteBoard, board_here, ended_with_its_run, watched
from ray_mentor.on_ray.train.worker_loop import worker_loop
from ray_mentor.run.claim import ClaimedDirectory
from ray_mentor.run.job import Job
from ray_mentor.run.marks import Marks
from ray_mentor.wording import as_said_here

Claim = Callable[[], ClaimedDirectory]
"""Takes the run's folder up, which is done when nothing is left that could refuse the run."""


@dataclass(frozen=True)
class Place:
    """Ray's side of one run.

    Attributes:
        scaling: how many workers, of what size.
        run: the run's name, and what becomes of it when workers fail.
        verbose: whether Ray's own log is let through.
        stored: where the data lie in Ray's object store already; None: nowhere.
    """

    scaling: Any
    run: ray.train.RunConfig
    verbose: bool
    stored: ray.ObjectRef[Splits] | None = None

    def train_here(self, job: Job, claim: Claim, marks: Marks) -> ray.train.Result:
        """Trains in this process, without starting Ray."""
        if self.scaling.use_gpu:
            check_machine(Needs({"GPU": 1.0}))
        device = torch.device("cuda" if self.scaling.use_gpu else "cpu")
        with alone_in_process(), quiet(self.verbose), untouched(device):
            owner, callbacks = claim().owner, CallbacksHere(self.run.callbacks or ())
            job = dataclasses.replace(job, owner=owner, board=LocalBoard(marks.show), callbacks=callbacks)
            with HERE.installed(signal.SIGTERM, signal.SIGINT):
                return callbacks.fit(self._trainer(job, self.run))

    def train_on_ray(self, job: Job, claim: Claim, marks: Marks) -> ray.train.Result:
        """Trains by workers, on a Ray that is started for them where none is there."""
        with ExitStack() as stack:
            is_ours = stack.enter_context(
                ray_session(
                    least_needs(self.scaling),
                    verbose=self.verbose,
                    node_seconds=job.run.node_seconds,
                    tell=lambda text: marks.show({"kind": "note", "text": text}),
                )
            )
            claimed = claim()
            marks.ray_ready = time.time()
            board: Any = stack.enter_context(ended_with_its_run(board_here(str(job.run.run_name))))
            mentor = stack.enter_context(ended_with_its_run(_mentor_actor(job)))
            splits = ray.put(job.splits) if self.stored is None else self.stored
            start = None if job.start is None else ray.put(job.start)
            there = {"splits": splits, "start": start, "mentor_actor": mentor, "board": RemoteBoard(board)}
            failures = Failures(board, job.directory, job.run.max_failures)
            run = as_told_to_ray(self.run, [failures, WorkersSaveFirst()])
            claimed.remove(BOOKS)  # of an earlier attempt: of no use to this one
            stack.enter_context(watched(board, marks.show))
            stack.enter_context(ctrl_c_is_ours())
            saves = stack.enter_context(workers_save_first(board))
            stack.enter_context(hangs_end_after(job.run.hang_seconds))
            stack.enter_context(trains_metrics_of(str(job.run.run_name)))
            if is_ours:
                stack.enter_context(nobody_takes_machines())
            alone = is_ours and threading.current_thread() is threading.main_thread()  # runs in threads share it
            told = dataclasses.replace(job, owner=claimed.owner, **there)
            try:
                return self._trainer(told, run, lambda: saves.install(signal.SIGINT), alone=alone).fit()
            except (ray.train.TrainingFailedError, ray.exceptions.RayActorError) as error:
                users = users_error(causes(error))
                said = users or as_ray_says(error)
                if users is None or isinstance(users, MentorLostError):
                    said.add_note(as_said_here(how_to_go_on(job.directory)))
                raise said from error

    def _trainer(self, job: Job, run: Any, then: Callable[[], None] = lambda: None, **more: bool) -> StoppableTrainer:
        given = {"train_loop_config": {"job": job}, "scaling_config": self.scaling, "run_config": run}
        return StoppableTrainer(worker_loop, then=then, **given, **more)


def _mentor_actor(job: Job) -> ActorHandle[MentorActor] | None:
    """The run's mentor, if its method has one that learns; owned by this process, restarted wherever it dies."""
    if not method_of(job.curriculum.method).learns:
        return None
    actor: Any = ray.remote(MentorActor).options(num_cpus=0, num_gpus=0, max_restarts=-1, max_task_retries=-1)
    classes, seed = len(job.splits.train.classes), job.run.seed
    handle: ActorHandle[MentorActor] = actor.remote(job.mentor, classes, seed, job.mentor_start)
    return handle
