"""Samples of a training split that were checked by hand, found by their ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_mentor.data.readers import Raw
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.splits.trusted.id_file import CheckedIds
from ray_mentor.errors import UserError, listed, shown
from ray_mentor.wording import counted

_SHOWN = 5  # offenders that an error or a note names


def checked_by_id(raw: Raw, checked: CheckedIds, source: str, notes: list[str]) -> Samples:
    """Those of the training split that were checked, in order of their rows, with the labels that they were found to
    have: those of the file, else the true ones where they are known, else the given ones.

    Args:
        source: the file, for messages.

    Raises:
        UserError: ids that no sample has, or labels that are no class.
    """
    rows = rows_of(raw.train, checked.ids)
    held_out = {}
    for name, split in (("test", raw.test), ("validation", raw.validation)):
        if split is not None:
            held_out[name] = (rows < 0) & (rows_of(split, checked.ids) >= 0)
            _note_held_out(held_out[name], checked.ids, name, notes)
    unknown = (rows < 0) & ~np.any([np.zeros(len(rows), bool), *held_out.values()], axis=0)
    _refuse_unknown(unknown, checked.ids, raw.train, source)
    found = rows >= 0
    chosen = raw.train.select(rows[found])
    if checked.labels is None:
        labels = chosen.labels if chosen.true_labels is None else chosen.true_labels
    else:
        names = [label for label, there in zip(checked.labels, found, strict=True) if there]
        labels = _encoded(names, raw.train.classes, source)
        if changed := int((labels != chosen.labels).sum()):
            notes.append(f"{changed} of {len(chosen)} checked samples have another label than the given one")
    if checked.unchecked:
        notes.append(f"left out {checked.unchecked} of meta_ids that have no checked label yet")
    order = np.argsort(rows[found], kind="stable")
    return chosen.with_labels(labels, None).select(order)


def rows_of(samples: Samples, ids: Sequence[str]) -> Rows:
    """The row of each id, as it is written; −1 for one that no sample has."""
    if samples.names is not None:
        rows: Rows = pc.index_in(pa.array(ids, pa.large_string()), samples.names).fill_null(-1).to_numpy()
        return rows.astype(np.int64)
    numbers = [_number(name) for name in ids]
    known = pa.array(numbers, pa.int64())
    found: Rows = pc.index_in(known, pa.array(samples.ids), skip_nulls=True).fill_null(-1).to_numpy()
    return found.astype(np.int64)


def _number(text: str) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return None
    return number if -(2**63) <= number < 2**63 else None


def _note_held_out(there: NDArray[np.bool_], ids: Sequence[str], split: str, notes: list[str]) -> None:
    if there.any():
        named = listed((ids[place] for place in np.flatnonzero(there).tolist()), _SHOWN)
        notes.append(
            f"warning: left out {counted(int(there.sum()), 'id')} of meta_ids that the {split} split has ({named})"
        )


def _refuse_unknown(unknown: NDArray[np.bool_], ids: Sequence[str], samples: Samples, source: str) -> None:
    if not unknown.any():
        return
    named = listed((shown(ids[place]) for place in np.flatnonzero(unknown).tolist()), _SHOWN)
    some = samples.ids[:3].tolist() if samples.names is None else samples.names[:3].to_pylist()
    raise UserError(
        f"meta_ids {shown(source)}: no sample has the id {named} ({unknown.sum()} of {len(ids)} such); ids of these "
        f"data are like {listed(map(str, some))}; mend them, or name the column that has them with --id-column"
    )


def _encoded(labels: Sequence[str], classes: tuple[str, ...], source: str) -> NDArray[np.int64]:
    """The class of each label: by name; of classes that are no numbers, also by number."""
    places = {name: place for place, name in reversed([*enumerate(classes)])}
    by_number = not any(_number(name) is not None for name in classes)
    distinct = {label: _class(label, places, by_number=by_number) for label in dict.fromkeys(labels)}
    unknown = [label for label, place in distinct.items() if place is None]
    if unknown:
        near = {name.strip().casefold(): name for name in classes}
        meant = [name for label in unknown if (name := near.get(label.strip().casefold())) is not None]
        hint = f"; is {shown(meant[0])} meant" if meant else ""
        raise UserError(
            f"meta_ids {shown(source)}: {listed(map(shown, unknown), _SHOWN)} {'is' if len(unknown) == 1 else 'are'} "
            f"none of the {len(classes)} classes ({listed(classes, 12)}){hint}; mend it, or leave the label empty"
        )
    return np.array([distinct[label] for label in labels], np.int64)


def _class(label: str, places: dict[str, int], *, by_number: bool) -> int | None:
    """A spreadsheet or pandas writes 3 as 3.0 in a column that is partly empty."""
    plain = label.strip()
    whole = plain.removesuffix(".0")
    for name in (label, plain, whole):
        if name in places:
            return places[name]
    number = _number(whole) if by_number else None
    return number if number is not None and 0 <= number < len(places) else None
