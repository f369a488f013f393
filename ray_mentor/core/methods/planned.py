"""What follows from how long a run is."""

from __future__ import annotations

import dataclasses

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.mentor.pace import paced
from ray_mentor.core.mentor.start import made_for
from ray_mentor.core.methods.table import burn_in_of


def planned(
    curriculum: CurriculumConfig, mentor: MentorConfig, total_steps: int, epochs: int | None
) -> tuple[CurriculumConfig, MentorConfig]:
    """The schedule, and the mentor's settings, with numbers for what is not given: burn-in, interval and rate.

    Args:
        total_steps: of the run.
        epochs: passes over the samples that these are; None: nobody knows.
    """
    burn_in = burn_in_of(curriculum, epochs)
    mentor = paced(made_for(curriculum, mentor), total_steps * (1 - burn_in))
    return dataclasses.replace(curriculum, burn_in=burn_in), mentor
