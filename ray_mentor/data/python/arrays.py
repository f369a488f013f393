"""Inputs and labels in two arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import TensorDataset

from ray_mentor.data.samples.dataset_inputs import DatasetInputs
from ray_mentor.data.samples.inputs import AbstractInputs, FeatureInputs, ImageInputs
from ray_mentor.data.samples.labels import class_labels, numbered_classes, targets_in
from ray_mentor.data.samples.samples import Samples
from ray_mentor.errors import UserError

_COLOURS = (1, 3)
_IMAGES, _PLANES = 4, 3  # dimensions


def samples_of_arrays(data: Sequence[Any], classes: tuple[str, ...] | None = None, *, targets: bool = False) -> Samples:
    """Samples of (inputs (N, ...), labels (N,)), arrays or tensors; ids are their places.

    Args:
        targets: whether labels that aren't one class each are targets of a loss of the user's own.

    Raises:
        UserError: not two arrays of one length, or what :func:`class_labels` and :func:`inputs_of` refuse.
    """
    if len(data) != 2:
        raise UserError(f"the data are {len(data)} arrays, but they must be two: (inputs, labels)")
    inputs = _array(data[0])
    said = _array(data[1]) if isinstance(data[1], Tensor) else data[1]
    found = targets_in(said) if targets else None
    if found is not None and inputs.ndim and len(found):
        return Samples.of_targets(inputs_of(inputs), np.arange(len(inputs)), found, None)
    labels, names = class_labels(said, "labels", classes)
    if inputs.ndim < 1 or len(inputs) != len(labels):
        there = len(inputs) if inputs.ndim else "no"
        raise UserError(f"there are {there} inputs, but {len(labels)} labels; give one for each")
    if len(labels) == 0:
        raise UserError("the data are empty, but at least one sample is needed")
    names = classes or names or numbered_classes(int(labels.max()))
    return Samples(inputs_of(inputs), np.arange(len(labels)), labels, None, names)


def inputs_of(array: NDArray[Any]) -> AbstractInputs:
    """Inputs of an array (N, ...), as a torch data set of its rows has them; but for images, as cameras store them.

    Bytes of shape (N, H, W), or (N, H, W, C) with C of 1 or 3, are images: the model is fed pixel / 255 as (C, H, W).

    Raises:
        UserError: nothing that is a number; a float that is not finite.
    """
    if array.dtype.kind not in "biuf":
        raise UserError(
            f"the inputs are {array.dtype} of shape {array.shape}, but they must be numbers, one row a sample; convert "
            "them"
        )
    if array.dtype.kind == "f":
        wrong = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
        if len(wrong):
            raise UserError(
                f"the input in row {wrong[0]} is not finite, but all numbers must be; mend it or leave the row out "
                f"({len(wrong)} such)"
            )
    if array.dtype == np.uint8 and array.ndim == _PLANES:
        array = array[..., None]
    if array.dtype == np.uint8 and array.ndim == _IMAGES and array.shape[3] in _COLOURS:
        return ImageInputs(np.ascontiguousarray(array))
    if array.ndim == 2 and array.dtype.kind == "f":
        return FeatureInputs(np.ascontiguousarray(array, np.float32))
    native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    return DatasetInputs(TensorDataset(torch.from_numpy(native)))


def _array(values: Any) -> NDArray[Any]:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
