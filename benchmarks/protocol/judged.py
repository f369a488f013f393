"""What the student that a run keeps is right on."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ray_mentor import Outcome, Samples, TrainConfig
from ray_mentor.core.step.evaluation import hits
from ray_mentor.students import make_student

_PART = 512  # samples a batch


def hits_of(config: TrainConfig, outcome: Outcome, samples: Samples) -> NDArray[np.bool_]:
    """Which samples the finished run's student gives their (given) label."""
    student = make_student(config.student.student, samples.inputs.shape, len(samples.classes))
    student.load_state_dict(outcome.student_state)
    starts = range(0, len(samples), _PART)
    parts = [(np.arange(len(samples))[start : start + _PART], (config.run.seed, start)) for start in starts]
    inputs = samples.inputs.in_parts(parts)
    labels = (torch.from_numpy(samples.labels[rows]) for rows, _ in parts)
    found = hits(student, zip(inputs, labels, strict=True))
    assert found is not None
    return found.numpy()
