"""A target that holds nothing of the pool: of what a student learns by heart nothing is learnt."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa

from ray_mentor.data.samples.inputs import AbstractArrayInputs
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.samples.texts.overlap import places_in
from ray_mentor.errors import UserError, listed
from ray_mentor.wording import counted

MOST_SHARED = 0.05
"""Share of a text's windows, such as licences and rules of dashes, up to which it is left out of a target; and of the
samples of a source, up to which nothing is said of their being in another one, too."""


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


def notes_on_copies(pool: Samples) -> list[str]:
    """Says which sources have samples of one another, by content and given label; refuses those that are the same.

    Of sources that hardly differ from sample to sample, such as tables of a few codes, nothing is said but that.

    Raises:
        UserError: naming two sources that have the same samples.
    """
    domains = pool.domains
    assert domains is not None
    _, content = np.unique(pool.inputs.content_hashes(), return_inverse=True)
    keys = content.reshape(-1) * (len(pool.classes) + 1)
    keys += pool.labels if pool.targets is None else 0
    own = [np.sort(keys[rows]) for rows in domains.rows]
    distinct = [np.unique(each) for each in own]
    in_several = np.flatnonzero(np.bincount(np.concatenate(distinct)) > 1)
    shared = [each[np.isin(each, in_several)] for each in distinct]
    notes = []
    for one, other in itertools.combinations(range(len(own)), 2):
        names = domains.names[one], domains.names[other]
        if np.array_equal(own[one], own[other]):
            raise UserError(
                f"sources {names[0]!r} and {names[1]!r} have the same {counted(len(own[one]), 'sample')}; leave one "
                "of them out: how much a source counts is said by its share"
            )
        few, many = sorted((one, other), key=lambda place: len(own[place]))
        common = len(np.intersect1d(shared[one], shared[other], assume_unique=True))
        differs = all(len(distinct[place]) > _DIFFERENT * len(own[place]) for place in (one, other))
        if differs and common > MOST_SHARED * len(own[few]):
            notes.append(
                f"warning: {common} of the {counted(len(own[few]), 'sample')} of source {domains.names[few]!r} are in "
                f"{domains.names[many]!r} as well, and count in the shares of both"
            )
    return notes


_DIFFERENT = 0.9  # share of a source's samples that are no copies of one another


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
