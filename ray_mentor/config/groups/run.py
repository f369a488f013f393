"""How long, how wide, and how a run survives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ray_mentor.config.values import require
from ray_mentor.errors import one_of

TRACKERS = ("tensorboard", "mlflow", "wandb")
"""Tools that can be told of a run's epochs."""


@dataclass(frozen=True)
class RunSettings:
    """How long, how wide, and where to."""

    epochs: int = 60
    """Passes over the training samples, >= 1."""
    batch_size: int = 128
    """Samples of the training split per student step over all workers, >= 1; trusted ones come beside them."""
    seed: int = 0
    """Seed of everything drawn at random, >= 0."""
    workers: int | Literal["auto"] = "auto"
    """Student workers; 0 trains in this process, without starting Ray. auto: 0 for a small student or a run of a minute
    or two, else two, or one for each of several GPUs. The run says what was chosen and why, and keeps it when it is
    resumed. Each trial of a sweep then is one process."""
    gpu: bool = False
    """Give each worker a GPU."""
    gpus_per_worker: float = 1.0
    """GPUs of each worker with gpu, > 0: a share below 1 lets several workers, or trials of a sweep, use one card."""
    storage_path: str = "runs"
    """Folder that holds the run directories."""
    run_name: str | None = None
    """Name of the run directory. None: made of method, data, date and time."""
    log_to: tuple[str, ...] = ()
    """Tools that are told of each epoch, too: tensorboard (event files in the run's folder), mlflow, wandb (offline
    unless WANDB_MODE says otherwise)."""
    resume: bool = False
    """Go on with the run of this name from its newest checkpoint."""
    resume_or_start: bool = False
    """The same if the run is there, and start it if not: one command for a job that may be started again."""
    checkpoint_seconds: float = 60.0
    """Seconds between checkpoints, >= 0; one is always written at the end. 0: after every step."""
    checkpoint_steps: int = 0
    """Student steps between checkpoints, >= 0, besides those that the seconds ask for; 0 for none."""
    keep_checkpoints: int = 2
    """How many checkpoints are kept, >= 1: an older one is what is left if the newest turns out to be damaged."""
    min_workers: int | None = None
    """Go on with as few workers as this when nodes are lost, and with `workers` again when there is room. None: never
    with fewer."""
    max_failures: int = 3
    """How often in a row the workers are started again after one of them died, >= 0: the count begins anew with every
    newer checkpoint, and a machine that is taken away is not counted. -1: however often."""
    hang_seconds: float = 120.0
    """A worker or mentor that gives no sign of life for so long counts as dead, as does a worker's step, > 0. A step
    may take ten times as long as the longest so far; the first one and a checkpoint ten times hang_seconds."""
    node_seconds: float = 900.0
    """How long to wait, before the start, for machines that a cluster's autoscaler has yet to bring, >= 0. A cluster
    without an autoscaler refuses at once."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "keep_checkpoints"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "it must be at least 1")
        for name in ("seed", "checkpoint_seconds", "checkpoint_steps", "node_seconds"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "it must be at least 0")
        number = 0 if self.workers == "auto" else self.workers
        require(isinstance(number, int) and number >= 0, "workers", self.workers, "it must be at least 0, or auto")
        require(self.max_failures >= -1, "max_failures", self.max_failures, "it must be at least 0, or -1: no limit")
        require(self.gpus_per_worker > 0, "gpus_per_worker", self.gpus_per_worker, "it must be above 0", "e.g. 0.5")
        require(
            self.gpus_per_worker <= 1 or self.gpus_per_worker.is_integer(),
            "gpus_per_worker",
            self.gpus_per_worker,
            "above 1 it must be whole",
        )
        require(self.hang_seconds > 0, "hang_seconds", self.hang_seconds, "it must be above 0")
        if self.min_workers is not None:
            require(self.workers != "auto", "min_workers", self.min_workers, "workers is auto", "give --workers, too")
            require(
                1 <= self.min_workers <= self.n_workers,
                "min_workers",
                self.min_workers,
                f"it must lie between 1 and workers, {self.workers}",
            )
        require(self.seed < 2**63, "seed", self.seed, "it must be below 2**63")
        for tool in self.log_to:
            one_of(tool, TRACKERS, "log_to")
        require(self.run_name is None or "/" not in self.run_name, "run_name", self.run_name, "it must hold no /")
        require(self.run_name not in ("", ".", ".."), "run_name", self.run_name, "it must name a folder of its own")
        require(bool(self.storage_path), "storage_path", self.storage_path, "it must name a folder", "e.g. runs")
        for name in ("resume", "resume_or_start"):
            require(not getattr(self, name) or self.run_name is not None, name, True, "it needs --run-name")

    @property
    def n_workers(self) -> int:
        """The number of workers, where it is one by now."""
        assert isinstance(self.workers, int), "whoever asks has chosen"
        return self.workers
