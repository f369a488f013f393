"""One rank's share of a batch, and how a student is called with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True)
class Arguments:
    """What a student is called with where that is more than one tensor: ``student(*positional, **named)``.

    Tensors whose first dimension is the batch are taken to hold one row a sample.
    """

    positional: tuple[Any, ...]
    named: dict[str, Any]

    def each(self, change: Callable[[Tensor], Tensor]) -> Arguments:
        """The same arguments with every tensor in them changed, however deep it lies."""
        return Arguments(_each(self.positional, change), _each(self.named, change))


Inputs = Shaped[Tensor, "batch ..."] | Arguments


def outputs_of(student: nn.Module, inputs: Inputs) -> Any:
    """What the student returns for these inputs."""
    return student(*inputs.positional, **inputs.named) if isinstance(inputs, Arguments) else student(inputs)


@dataclass(frozen=True)
class Batch:
    """What the student is shown, and what is known of it.

    Attributes:
        rows: position of each sample in the training split, 0..N-1; keys the per-sample history.
        ids: sample ids, as the ledger and error messages name them.
        inputs: model inputs.
        labels: given labels.
        true_labels: true labels where they are known; read by the method `oracle` and the ledger alone.
        partner_labels: given labels of the samples that were mixed in; None if nothing was.
        partner_trusted: which of the samples that were mixed in belong to the trusted set; None if none does.
        share: share of a sample's own input and label in the mix, in [0, 1]; None if nothing was mixed.
        targets: of a loss that remembers one for each sample; None for any other.
        trusted: which samples belong to the trusted set, whose labels are right; None if none does.
        groups: number of each sample's group, 0..G-1; None where nobody says which there are.
        rank_sizes: rows of the global batch on each rank, where the loader knows them; else they are asked for.
        all_rows: ``rows`` of the global batch, in rank order, where the loader knows them; likewise.
    """

    rows: Int[Tensor, " batch"]
    ids: Int[Tensor, " batch"]
    inputs: Inputs
    labels: Int[Tensor, "batch ..."]
    true_labels: Int[Tensor, " batch"] | None = None
    partner_labels: Int[Tensor, " batch"] | None = None
    partner_trusted: Bool[Tensor, " batch"] | None = None
    share: Float[Tensor, " batch"] | None = None
    targets: Float[Tensor, "batch classes"] | None = None
    trusted: Bool[Tensor, " batch"] | None = None
    groups: Int[Tensor, " batch"] | None = None
    rank_sizes: tuple[int, ...] | None = None
    all_rows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return self.labels.shape[0]

    def __getitem__(self, rows: Tensor) -> Batch:
        size = len(self)
        return self._each(lambda value: value[rows.to(value.device)] if value.shape[:1] == (size,) else value)

    @property
    def is_by_rows(self) -> bool:
        """Whether the inputs hold one row a sample; not where they hold several views of each, or are packed."""
        sizes: list[int] = []

        def note(value: Tensor) -> Tensor:
            sizes.extend(value.shape[:1])
            return value

        _each(self.inputs, note)
        own = len(self)
        return own in sizes and not any(size > own > 0 and size % own == 0 for size in sizes)

    def to(self, device: torch.device) -> Batch:
        """The same batch, with what the student and its weights are made from on another device.

        Rows, ids and true labels stay where they are.
        """

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        away = {name: value for name in _TO_DEVICE if not _is_on(device, value := getattr(self, name))}
        return (
            dataclasses.replace(self, **{name: _each(value, moved) for name, value in away.items()}) if away else self
        )

    def with_inputs(self, inputs: Tensor) -> Batch:
        """The same samples, shown in another way."""
        return dataclasses.replace(self, inputs=inputs)

    def with_targets(self, targets: Float[Tensor, "batch classes"]) -> Batch:
        """The same samples with a target each."""
        return dataclasses.replace(self, targets=targets)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Batch(**{name: _each(value, change) for name, value in values.items()})


_TO_DEVICE = tuple(f.name for f in dataclasses.fields(Batch) if f.name not in ("rows", "ids", "true_labels"))


@dataclass(frozen=True)
class MetaBatch:
    """This rank's share of a meta batch.

    Attributes:
        inputs: model inputs.
        labels: trusted labels.
        size: samples of the meta batch over all ranks.
        weights: what each counts for, 1 in the mean over the meta batch; None: the same for all.
    """

    inputs: Inputs
    labels: Int[Tensor, "own ..."]
    size: int
    weights: Float[Tensor, " own"] | None = None

    def part_of_mean(self, losses: Float[Tensor, " own"]) -> Float[Tensor, ""]:
        """This rank's part of M, the mean over the meta batch of weight · loss."""
        return (losses if self.weights is None else losses * self.weights.to(losses)).sum() / self.size


def on_device(device: torch.device, inputs: Inputs, labels: Tensor) -> tuple[Inputs, Tensor]:
    """Both where the student is."""

    def moved(tensor: Tensor) -> Tensor:
        return tensor.to(device, non_blocking=True)

    found: Inputs = _each(inputs, moved)
    return found, moved(labels)


def _is_on(device: torch.device, value: Any) -> bool:
    """Whether every tensor in it is."""
    if value is None:
        return True
    if isinstance(value, Tensor):
        return value.device == device
    if isinstance(value, Arguments):
        return _is_on(device, value.positional) and _is_on(device, value.named)
    if isinstance(value, dict):
        return all(_is_on(device, item) for item in value.values())
    return type(value) not in (tuple, list) or all(_is_on(device, item) for item in value)


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Arguments):
        return value.each(change)
    if isinstance(value, dict):
        return {key: _each(item, change) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_each(item, change) for item in value)
    return value
