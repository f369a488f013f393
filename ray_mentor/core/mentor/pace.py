"""How often a mentor learns, and how fast, where that isn't given: as fits the steps that it has."""

from __future__ import annotations

import dataclasses

from ray_mentor.config import MentorConfig

FASTEST, SLOWEST, WAY, LARGEST = 0.01, 0.0006, 0.3, 0.03
"""The mentor's learning rate per student step where none is given: at most, at least, and times the steps so far; and
that of an update at most."""

SELDOM, UPDATES = 20, 50
"""The longest interval between two meta updates where none is given, and how many updates a shorter one is to give."""


def paced(config: MentorConfig, steps: float) -> MentorConfig:
    """The settings with a number for the interval.

    Args:
        steps: student steps during which the mentor learns.
    """
    return dataclasses.replace(config, update_interval=interval_of(config, steps))


def interval_of(config: MentorConfig, steps: float | None = None) -> int:
    """Student steps between two meta updates: what is given, or else max(1, min(20, steps/50)), rounded down.

    Never fewer than an update looks ahead.

    Args:
        steps: student steps during which the mentor learns; None: nobody knows.
    """
    if config.update_interval is not None:
        return config.update_interval
    own = SELDOM if steps is None else min(SELDOM, int(steps / UPDATES))
    return max(1, own, config.unroll_steps)


def rate_of(config: MentorConfig, steps: int) -> float:
    """The mentor's learning rate: what is given, or else max(0.0006, min(0.01, 0.3/steps, 0.03/interval)).

    Adam's steps have the size of its rate, whatever is left of the evidence. While the student does not yet know wrong
    labels by heart influences say the most, so that the mentor gets far at first; later they say less and less, and
    it moves little. The way it goes is much the same in short runs and long ones. An update's own rate, interval times
    as much, is 0.03 at most: beyond, a few of them decide all.

    Args:
        steps: student steps for which the mentor has learned, with those that the update at hand counts for; >= 1.
    """
    if config.mentor_learning_rate is not None:
        return config.mentor_learning_rate
    return max(SLOWEST, min(FASTEST, WAY / steps, LARGEST / interval_of(config)))
