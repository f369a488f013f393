"""Samples of several sources, one behind the other."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset
from typing_extensions import override

from ray_mentor.core.domains.shares import adding_up
from ray_mentor.data.samples.dataset_inputs import DatasetInputs
from ray_mentor.data.samples.inputs import AbstractArrayInputs, AbstractInputs, ImageInputs, Values
from ray_mentor.data.samples.rows import AbstractRows, Rows
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.samples.sources.domains import Domains, in_order, one_behind_the_other
from ray_mentor.data.samples.texts.inputs import AbstractTexts
from ray_mentor.errors import UserError, listed, shown


def joined(sources: Mapping[str, Samples], like: Samples | None = None) -> Samples:
    """All samples of the sources, by name in their order; ids are places, and names say source and id: ``wiki/12``.

    Classes are told apart by name.

    Args:
        like: samples of all sources, whose classes and order of sources these have; None: these are all.

    Raises:
        UserError: a source without samples, inputs of another kind than the first one's, classes in one and targets in
            another.
    """
    parts = list(sources.values())
    for name, samples in sources.items():
        if len(samples) == 0:
            raise UserError(f"source {name!r} has no samples; give some, or leave it out")
    (first_name, first), *_ = sources.items()
    for name, samples in sources.items():
        if (samples.targets is None) != (first.targets is None):
            raise UserError(
                f"source {name!r} has targets of another kind than {first_name!r}; give targets of one kind"
            )
    classes = first.classes if first.targets is not None else _all_classes(parts) if like is None else like.classes
    order = tuple(sources) if like is None or like.domains is None else like.domains.names
    names = pa.array([each for name, part in sources.items() for each in _names(name, part)], pa.large_string())
    truth = [part.true_labels for part in parts]
    sizes = [len(part) for part in parts]
    return Samples(
        inputs=joined_inputs({name: part.inputs for name, part in sources.items()}),
        ids=np.arange(sum(sizes)),
        labels=np.concatenate([_renumbered(part.labels, part.classes, classes) for part in parts]),
        true_labels=_truth(parts, classes) if all(each is not None for each in truth) else None,
        classes=classes,
        names=names,
        targets=None if first.targets is None else _stacked([(name, part.targets) for name, part in sources.items()]),
        domains=Domains(order, np.repeat([order.index(name) for name in sources], sizes)),
        groups=one_behind_the_other([part.groups for part in parts]),
    )


def joined_targets(targets: Mapping[str, Samples], weights: Mapping[str, float] | None) -> Samples:
    """All samples of several targets, as :func:`joined` has those of sources, with what each target counts for.

    Args:
        weights: by name, above 0; they need not add up to 1. None: the same for all.

    Raises:
        UserError: weights of other names, or that are none; or what :func:`joined` says.
    """
    if weights is not None and set(weights) != set(targets):
        raise UserError(
            f"target_weights names {listed(sorted(weights))}, but the targets are {listed(sorted(targets))}; give one "
            "for each"
        )
    given = [1.0 if weights is None else float(weights[name]) for name in targets]
    shares = adding_up(given) if all(0 < weight < math.inf for weight in given) else (0.0,)
    if min(shares) == 0:
        raise UserError(
            f"target_weights is {shown(weights)}, but weights are numbers above 0, also beside the largest of them; "
            "leave a target out instead"
        )
    found = joined(targets)
    assert found.domains is not None
    return dataclasses.replace(found, domains=dataclasses.replace(found.domains, weights=shares))


def _names(source: str, samples: Samples) -> list[str]:
    own = samples.ids.tolist() if samples.names is None else samples.names.to_pylist()
    return [f"{source}/{each}" for each in own]


def _truth(parts: Sequence[Samples], classes: tuple[str, ...]) -> NDArray[np.int64]:
    known = [(part.true_labels, part.classes) for part in parts]
    return np.concatenate([_renumbered(labels, own, classes) for labels, own in known if labels is not None])


def _all_classes(parts: Sequence[Samples]) -> tuple[str, ...]:
    """As the first has them, where one has all; else sorted, numbers as numbers."""
    whole = {name for part in parts for name in part.classes}
    has_all = next((part.classes for part in parts if whole <= set(part.classes)), None)
    if has_all is not None:
        return has_all
    return in_order(whole)


def _renumbered(labels: NDArray[np.int64], own: tuple[str, ...], classes: tuple[str, ...]) -> NDArray[np.int64]:
    if own == classes:
        return labels
    places = {name: place for place, name in enumerate(classes)}
    return np.array([places[name] for name in own], np.int64)[labels]


def _stacked(targets: Sequence[tuple[str, NDArray[Any] | None]]) -> NDArray[Any]:
    (first_name, first), *rest = targets
    assert first is not None
    for name, each in rest:
        assert each is not None
        if each.shape[1:] != first.shape[1:] or each.dtype != first.dtype:
            raise UserError(
                f"source {name!r} has targets of {each.dtype} and shape {each.shape[1:]}, but {first_name!r} of "
                f"{first.dtype} and {first.shape[1:]}; give targets of one kind"
            )
    return np.concatenate([each for _, each in targets if each is not None])


def joined_inputs(sources: Mapping[str, AbstractInputs]) -> AbstractInputs:
    """All inputs of the sources, one behind the other.

    Raises:
        UserError: inputs of another kind, shape or scale than the first one's, or of a kind that can't be joined.
    """
    parts = _in_one_colour(list(sources.values()))
    first = parts[0]
    for name, part in zip(sources, parts, strict=True):
        if type(part) is not type(first) or part.shape != first.shape or part.dtype != first.dtype:
            raise UserError(
                f"source {name!r} has {_kind(part)}, but {next(iter(sources))!r} has {_kind(first)}; all sources feed "
                "one student: bring them to one form"
            )
    if all(isinstance(part, DatasetInputs) for part in parts):
        return _joined_data_sets([part for part in parts if isinstance(part, DatasetInputs)])
    arrays = [part for part in parts if isinstance(part, AbstractArrayInputs)]
    if len(arrays) < len(parts):
        what = "texts" if isinstance(first, AbstractTexts) else _kind(first)
        raise UserError(
            f"the sources hold {what}, which can't be mixed in a run; give tables of features, images, arrays or data "
            "sets, such as one that gives token ids"
        )
    scaled = next((name for name, part in zip(sources, arrays, strict=True) if not _same_scale(part, arrays[0])), None)
    if scaled is not None:
        raise UserError(
            f"source {scaled!r} is stored on another scale than {next(iter(sources))!r}; all sources feed one student: "
            "store them alike"
        )
    return arrays[0].holding(_joined_values([part.values for part in arrays]))


def _kind(inputs: AbstractInputs) -> str:
    return f"inputs of {str(inputs.dtype).removeprefix('torch.')} and shape {shown(inputs.shape)}"


def _in_one_colour(parts: list[AbstractInputs]) -> list[AbstractInputs]:
    """Grey images get 3 channels where other sources have colour."""
    images = [part for part in parts if isinstance(part, ImageInputs)]
    if len(images) == len(parts) and any(part.shape[0] == 3 for part in images):
        return [part.in_colour() for part in images]
    return parts


def _same_scale(one: AbstractArrayInputs, other: AbstractArrayInputs) -> bool:
    side = not isinstance(one, ImageInputs) or (isinstance(other, ImageInputs) and one.side == other.side)
    return side and all(np.array_equal(a, b) for a, b in zip(one.scale, other.scale, strict=True))


def _joined_data_sets(parts: Sequence[DatasetInputs]) -> DatasetInputs:
    starts = np.cumsum([0, *(len(part.dataset) for part in parts[:-1])])
    rows = np.concatenate([start + part.rows for start, part in zip(starts, parts, strict=True)])
    return DatasetInputs(ConcatDataset([part.dataset for part in parts]), rows)


def _joined_values(parts: Sequence[Values]) -> Values:
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if len(arrays) == len(parts):
        return np.concatenate(arrays)
    stored = [part for part in parts if isinstance(part, AbstractRows)]
    assert len(stored) == len(parts), "one backend holds them all"
    whole = [np.stack([np.full(len(part), place), np.arange(len(part))]) for place, part in enumerate(stored)]
    return JoinedRows(stored, np.concatenate(whole, axis=1))


class JoinedRows(AbstractRows):
    """Rows of several arrays.

    Args:
        parts: of rows of one shape.
        places: int64 (2, n), of each row its part, and its row there.
    """

    def __init__(self, parts: Sequence[AbstractRows], places: NDArray[np.int64]) -> None:
        self._parts = tuple(parts)
        self._places = places
        self.shape = (places.shape[1], *parts[0].shape[1:])
        self.dtype = parts[0].dtype

    @override
    def open(self) -> None:
        for part in self._parts:
            part.open()

    @override
    def __getitem__(self, rows: Rows | slice) -> NDArray[Any]:
        return self._gathered(rows, lambda part, own: part[own])

    @override
    def beside(self, name: str, rows: Rows | slice = slice(None)) -> NDArray[Any]:
        return self._gathered(rows, lambda part, own: part.beside(name, own))

    @override
    def select(self, rows: Rows) -> JoinedRows:
        return JoinedRows(self._parts, self._places[:, rows])

    @override
    def repeat(self, repeats: int, axis: int) -> JoinedRows:
        return JoinedRows([part.repeat(repeats, axis) for part in self._parts], self._places)

    def _gathered(self, rows: Rows | slice, read: Any) -> NDArray[Any]:
        which, own = self._places[:, rows]
        found = [(np.flatnonzero(which == place), part) for place, part in enumerate(self._parts)]
        read_parts = [(where, read(part, own[where])) for where, part in found if len(where) or part is self._parts[0]]
        shape = np.broadcast_shapes(*(some.shape[1:] for _, some in read_parts))  # of what is known of grey images, too
        values = np.empty((len(own), *shape), read_parts[0][1].dtype)
        for where, some in read_parts:
            values[where] = some
        return values
