"""What an audit knows of each sample: a number each, of the sums over a run's epochs."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_mentor.run.audit.by_trusted import MOST_CLASSES, Heard
from ray_mentor.run.audit.sums import UNKNOWN, Span, Sums, sums
from ray_mentor.run.directory import RunDirectory


def columns_of(directory: RunDirectory, span: Span, burn_in: int) -> tuple[dict[str, NDArray[Any]], Heard | None]:
    """Of all samples, a number each, NaN or −1 where it is not known; and what was said of them together."""
    parts: list[dict[str, NDArray[Any]]] = []
    heard: list[Heard] = []
    for found in sums(directory, span, burn_in):
        parts.append(_means(found))
        heard += [Heard.of(found)] if 1 < span.classes <= MOST_CLASSES else []
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return columns, functools.reduce(operator.add, heard) if heard else None


def _means(found: Sums) -> dict[str, NDArray[Any]]:
    said = found.votes.sum(axis=1) if found.votes.shape[1] else np.zeros(len(found.ids), np.int64)
    suggested = found.votes.argmax(axis=1) if found.votes.shape[1] else np.zeros(len(found.ids), np.int64)
    most = found.votes.max(axis=1, initial=0)
    at_given = np.take_along_axis(found.votes, np.maximum(found.given, 0)[:, None], axis=1)[:, 0]
    suggested = np.where(at_given == most, found.given, suggested)  # of two that are level the given one
    of = found.of
    return {
        "id": found.ids,
        "given": found.given,
        "true": found.true,
        "suggested": np.where(said > 0, suggested, UNKNOWN),
        "suggested_share": _ratio(most, said),
        "mean_sample_weight": _ratio(of["weight"], of["rows"]),
        "wrong_share": _ratio(of["wrong"], of["wrong"] + of["right"]),
        "mean_margin": _ratio(of["margin"], of["margins"]),
        "mean_influence": _ratio(of["influence"], of["influences"]),
        "loss_early": _ratio(of["loss_early"], of["early"]),
        "loss_late": _ratio(of["loss_late"], of["late"]),
    }


def _ratio(total: NDArray[Any], count: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: NDArray[np.float32] = (total / count).astype(np.float32)
    return ratio


def or_null(values: NDArray[np.float32]) -> pa.Array:
    """Numbers, null where they are NaN."""
    return pa.array(values, mask=np.isnan(values))


def named(labels: NDArray[np.int64], classes: Sequence[str]) -> pa.DictionaryArray:
    """Class names for labels, null where one is below 0."""
    codes = pa.array(labels.astype(np.int32), mask=labels < 0)
    return pa.DictionaryArray.from_arrays(codes, pa.array(classes, pa.string()))


def plain(table: pa.Table) -> pa.Table:
    """The same with strings for dictionaries of them, as files have it."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            values = pc.cast(table[field.name], field.type.value_type)
            table = table.set_column(place, field.name, values)
    return table
