"""How often a mentor learns, and how fast, where that isn't given: as fits the steps that it has."""

from __future__ import annotations

import dataclasses

from ray_mentor.config import MentorConfig

SLOWEST, FASTEST, WAY = 0.0006, 0.01, 0.65
"""The mentor's learning rate per student step where none is given, and rate · steps that it has at least, if it can."""

SELDOM, UPDATES = 20, 50
"""The longest interval between two meta updates where none is given, and how many updates a shorter one is to give."""


def paced(config: MentorConfig, steps: float) -> MentorConfig:
    """The settings with numbers for interval and rate.

    Args:
        steps: student steps during which the mentor learns.
    """
    return dataclasses.replace(
        config, update_interval=interval_of(config, steps), mentor_learning_rate=rate_of(config, steps)
    )


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


def rate_of(config: MentorConfig, steps: float | None = None) -> float:
    """The mentor's learning rate: what is given, or else min(max(0.0006, 0.65/steps), 0.01).

    Adam's steps have the size of its rate, so that a mentor gets as far as rate · steps, whatever the interval.

    Args:
        steps: student steps during which the mentor learns; None: nobody knows.
    """
    if config.mentor_learning_rate is not None:
        return config.mentor_learning_rate
    return SLOWEST if steps is None else min(max(SLOWEST, WAY / max(steps, 1.0)), FASTEST)
