"""Inputs that lie in the memory of the student's device, as they are stored."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from typing_extensions import override

from ray_mentor.data.samples.inputs import AbstractArrayInputs
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.samples.wrapped import AbstractWrapped
from ray_mentor.data.storage.stored import StoredArray
from ray_mentor.errors import UserError


class InputsOnDevice(AbstractWrapped):
    """The same inputs, their values copied to a device once: images take a byte a pixel and channel there.

    Args:
        inputs: images or features, in memory or in a file that is mapped.
        device: where rows are taken, scaled and fed to the model.
    """

    def __init__(self, inputs: AbstractArrayInputs, device: torch.device) -> None:
        super().__init__(inputs)
        self._array = inputs
        self._values = torch.from_numpy(np.array(inputs.values[:])).to(device)

    @override
    def take(self, rows: Rows) -> Float[Tensor, "rows ..."]:
        return self._array.fed(self.stored(rows))

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Of one row as it is stored."""
        return self._array.stored_shape

    def stored(self, rows: Rows) -> Shaped[Tensor, "rows ..."]:
        """Those rows as they are stored, on the device."""
        return self._values[torch.from_numpy(rows.copy()).to(self._values.device)]

    @override
    def select(self, rows: Rows) -> InputsOnDevice:
        return InputsOnDevice(self._array.select(rows), self._values.device)


def on_device(samples: Samples, device: torch.device) -> Samples:
    """The same samples with their inputs on ``device``.

    Raises:
        UserError: they do not fit there.
    """
    assert isinstance(samples.inputs, AbstractArrayInputs)
    try:
        return samples.with_inputs(InputsOnDevice(samples.inputs, device))
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"the inputs of {len(samples):,} training samples do not fit into the memory of {device} "
            f"({str(error).splitlines()[0]}); leave --hold-on-device out"
        ) from error


def check_can_be_held(samples: Samples) -> None:
    """Refuses inputs that are fetched one by one, or streamed."""
    inputs = samples.inputs
    if not isinstance(inputs, AbstractArrayInputs) or isinstance(inputs.values, StoredArray):
        raise UserError(
            "hold_on_device is on, but the training inputs are not at hand as one array (texts, a data set of your "
            "own, or data_backend ray); leave it out"
        )
