"""Many runs as one flat table: settings of the whole, and those of the runs around them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from ray_mentor.config.settings import TrainConfig, check_names, names_of, values_of

Own = TypeVar("Own")


def flat(own: Any, train: TrainConfig) -> dict[str, Any]:
    """Every setting under its one name; the inverse of :func:`split`."""
    return {f.name: getattr(own, f.name) for f in dataclasses.fields(own)} | train.flat()


def split(own: type[Own], table: Mapping[str, Any]) -> tuple[Own, TrainConfig]:
    """The settings of the whole and those of its runs, of one flat table; what it lacks keeps its default.

    Raises:
        UserError: an unknown name (with the nearest valid ones), or a value of the wrong type.
    """
    names = names_of(own)
    check_names(table, [*names, *TrainConfig().flat()])
    of_runs = {name: value for name, value in table.items() if name not in names}
    return own(**values_of(own, table)), TrainConfig.from_flat(of_runs)
