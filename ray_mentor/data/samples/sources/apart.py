"""A target that holds nothing of the pool: of what a student learns by heart nothing is learnt."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ray_mentor.data.samples.inputs import AbstractArrayInputs
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.samples.texts.overlap import places_in
from ray_mentor.errors import UserError, listed
from ray_mentor.wording import counted

MOST_SHARED = 0.05
"""Share of a text's windows, such as licences and rules of dashes, up to which it is left out of a target."""


def check_apart(pool: Samples, target: Samples, what: str) -> None:
    """Refuses a target of which some samples are in the sources, too.

    Args:
        what: the target is, for the message.

    Raises:
        UserError: naming sources and samples.
    """
    inside = np.flatnonzero(np.isin(pool.inputs.content_hashes(), target.inputs.content_hashes()))
    if len(inside):
        raise _inside(f"{len(inside)} samples of {_sources(pool, inside)} are in {what} as well", pool, inside)


def apart_from_text(pool: Samples, target: Samples, what: str, notes: list[str]) -> Samples:
    """The target without windows that stand in the pool's text, at whatever byte they begin there.

    Args:
        pool: windows of plain text, all of it, in order.

    Raises:
        UserError: more than :data:`MOST_SHARED` of them do, naming sources and windows.
    """
    assert isinstance(pool.inputs, AbstractArrayInputs)
    assert isinstance(target.inputs, AbstractArrayInputs)
    text = np.ascontiguousarray(pool.inputs.values[:]).reshape(-1)
    places = places_in(text, target.inputs.values[:])
    found = np.flatnonzero(places >= 0)
    if len(found) > MOST_SHARED * len(target):
        inside = np.unique(places[found] // pool.inputs.shape[0])
        says = f"{len(found)} of the {len(target)} windows of {what} stand in {_sources(pool, inside)} as well"
        raise _inside(says, pool, inside)
    if len(found):
        notes.append(f"left out {counted(len(found), 'window')} of {what} that the sources have as well")
    return target.select(np.flatnonzero(places < 0))


def _sources(pool: Samples, inside: Rows) -> str:
    if pool.domains is None:
        return "the training text"
    return listed(pool.domains.names[place] for place in np.unique(pool.domains.of[inside]))


def _inside(says: str, pool: Samples, inside: Rows) -> UserError:
    names = inside.tolist() if pool.names is None else pool.names.take(pa.array(inside)).to_pylist()
    return UserError(
        f"{says} ({listed(map(str, names), 5)}), but what the student learns by heart says nothing of what helps; "
        "leave them out of one of the two"
    )
