"""Which settings of columns hold for a data set: the user's, the format's own, or what the names of columns say."""

from __future__ import annotations

import dataclasses
from typing import Any

import pyarrow as pa

from ray_mentor.config import DataConfig
from ray_mentor.data.readers.formats.hugging_face import ArrowPart
from ray_mentor.data.readers.formats.pictures import named_beside_bytes, with_pictures
from ray_mentor.data.readers.formats.splits import SplitParts
from ray_mentor.data.readers.formats.text import JsonPart, TextPart, names_as_written
from ray_mentor.data.readers.tables.columns import ID_NAME
from ray_mentor.errors import UserError, listed

_OWN = (
    "image_column",
    "text_column",
    "feature_columns",
    "ignore_columns",
    "keep_columns",
    "id_column",
    "true_label_column",
    "meta_column",
    "group_column",
)
LABELS = {"label", "labels", "class", "classes", "target", "targets", "category", "y"}
"""What a column of labels is usually called, in lower case."""


def with_roles(found: SplitParts, config: DataConfig, *, labelled: bool = True) -> tuple[SplitParts, DataConfig]:
    """The parts, with the images that they name, and the settings by which their columns are found.

    Args:
        labelled: whether labels are needed.

    Raises:
        UserError: a setting of columns where the format knows its own; more than one column that could be the label;
            images that are not there.
    """
    if found.roles is not None:
        given = [name for name in ("label_column", *_OWN) if getattr(config, name) != getattr(DataConfig, name)]
        if given:
            raise UserError(
                f"{given[0]} is {getattr(config, given[0])!r}, but {config.data} is {found.what}, which has no columns "
                "to choose from; leave it out"
            )
        if labelled and "label_column" not in found.roles:
            raise UserError(
                f"{config.data} is {found.what}, without labels; store them with the inputs, as `labels`, `y`, ..."
            )
        settings: dict[str, Any] = dict(found.roles)
        return found, dataclasses.replace(config, **settings)
    schema = found.train[0].schema()
    config = dataclasses.replace(config, label_column=_label(schema, config, str(found.train[0])))
    named = config.label_column, config.true_label_column, config.group_column
    found = names_as_written(found, [*named, *id_columns(config)])
    if config.text_column is not None:
        return found, config
    if config.label_column not in found.train[0].schema().names:
        return found, config  # which is said, of the columns that there are, before any image is looked for
    if isinstance(found.train[0], TextPart | JsonPart):
        return with_pictures(found, config)
    if isinstance(found.train[0], ArrowPart) and found.train[0].cached:
        return named_beside_bytes(found, config)
    return found, config


def id_columns(config: DataConfig) -> tuple[str, ...]:
    """What a column of sample ids may be called."""
    return (ID_NAME,) if config.id_column is None else (config.id_column, ID_NAME)


def as_for_training(config: DataConfig, features: tuple[str, ...]) -> DataConfig:
    """The settings of columns for a meta set of its own: those of the training data, whose features it has."""
    config = dataclasses.replace(config, true_label_column=None)
    if not features:
        return config
    return dataclasses.replace(config, feature_columns=features, ignore_columns=(), keep_columns=())


def without_missing(config: DataConfig, schema: pa.Schema) -> DataConfig:
    """The settings without columns that a meta set may lack."""
    lacks: dict[str, Any] = {
        name: None for name in ("id_column", "group_column") if getattr(config, name) not in schema.names
    }
    return dataclasses.replace(config, **lacks)


def without_columns(config: DataConfig) -> DataConfig:
    """The settings where the format knows its own columns."""
    kept = {name: getattr(DataConfig, name) for name in ("label_column", *_OWN)}
    return dataclasses.replace(config, **kept)


def _label(schema: pa.Schema, config: DataConfig, file: str) -> str:
    name = config.label_column
    if name != DataConfig.label_column or name in schema.names:
        return name
    used = {config.id_column, config.true_label_column, config.image_column, config.text_column, config.group_column}
    used.update(config.feature_columns)
    lower = {each.lower() for each in schema.names}
    could = [
        each
        for each in schema.names
        if each.lower() in LABELS and each not in used and not (each.lower() == "y" and "x" in lower)
    ]
    if len(could) > 1:
        raise UserError(
            f"{file} has no column {name!r}, but {listed(map(repr, could))}, each of which could be the label; say "
            f"which is with --label-column, and what the other is (--ignore-columns, --true-label-column)"
        )
    return could[0] if could else name
