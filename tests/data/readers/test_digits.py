"""The digits are read from scikit-learn's file; what its own reader makes of that is the truth."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from ray_mentor.data.readers.digits import read_digits
from ray_mentor.data.samples.inputs import ImageInputs


def test_they_are_those_of_scikit_learn() -> None:
    own, theirs = read_digits().train, load_digits()
    assert isinstance(own.inputs, ImageInputs)
    assert own.inputs.values.dtype == np.uint8
    np.testing.assert_array_equal(own.inputs.values[..., 0], theirs.images)
    np.testing.assert_array_equal(own.labels, theirs.target)
    assert own.classes == tuple(map(str, theirs.target_names))
