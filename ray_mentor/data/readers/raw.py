"""What a reader hands over: the data as it is stored, before any split, noise or scale."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ray_mentor.data.samples.inputs import ImageInputs
from ray_mentor.data.samples.samples import Samples
from ray_mentor.errors import UserError


@dataclass(frozen=True)
class Raw:
    """The splits that a data set comes with.

    Attributes:
        train: what training, meta and validation splits are taken from.
        test: None where the data set has no test split.
        validation: None where the data set has no validation split.
        fit_scale: whether the inputs are to be scaled by the training split's mean and deviation.
        features: names of the feature columns in use; empty for images.
        columns: names of all columns that the files have.
        notes: what the user should be told.
        checked: bool (N,), whether the given label of each training sample was checked; None where nothing says so.
        understood: format, splits, classes and inputs in a line; empty for a data set that is known by its name.
    """

    train: Samples
    test: Samples | None = None
    validation: Samples | None = None
    fit_scale: bool = True
    features: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    checked: NDArray[np.bool_] | None = None
    understood: str = ""

    def __post_init__(self) -> None:
        for name, split in (("test", self.test), ("validation", self.validation)):
            if split is not None:
                check_same_shape(split, self.train, f"the {name} split")

    def in_colour(self) -> Raw:
        """The same splits, grey images with three channels."""
        train = _in_colour(self.train)
        test, validation = (None if split is None else _in_colour(split) for split in (self.test, self.validation))
        return replace(self, train=train, test=test, validation=validation)


def _in_colour(samples: Samples) -> Samples:
    assert isinstance(samples.inputs, ImageInputs)
    return samples.with_inputs(samples.inputs.in_colour())


def check_same_shape(samples: Samples, train: Samples, what: str) -> None:
    """Raises a UserError if the inputs of ``samples`` have another shape than the training split's."""
    if samples.inputs.shape != train.inputs.shape:
        are_images = len(train.inputs.shape) == len(samples.inputs.shape) == _IMAGE
        fix = "bring them to one size (--image-size)" if are_images else "name the same feature_columns"
        raise UserError(
            f"inputs of {what} have shape {samples.inputs.shape}, but the training split's have "
            f"{train.inputs.shape}; {fix}"
        )


_IMAGE = 3  # axes: channels, height and width
