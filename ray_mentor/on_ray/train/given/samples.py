"""All of a run's samples, from what the trainer is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np
from torch.utils.data import ConcatDataset, Dataset, TensorDataset

from ray_mentor.config import DataConfig, TrainConfig
from ray_mentor.core.methods.table import mixing_of
from ray_mentor.data.python.given import Given, given
from ray_mentor.data.python.unscaled import note_on_scale
from ray_mentor.data.readers.texts.raw import RawTexts
from ray_mentor.data.samples.dataset_inputs import DatasetInputs
from ray_mentor.data.samples.inputs import AbstractInputs
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.samples.sources.apart import check_apart, notes_on_copies
from ray_mentor.data.samples.sources.joined import joined, joined_targets
from ray_mentor.data.samples.texts.plain import window_bytes
from ray_mentor.data.splits.splits import Splits, tokenised_splits
from ray_mentor.data.splits.trusted.sets import said_of_targets
from ray_mentor.errors import UserError, listed, shown

Data = Samples | Dataset[Any] | Any
"""What :func:`~ray_mentor.data.python.given.given` takes."""


def splits_of(
    data: Data,
    meta: Data | None,
    test: Data | None,
    validation: Data | None,
    readers: int = 0,
    *,
    config: DataConfig = DataConfig(),  # noqa: B008 - frozen
    own_loss: bool = False,
    student: str | None = None,
    target_weights: Mapping[str, float] | None = None,
) -> Splits:
    """All of a run's data, with the training data's classes.

    Args:
        meta: None: no trusted sample. Several targets by name.
        target_weights: of these, by name; None: the same for all.
        readers: processes that read ahead what is a data set.
        config: which column of a table is what, and whether the test split's given labels are the true ones
            (``clean_test``); else it may bring true labels of its own.
        own_loss: whether there is a loss of the user's own, which takes targets that aren't one class, too.
        student: of texts in a table: the name of the student whose tokenizer makes token ids of them.

    Raises:
        UserError: inputs of another type than the training data's; joined to a batch, integers would become floats. Or
            no data set, and there shall be readers.
    """
    first = _training(data, config, targets=own_loss)
    train = first.samples

    def alike(other: Data, name: str) -> Samples:
        try:
            samples = given(other, config, first, targets=own_loss).samples
        except UserError as error:
            raise UserError(f"{name}: {error.written}") from error
        if _kind_of(samples) != _kind_of(train):
            raise UserError(f"{name} has {_kind_of(samples)}, but data {_kind_of(train)}; give targets of one kind")
        if samples.inputs.dtype != train.inputs.dtype:
            raise UserError(
                f"{name} gives inputs of {samples.inputs.dtype}, but data of {train.inputs.dtype}; convert one of them"
            )
        return samples

    tested = None if test is None else alike(test, "test")
    if tested is not None and config.clean_test:
        tested = tested.with_labels(tested.labels, tested.labels)
    if target_weights is not None and not _is_by_name(meta):
        raise UserError("target_weights is given, but meta is one target; give several by name: meta={'qa': ..., ...}")
    notes: tuple[str, ...] = ()
    if meta is None:
        target = train.select(np.arange(0))
    elif _is_by_name(meta):
        target = joined_targets({name: alike(each, f"target {name!r}") for name, each in meta.items()}, target_weights)
        notes = (said_of_targets(target),)
    else:
        target = alike(meta, "meta")
    if train.domains is not None and is_at_hand(train.inputs):
        notes += tuple(notes_on_copies(train))
    splits = Splits(
        train=train,
        validation=None if validation is None else alike(validation, "validation"),
        meta=target,
        test=tested,
        notes=notes,
        features=first.features,
    )
    if train.domains is not None and all(map(is_at_hand, (train.inputs, splits.meta.inputs))):
        check_apart(train, splits.meta, "the target meta")
    if isinstance(train.inputs, RawTexts):
        splits = tokenised_splits(splits, dataclasses.replace(config, data_backend="memory"), student)
    splits = splits.with_groups_alike(config.group_column)
    return splits if readers == 0 else _read_by(splits, readers)


def _training(data: Data, config: DataConfig, *, targets: bool) -> Given:
    """One data set, or several by name as one."""
    if not _is_by_name(data):
        return given(data, config, targets=targets)
    found: dict[str, Given] = {}
    for name, source in data.items():
        if not isinstance(name, str) or not name or "/" in name:
            raise UserError(f"a source is called {name!r}, but names are text without a slash; give it another")
        try:
            found[name] = given(source, config, targets=targets)
        except UserError as error:
            raise UserError(f"source {name!r}: {error.written}") from error
    (first_name, first), *rest = found.items()
    for name, each in rest:
        if each.features != first.features:
            raise UserError(
                f"source {name!r} has the features {listed(each.features)}, but {first_name!r} has "
                f"{listed(first.features)}; name those of all: feature_columns=(...)"
            )
    return Given(joined({name: each.samples for name, each in found.items()}), first.features)


def _is_by_name(data: Any) -> TypeGuard[dict[Any, Any]]:
    """Whether these are several data sets, each under a name of the user's."""
    return type(data) is dict and bool(data) and not set(data) & {*_SPLITS, "inputs", "labels"}


def is_at_hand(inputs: AbstractInputs) -> bool:
    """Whether its content is the same whenever it is read: not so of any data set of the user's own."""
    if not isinstance(inputs, DatasetInputs):
        return True
    parts = inputs.dataset.datasets if isinstance(inputs.dataset, ConcatDataset) else [inputs.dataset]
    return all(isinstance(part, TensorDataset) for part in parts)


def _kind_of(samples: Samples) -> str:
    targets = samples.targets
    return "classes" if targets is None else f"targets of {targets.dtype} and shape {targets.shape[1:]}"


Parts = tuple[Data, Data | None, Data | None, Data | None]


def named_parts(
    data: Data | None,
    meta: Data | None,
    test: Data | None,
    validation: Data | None,
    datasets: Mapping[str, Data] | None,
) -> Parts:
    """Training, trusted, test and validation samples, given one by one or by name.

    Raises:
        UserError: both, a name that is none of theirs, or no training samples.
    """
    one_by_one = {"data": data, "meta": meta, "test": test, "validation": validation}
    if datasets is None:
        if data is None:
            raise UserError("there is no training data; give data, or datasets={'train': ...}")
        return data, meta, test, validation
    twice = [name for name, value in one_by_one.items() if value is not None]
    if twice:
        raise UserError(f"datasets and {twice[0]} are both given, but they say the same; give one of them")
    unknown = [name for name in datasets if name not in _SPLITS]
    if unknown or "train" not in datasets:
        what = f"holds {shown(unknown[0])}" if unknown else "has no 'train'"
        raise UserError(
            f"datasets {what}, but its names are {listed(_SPLITS)}, of which train must be there; mend them"
        )
    return tuple(datasets.get(name) for name in ("train", "meta", "test", "validation"))  # type: ignore[return-value]


WITHOUT_CLASSES = (
    "the targets aren't one class each: no accuracy, no predictions and no suggested labels; the audit ranks samples "
    "by mean loss and mean sample weight"
)


OF_TEXT = (
    "plain text is measured in bits per byte, less is better: no accuracy, no predictions and no suggested labels; the "
    "audit ranks windows by mean loss and mean sample weight"
)


NOT_MIXED = "nothing is mixed: the inputs are token ids or codes, and between two of them lies no third"


def said_of(splits: Splits, config: TrainConfig, *, own_loss: bool) -> list[str]:
    """What a run leaves out, because of what its samples are."""
    of_text = window_bytes(splits.train) is not None
    said = [] if splits.train.targets is None else [OF_TEXT if of_text else WITHOUT_CLASSES]
    if of_text:
        return said
    said += filter(None, [note_on_scale(splits.train.inputs, splits.features)])
    if splits.train.inputs.dtype.is_floating_point or config.curriculum.mixing is not None:
        return said
    mixing = mixing_of(config.curriculum, config.mentor, own_loss=own_loss, floats=True)
    return said if mixing == "none" else [*said, NOT_MIXED]


def check_has_classes(splits: Splits, config: TrainConfig) -> None:
    """Refuses what goes by classes where the targets are none.

    Raises:
        UserError: naming the setting.
    """
    if splits.train.targets is None:
        return
    schedule, mentor = config.curriculum, config.mentor
    asked = {
        "method": schedule.method in ("mentornet-dd", "oracle", "co-teaching", "dividemix"),
        "meta_from": schedule.meta_from != "trusted",
        "mentor": mentor.mentor == "cmw",
        "mentor_features": not {"label", "class_share"}.isdisjoint(mentor.mentor_features),
        "meta_loss": mentor.meta_loss not in (None, "loss"),
    }
    name = next((name for name, needs_classes in asked.items() if needs_classes), None)
    if name is not None:
        raise UserError(
            f"{name} is {shown(config.flat()[name])}, which goes by classes, but the targets aren't one class each "
            f"({_kind_of(splits.train)}); leave it out"
        )


def _read_by(splits: Splits, readers: int) -> Splits:
    if readers < 0:
        raise UserError(f"data_workers is {readers}, but it must be at least 0")
    found = {name: samples for name in _SPLITS if (samples := getattr(splits, name)) is not None}
    read = {
        name: samples.with_inputs(samples.inputs.read_by(1 if name == "meta" else readers))  # it is small
        for name, samples in found.items()
        if isinstance(samples.inputs, DatasetInputs)
    }
    if not read:
        raise UserError(
            f"data_workers is {readers}, but all inputs are arrays, which nobody has to read ahead; leave it out"
        )
    return dataclasses.replace(splits, **read)


_SPLITS = ("train", "validation", "meta", "test")
