"""The handwritten digits that ship with scikit-learn."""

from __future__ import annotations

import numpy as np

from ray_mentor.data.readers.raw import Raw
from ray_mentor.data.samples.inputs import ImageInputs
from ray_mentor.data.samples.samples import Samples

_LEVELS = 16  # pixels are 0..16


def read_digits() -> Raw:
    """1,797 grey 8×8 images of 10 classes, fed to the model as (1, 8, 8) in [0, 1]; no test split."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  a second of start-up for one data set

    digits = load_digits()
    scale = (np.zeros(1, np.float32), np.full(1, _LEVELS / 255, np.float32))
    inputs = ImageInputs(digits.images.astype(np.uint8)[..., None], scale)
    labels = digits.target.astype(np.int64)
    names = tuple(map(str, digits.target_names))
    return Raw(Samples(inputs, np.arange(len(labels)), labels, None, names), fit_scale=False)
