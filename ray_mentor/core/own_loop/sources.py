"""Samples by source: tensors or data sets, of which rows are asked for by number."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence, Sized
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import default_collate

from ray_mentor.core.batch import Inputs
from ray_mentor.core.domains.windows import Drawn
from ray_mentor.core.own_loop.meta_set import split
from ray_mentor.errors import UserError

Source = tuple[Tensor, Tensor] | Any
"""(inputs, labels) of all samples, or a data set that gives (inputs, labels) by row and has a length."""


class Rows:
    """One source.

    Raises:
        UserError: no samples, no length, or inputs and labels of different length.
    """

    def __init__(self, name: str, source: Source) -> None:
        self._source = source
        self._is_pair = isinstance(source, tuple) and len(source) == 2 and all(isinstance(s, Tensor) for s in source)
        if self._is_pair and len(source[0]) != len(source[1]):
            raise UserError(
                f"source {name!r} has {len(source[0])} inputs and {len(source[1])} labels, but it must have as many of "
                "both"
            )
        if not self._is_pair and not (isinstance(source, Sized) and hasattr(source, "__getitem__")):
            raise UserError(
                f"source {name!r} is a {type(source).__name__}, but it must be (inputs, labels) tensors, or a data set "
                "that gives (inputs, labels) by row and has a length"
            )
        if len(self) == 0:
            raise UserError(f"source {name!r} has no samples; give some, or leave it out")

    def is_of(self, other: Rows) -> bool:
        """Whether the other has the same samples: is the same data set, or equal tensors."""
        if not (self._is_pair and other._is_pair):
            return self._source is other._source
        return all(
            one is two or (one.shape == two.shape and one.dtype == two.dtype and torch.equal(one, two.to(one.device)))
            for one, two in zip(self._source, other._source, strict=True)
        )

    def __len__(self) -> int:
        return len(self._source[1]) if self._is_pair else len(self._source)

    def __getitem__(self, rows: Int[NDArray[np.int64], " n"]) -> tuple[Inputs, Tensor]:
        if self._is_pair:
            inputs, labels = self._source
            where = torch.from_numpy(rows).to(labels.device)
            return inputs[where.to(inputs.device)], labels[where]
        return split(default_collate([self._source[int(row)] for row in rows]))


def sources_of(given: Mapping[str, Source], what: str) -> dict[str, Rows]:
    """By name, in the order they were given.

    Args:
        what: what they are, for messages.

    Raises:
        UserError: none, or one that is none.
    """
    if not isinstance(given, Mapping) or not given:
        raise UserError(f"{what} is {type(given).__name__}, but it must map names to data, e.g. {{'wiki': wiki}}")
    for name in given:
        if not isinstance(name, str):
            raise UserError(f"{what} has the name {name!r}, but names are text, e.g. {str(name)!r}")
    return {name: Rows(name, source) for name, source in given.items()}


def check_apart(sources: Mapping[str, Rows], targets: Mapping[str, Rows]) -> None:
    """Refuses a source that is there twice, whose share would be two, and a target that is one of the sources: shares
    would go by what is learnt by heart.

    Raises:
        UserError: naming both.
    """
    for (one, rows), (other, again) in itertools.combinations(sources.items(), 2):
        if again.is_of(rows):
            raise UserError(
                f"sources {one!r} and {other!r} have the same samples; leave one of them out: how much a source counts "
                "is said by its share"
            )
    for (name, source), (target, rows) in itertools.product(sources.items(), targets.items()):
        if rows.is_of(source):
            raise UserError(
                f"target {target!r} is source {name!r} as well, whose samples the student learns by heart; give "
                "samples of the target alone"
            )


def fetched(sources: Sequence[Rows], drawn: Drawn) -> tuple[Inputs, Tensor]:
    """A batch of several sources' rows, in the order they were drawn."""
    parts = [(np.flatnonzero(drawn.domains == place), rows) for place, rows in enumerate(sources)]
    some = [(where, rows[drawn.rows[where]]) for where, rows in parts if len(where)]
    back = torch.from_numpy(np.argsort(np.concatenate([where for where, _ in some]), kind="stable"))
    return _joined([inputs for _, (inputs, _) in some], back), _joined([labels for _, (_, labels) in some], back)


def _joined(parts: Sequence[Any], back: Tensor) -> Any:
    if isinstance(parts[0], Tensor):
        return torch.cat([*parts])[back.to(parts[0].device)]
    first = parts[0]
    positional = tuple(_joined(each, back) for each in zip(*(part.positional for part in parts), strict=True))
    named = {name: _joined([part.named[name] for part in parts], back) for name in first.named}
    return type(first)(positional, named)
