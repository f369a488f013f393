"""What the student that a run keeps is right on."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ray_mentor import Outcome, Samples, TrainConfig
from ray_mentor.core.methods.table import method_of
from ray_mentor.core.step.evaluation import hits
from ray_mentor.core.student.pair import Pair
from ray_mentor.students import make_student

_PART = 512  # samples a batch


def hits_of(config: TrainConfig, outcome: Outcome, samples: Samples) -> NDArray[np.bool_]:
    """Which samples the finished run's student, of two their mean, gives their (given) label."""
    kind = config.student.student, samples.inputs.shape, len(samples.classes)
    two = method_of(config.curriculum.method).students > 1
    student = Pair(make_student(*kind), make_student(*kind)) if two else make_student(*kind)
    student.load_state_dict(outcome.student_state)
    starts = range(0, len(samples), _PART)
    parts = [(np.arange(len(samples))[start : start + _PART], (config.run.seed, start)) for start in starts]
    inputs = samples.inputs.in_parts(parts)
    labels = (torch.from_numpy(samples.labels[rows]) for rows, _ in parts)
    found = hits(student, zip(inputs, labels, strict=True))
    assert found is not None
    return found.numpy()
