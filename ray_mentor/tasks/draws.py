"""Draws of tasks that depend on who draws and which episode it is, and on nothing that was drawn before."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from ray_mentor.tasks.task_set import PerTask


def uniforms(seed: int, worker: int, first: int, count: int) -> Float[NDArray[np.float64], " count"]:
    """In [0, 1), of a worker's episodes ``first``, ``first + 1``, ...: each a function of seed, worker and episode."""
    episodes = range(first, first + count)
    key = [seed, worker]
    return np.array([np.random.Generator(np.random.Philox(key=key, counter=at)).random() for at in episodes])


def drawn(shares: PerTask, seed: int, worker: int, first: int, count: int) -> Int[NDArray[np.int64], " count"]:
    """Numbers of tasks for these episodes, each with the probability that ``shares`` says; none where that is 0."""
    up_to = np.cumsum(shares)
    return np.searchsorted(up_to / up_to[-1], uniforms(seed, worker, first, count), side="right").astype(np.int64)
