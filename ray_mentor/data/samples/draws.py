"""What the random transforms of a user's data set draw: a function of where the run is, whatever was drawn before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch

from ray_mentor.core.student.random_state import untouched

TRAINED, TRUSTED, META, PROBED = range(4)
"""What samples are taken for: keeps the draws of one step apart."""


class MayDraw(Protocol):
    """Inputs, which say whether taking rows may draw."""

    draws: bool


@contextmanager
def drawn_from(words: tuple[int, ...], *inputs: MayDraw) -> Iterator[None]:
    """Inside, the global generators are :func:`seeded`, at no cost where none of the ``inputs`` may draw.

    Args:
        words: not negative.
    """
    if not any(each.draws for each in inputs):
        yield
        return
    with seeded(words):
        yield


@contextmanager
def seeded(words: tuple[int, ...]) -> Iterator[None]:
    """Inside, the global generators of torch (on the CPU), NumPy and Python begin at a seed that ``words`` make.

    Afterwards they are as they were. Costs 0.1 ms.

    Args:
        words: not negative.
    """
    seeds = np.random.SeedSequence(words).generate_state(3, np.uint32).tolist()
    with untouched(torch.device("cpu")):
        torch.default_generator.manual_seed(seeds[0])
        np.random.seed(seeds[1])  # noqa: NPY002 - what a transform may draw from
        random.seed(seeds[2])
        yield
