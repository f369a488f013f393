"""The handwritten digits that ship with scikit-learn."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np

from ray_mentor.data.readers.raw import Raw
from ray_mentor.data.samples.inputs import ImageInputs
from ray_mentor.data.samples.samples import Samples

_LEVELS = 16  # pixels are 0..16
_CLASSES = 10


def read_digits() -> Raw:
    """1,797 grey 8×8 images of 10 classes, fed to the model as (1, 8, 8) in [0, 1]; no test split."""
    with gzip.open(_file(), "rt") as file:
        table = np.loadtxt(file, np.uint8, delimiter=",")
    scale = (np.zeros(1, np.float32), np.full(1, _LEVELS / 255, np.float32))
    inputs = ImageInputs(table[:, :-1].reshape(-1, 8, 8, 1), scale)
    labels = table[:, -1].astype(np.int64)
    return Raw(Samples(inputs, np.arange(len(labels)), labels, None, tuple(map(str, range(_CLASSES)))), fit_scale=False)


def _file() -> Path:
    """As it is installed, an image a line and its class behind; to import the library takes two seconds.

    Raises:
        ModuleNotFoundError: scikit-learn is not installed.
    """
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")
    return Path(found.origin).parent / "datasets/data/digits.csv.gz"
