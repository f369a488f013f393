"""Who wants a checkpoint now, rather than when one is due."""

from __future__ import annotations

import time
from typing import Any

from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.on_ray.session.internals.of_train import machines_that_go
from ray_mentor.on_ray.train.sigterm import HERE
from ray_mentor.run.job import Job

AGAIN = 10.0  # seconds between two checkpoints while a machine is about to be taken away


class Wishes:
    """A rank's wishes: its process was sent SIGTERM, a machine of the run is about to go, or, for rank 0, the driver's.

    What is done between the last checkpoint and the moment when the machine goes is done again, so that checkpoints
    then follow each other.
    """

    def __init__(self, job: Job, exchange: AbstractExchange) -> None:
        self._on_ray = not job.local
        self._driver: Any = job.board if self._on_ray and exchange.rank == 0 else None
        self._is_drivers = False
        self._saved = -AGAIN

    def any(self) -> bool:
        """Whether this rank has one."""
        if not self._on_ray:
            return HERE.came
        self._is_drivers = self._driver is not None and self._driver.is_wished()
        goes = machines_that_go() is not None and time.monotonic() - self._saved >= AGAIN
        return HERE.came or goes or self._is_drivers

    def fulfil(self) -> None:
        """All ranks have written a checkpoint."""
        self._saved = time.monotonic()
        if self._is_drivers:
            self._is_drivers = False
            self._driver.fulfil()
        HERE.go_on()
