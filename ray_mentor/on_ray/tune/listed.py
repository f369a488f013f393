"""Runs that are not searched, side by side: those of a confirmation, and those of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import ray

from ray_mentor.config import RunSettings, TrainConfig
from ray_mentor.errors import UserError
from ray_mentor.on_ray.session.growth import has_autoscaler
from ray_mentor.on_ray.session.internals import of_ray
from ray_mentor.on_ray.session.session import ray_session
from ray_mentor.on_ray.tune.objective import NONE, Objective
from ray_mentor.on_ray.tune.resumed import digest
from ray_mentor.on_ray.tune.room import at_once, needs, room_told
from ray_mentor.on_ray.tune.search import Listed
from ray_mentor.on_ray.tune.stage import Stage, brief, remove_books
from ray_mentor.on_ray.tune.trial import MakeTrainer, Plan, newest_run
from ray_mentor.run.claim import ClaimedDirectory, taken_up
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.marks import Show

RUNS = "runs"
"""The folder of the run directories of trials, or of a comparison's runs."""


class Makers(Protocol):
    """Gives what makes the trainers of some runs, once Ray is there."""

    def __call__(self, configs: Sequence[TrainConfig], *, test: bool) -> MakeTrainer:
        """Of runs with these settings; they ask for a test split only if ``test``."""


@dataclass(frozen=True)
class Place:
    """A folder of many runs that this process has taken up, and a Ray that has room for some of them at a time."""

    directory: ClaimedDirectory
    concurrent: int


@contextmanager
def place(
    directory: RunDirectory,
    run: RunSettings,
    wanted: int | None,
    most: int,
    tell: Callable[[str], None],
    *,
    verbose: bool,
) -> Iterator[Place]:
    """A Ray for many runs, and their folder, with what an interrupted call left of Ray Tune's books removed.

    Args:
        directory: of all of them. Nothing is written into it where this raises.
        run: what each of them takes.
        wanted: runs at a time; None: as many as fit.
        most: runs that there are.
        tell: takes notes.
        verbose: let Ray's own log through.

    Raises:
        UserError: a Ray on which not one fits, or that is reached through a client.
    """
    with ray_session(needs(run), verbose=verbose, node_seconds=run.node_seconds, tell=tell):
        if of_ray.through_client():
            raise UserError(
                "RAY_ADDRESS is one of Ray's client (ray://), through which Ray Tune would work in another process "
                "than this, which writes down what it hears; give the cluster's own address, or submit a job"
            )
        there = ray.cluster_resources()
        concurrent = min(at_once(run, there, wanted, has_autoscaler), most)
        tell(room_told(concurrent, run, there))
        directory.create((RUNS,))
        yield Place(cleared(directory), concurrent)


def cleared(directory: RunDirectory) -> ClaimedDirectory:
    """The folder taken up, and what an interrupted call left of Ray Tune's books removed."""
    claimed = taken_up(directory)
    remove_books(claimed)
    return claimed


@dataclass(frozen=True)
class ListedRuns:
    """Runs that are made as they are, each to its end.

    Attributes:
        base: the settings that say what each of them takes of a cluster, and how long it is.
        makers: gives what makes their trainers.
        directory: which this process has taken up; it is permitted anew at each row, since whoever lost it must not
            go on.
        folder: of the runs' directories in it.
        concurrent: runs at a time.
        test: whether they measure the test split.
        alone: whether each has a process of its own, so that time and memory are those of it alone.
        show: takes their rows, of kind ``trial``, ``ended`` and ``note``, a run being called by its :func:`digest`.
    """

    base: TrainConfig
    makers: Makers
    directory: RunDirectory
    folder: str
    concurrent: int
    test: bool
    alone: bool = False
    show: Show = lambda row: None

    def run(self, configs: Sequence[TrainConfig]) -> list[RunDirectory | str]:
        """Their directories, or why there is none.

        Each is named by what it is, so that those of an earlier call are taken for the same runs alone; one that was
        interrupted goes on where it was. Settings that come to the same run share it.
        """
        listed = {digest(config): config for config in configs}
        failed: dict[str, str] = {}
        self.directory.permit()  # or these runs would be taken from whom they are by now

        def tell(row: dict[str, object]) -> None:
            self.directory.permit()
            if row["kind"] == "ended" and row["state"] == "failed":
                failed[str(row["trial"])] = brief(str(row["error"]))
            self.show(row)

        folder = f"{self.directory.path}/{self.folder}"
        if not listed:
            return []
        Stage(
            Plan(
                self.base,
                self.makers(list(listed.values()), test=self.test),
                Objective(NONE, self.base.run.epochs),
                folder,
                listed,
                self.test,
                ends_hopeless=False,
                alone=self.alone,
            ),
            self.directory.path,
            min(self.concurrent, len(listed)),
            Listed(listed),
            len(listed),
            tell,
        ).run()
        names = [digest(config) for config in configs]
        return [failed.get(name) or newest_run(folder, name) for name in names]
