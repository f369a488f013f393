"""Several named sources, read as one data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ray_mentor.config import DataConfig
from ray_mentor.data.readers.raw import Raw
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.samples.sources.apart import notes_on_copies
from ray_mentor.data.samples.sources.joined import joined
from ray_mentor.errors import UserError, listed

STREAMED = (
    "data_backend is 'ray', which streams samples in an order that is known before training, but how much of each "
    "source comes next is decided meanwhile; give --data-backend memory or arrow"
)


def read_sources(config: DataConfig, read: Callable[[DataConfig], Raw]) -> Raw:
    """What ``config.data`` names, source by source, one behind the other.

    Args:
        read: reads one.

    Raises:
        UserError: a backend that streams, or sources that don't go with one another, naming the source.
    """
    if config.data_backend == "ray":
        raise UserError(STREAMED)
    raws: dict[str, Raw] = {}
    for name, data in config.sources.items():
        try:
            raws[name] = read(dataclasses.replace(config, data=data))
        except UserError as error:
            raise UserError(f"source {name!r}: {error.written}") from error
    (first_name, first), *rest = raws.items()
    for name, raw in rest:
        if raw.features != first.features:
            raise UserError(
                f"source {name!r} has the features {listed(raw.features)}, but {first_name!r} has "
                f"{listed(first.features)}; name those of all with --feature-columns"
            )
        if raw.fit_scale != first.fit_scale:
            raise UserError(f"source {name!r} is stored in another way than {first_name!r}; store all sources alike")
    train = joined({name: raw.train for name, raw in raws.items()})
    return Raw(
        train,
        _beside(raws, lambda raw: raw.test, train),
        _beside(raws, lambda raw: raw.validation, train),
        fit_scale=first.fit_scale,
        features=first.features,
        columns=tuple(dict.fromkeys(column for raw in raws.values() for column in raw.columns)),
        notes=(*(f"{name}: {note}" for name, raw in raws.items() for note in raw.notes), *notes_on_copies(train)),
        checked=_checked(list(raws.values())),
        understood="; ".join(f"{name}: {raw.understood}" for name, raw in raws.items() if raw.understood),
    )


def _beside(raws: Mapping[str, Raw], split: Callable[[Raw], Samples | None], train: Samples) -> Samples | None:
    """The splits of those sources that have one, with the classes and source numbers of all."""
    found = {name: samples for name, raw in raws.items() if (samples := split(raw)) is not None}
    return joined(found, like=train) if found else None


def _checked(raws: list[Raw]) -> NDArray[np.bool_] | None:
    if all(raw.checked is None for raw in raws):
        return None
    return np.concatenate([np.zeros(len(raw.train), bool) if raw.checked is None else raw.checked for raw in raws])
