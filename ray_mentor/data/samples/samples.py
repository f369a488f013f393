"""Samples: inputs with their ids, given labels and, where known, true labels."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Shaped
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from ray_mentor.data.memory import require_memory
from ray_mentor.data.samples.dataset_inputs import DatasetInputs
from ray_mentor.data.samples.inputs import AbstractInputs
from ray_mentor.data.samples.labels import class_labels, numbered_classes, targets_in
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.sources.domains import Domains
from ray_mentor.errors import UserError, listed

NO_CLASSES = ("any target",)
"""Of samples whose targets aren't one class."""

_SHOWN = 5  # offenders that an error names
_ID_BYTES = 8


@dataclass(frozen=True, eq=False)
class Samples:
    """N samples of C classes.

    Attributes:
        inputs: what the model is fed, by row.
        ids: int64 (N,), unique; how the ledger and error messages name a sample.
        labels: int64 (N,) in 0..C-1, the given labels.
        true_labels: int64 (N,) in 0..C-1, or None where the truth isn't known.
        classes: the C class names.
        names: strings (N,), unique, by which the user knows the samples, where those are no integers; then ``ids``
            are numbers of the run's own.
        targets: (N, ...), what the loss is given in the labels' place where a target isn't one class: amounts, several
            classes at once, a class a token; then ``labels`` are all 0, of the one class :data:`NO_CLASSES` has.
        domains: of which source each sample is, where they come from several.
        groups: of which group each sample is, where somebody says so: the hospital, the background, no class.

    Raises:
        UserError: lengths that differ, ids that occur twice, a label that isn't a class.
    """

    inputs: AbstractInputs
    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    true_labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    names: pa.LargeStringArray | None = None
    targets: NDArray[Any] | None = None
    domains: Domains | None = None
    groups: Domains | None = None

    def __post_init__(self) -> None:
        for name in ("ids", "labels", "true_labels"):
            if (values := getattr(self, name)) is not None:
                object.__setattr__(self, name, _integers(values, name, len(self)))
        _check_unique(self.ids)
        if self.names is not None:
            _check_names(self.names, len(self))
        self._check_labels(self.labels, "label")
        if self.true_labels is not None:
            self._check_labels(self.true_labels, "true label")

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def class_sizes(self) -> list[int]:
        """How many samples are given each of the C labels."""
        sizes: list[int] = np.bincount(self.labels, minlength=len(self.classes)).tolist()
        return sizes

    @property
    def tokens(self) -> int | None:
        """Places of a sample of which each has a class, as the tokens of a text have; None of others."""
        each = None if self.targets is None or self.targets.dtype.kind not in "iu" else self.targets[:1]
        return None if each is None or each.ndim == 1 else int(np.prod(each.shape[1:]))

    def select(self, rows: Rows) -> Samples:
        """Those rows only, in that order."""
        truth = None if self.true_labels is None else self.true_labels[rows]
        names = None if self.names is None else self.names.take(pa.array(rows))
        targets = None if self.targets is None else self.targets[rows]
        inputs, ids, labels = self.inputs.select(rows), self.ids[rows], self.labels[rows]
        domains = None if self.domains is None else self.domains.select(rows)
        groups = None if self.groups is None else self.groups.select(rows)
        return Samples(inputs, ids, labels, truth, self.classes, names, targets, domains, groups)

    def for_loss(self, rows: Rows) -> Shaped[Tensor, "rows ..."]:
        """What the loss is given of those rows beside the outputs: their labels, or their targets."""
        found = torch.from_numpy((self.labels if self.targets is None else self.targets)[rows])
        return found.long() if found.dtype == torch.uint8 else found  # bytes, which losses take as classes

    @classmethod
    def of_targets(
        cls, inputs: AbstractInputs, ids: NDArray[np.int64], targets: NDArray[Any], names: pa.LargeStringArray | None
    ) -> Samples:
        """Samples whose targets aren't one class.

        Raises:
            UserError: another number of them than of inputs, or what the constructor refuses.
        """
        if len(targets) != len(inputs):
            raise UserError(f"there are {len(inputs)} inputs, but {len(targets)} targets; give one for each")
        return cls(inputs, ids, np.zeros(len(ids), np.int64), None, NO_CLASSES, names, targets)

    def with_labels(self, labels: NDArray[np.int64], true_labels: NDArray[np.int64] | None) -> Samples:
        """The same samples with other labels."""
        return dataclasses.replace(self, labels=labels, true_labels=true_labels)

    def with_inputs(self, inputs: AbstractInputs) -> Samples:
        """The same samples with their inputs held or scaled in another way."""
        return dataclasses.replace(self, inputs=inputs)

    def _check_labels(self, labels: NDArray[np.int64], what: str) -> None:
        outside = np.flatnonzero((labels < 0) | (labels >= len(self.classes)))
        if len(outside):
            row = outside[0]
            raise UserError(
                f"{what} {labels[row]} of sample id {self.ids[row]} (row {row}) is outside "
                f"0..{len(self.classes) - 1}, the {len(self.classes)} classes; "
                f"mend it, leave the sample out, or name all classes ({len(outside)} such)"
            )


def samples_from_dataset(
    dataset: Any,
    *,
    labels: ArrayLike | None = None,
    true_labels: ArrayLike | None = None,
    classes: Sequence[str] | None = None,
    targets: bool = False,
) -> Samples:
    """Samples of a user's own map-style torch data set that gives (input, label); ids are its indices.

    Args:
        dataset: has ``__len__`` and ``__getitem__``; inputs are fetched when they are needed.
        labels: given labels (N,), as :func:`~ray_mentor.data.samples.labels.class_labels` takes them. None:
            ``dataset.targets`` or ``.labels``, else the data set is read once for them.
        true_labels: true labels (N,) where they are known; for reports and `oracle` only.
        targets: whether labels that aren't one class each are targets of a loss of the user's own
            (:func:`~ray_mentor.data.samples.labels.targets_in`).
        classes: class names. None: ``dataset.classes``, else the numbers 0..highest label.

    Raises:
        UserError: a loader, not map-style, empty, an input that isn't a tensor, or labels that don't fit.
    """
    if isinstance(dataset, DataLoader):
        raise UserError("the data set is a DataLoader, but a run makes its own batches; give the loader's .dataset")
    if isinstance(dataset, tuple) and all(isinstance(part, Tensor | np.ndarray) for part in dataset):
        raise UserError(
            "the data set is a tuple of arrays, but it must give (input, label) for an index; wrap it: "
            "TensorDataset(inputs, labels)"
        )
    size = _length(dataset)
    said = _known_labels(dataset) if labels is None and not targets else labels
    if targets:
        said = _all_targets(dataset) if labels is None else labels
        found = targets_in(said)
        if found is not None:
            return Samples.of_targets(DatasetInputs(dataset), np.arange(size), found, None)
    assert said is not None
    known = None if classes is None else tuple(classes)
    own = _own_names(dataset) if known is None else known
    given, named = class_labels(said, "labels", own)
    truth, _ = (None, None) if true_labels is None else class_labels(true_labels, "true_labels", own or named)
    highest = max(int(values.max(initial=0)) for values in (given, truth) if values is not None)
    names = own or named or numbered_classes(highest)
    given = _integers(given, "labels", size)
    return Samples(DatasetInputs(dataset), np.arange(size), given, truth, names)


def _length(dataset: Any) -> int:
    try:
        size = len(dataset)
    except (TypeError, ValueError, OverflowError):
        raise UserError(
            f"the data set is a {type(dataset).__name__} without a length, but a map-style one is needed; "
            "give it __len__ and __getitem__"
        ) from None
    require_memory(_ID_BYTES * size, f"ids of {size:,} samples", "check the data set's __len__")
    if size == 0:
        raise UserError("the data set is empty, but at least one sample is needed; check its folder and filters")
    return size


def _known_labels(dataset: Any) -> ArrayLike:
    for name in ("targets", "labels"):
        labels: ArrayLike | None = getattr(dataset, name, None)
        if labels is not None:
            return labels
    return np.array(list(_labels_one_by_one(dataset)), object)


def _labels_one_by_one(dataset: Any) -> Iterator[int | float | str]:
    for index in range(len(dataset)):
        try:
            _, label = dataset[index]
            yield _one_label(label)
        except (TypeError, ValueError, OverflowError):
            raise UserError(
                f"dataset[{index}] must give (input, label) with a label that is a class, a whole number or a name; "
                "change the data set, or give labels=... yourself"
            ) from None


def _all_targets(dataset: Any) -> ArrayLike:
    """Of each sample what the data set gives beside the input."""
    for name in ("targets", "labels"):
        there: ArrayLike | None = getattr(dataset, name, None)
        if there is not None:
            return there
    parts = [dataset[index] for index in range(len(dataset))]
    if any(not isinstance(part, tuple | list) or len(part) != 2 for part in parts):
        raise UserError("the data set must give (input, target) for an index; change it, or give labels=... yourself")
    values = [part[1] for part in parts]
    if all(isinstance(value, str | int) for value in values):
        return np.array(values, object)
    try:
        return np.stack([np.asarray(value) for value in values])
    except (ValueError, TypeError) as error:
        raise UserError(f"the targets can't be stacked ({error}); bring them to one shape in the data set") from error


def _one_label(label: Any) -> int | float | str:
    """A class by number or by name, or a number that :func:`class_labels` looks at."""
    if isinstance(label, str):
        return label
    if isinstance(label, float | np.floating) or (isinstance(label, Tensor) and label.is_floating_point()):
        return float(label)
    return operator.index(label)


def _own_names(dataset: Any) -> tuple[str, ...] | None:
    names = getattr(dataset, "classes", None)
    return tuple(map(str, names)) if isinstance(names, list | tuple) and names else None


def _integers(values: ArrayLike, name: str, size: int) -> NDArray[np.int64]:
    try:
        array = np.asarray(values)
    except Exception as error:  # lists of different lengths, a tensor with a gradient or on another device
        raise UserError(f"{name} must be integers in one row, but can't be read as an array ({error})") from error
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise UserError(f"{name} must be integers in one row, but are {array.dtype} of shape {array.shape}")
    if len(array) != size:
        raise UserError(f"{name} has {len(array)} entries, but there are {size} inputs; give one for each")
    if array.dtype.kind == "u" and (array > np.iinfo(np.int64).max).any():
        raise UserError(f"{name} must be int64, but the largest is {array.max()}; write them smaller")
    return array.astype(np.int64, copy=False)


def _check_unique(ids: NDArray[np.int64]) -> None:
    values, counts = np.unique(ids, return_counts=True)
    _refuse_repeated(values[counts > 1].tolist())


def _check_names(names: pa.LargeStringArray, size: int) -> None:
    if len(names) != size:
        raise UserError(f"names has {len(names)} entries, but there are {size} inputs; give one for each")
    counted = pc.value_counts(names)
    _refuse_repeated(sorted(counted.filter(pc.greater(counted.field("counts"), 1)).field("values").to_pylist()))


def _refuse_repeated(twice: Sequence[object]) -> None:
    if twice:
        shown = listed(map(str, twice), _SHOWN)
        raise UserError(
            f"sample ids must be unique, but {shown} occur{'s' if len(twice) == 1 else ''} more than once; "
            "name another id_column, or number the rows anew"
        )
