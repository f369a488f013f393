"""Samples to be checked by hand, for a trusted set: the classes in balance, and otherwise like the data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.random import Generator

from ray_mentor.config import DataConfig
from ray_mentor.data.readers import Raw, read
from ray_mentor.data.readers.tables.images import NAMED, left_out, none_whole
from ray_mentor.data.readers.tables.unread import UnreadImages
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.samples import NO_CLASSES, Samples
from ray_mentor.data.samples.texts.inputs import AbstractTexts
from ray_mentor.data.splits.pool import Pool, balanced, in_turns, less
from ray_mentor.data.splits.trusted.id_file import CHECKED, ID
from ray_mentor.errors import UserError
from ray_mentor.run.audit.audit import Audit
from ray_mentor.run.audit.files import with_texts
from ray_mentor.run.findings.names import told_apart

_PICKED = 309  # keeps the stream of a seed apart


def picked_of_data(config: DataConfig, count: int, seed: int) -> tuple[pa.Table, tuple[str, ...]]:
    """``count`` samples of a training split, each given class as often as can be, at random; one of each content, but
    images are not looked at, unless broken ones are skipped: then those that are drawn are.

    Returns:
        ``sample_id``, ``given_label`` (the name of the class), ``checked_label`` (empty), by id; of texts ``text``, of
        images that are listed without ids ``path``. And what the user should be told was left out.

    Raises:
        UserError: data that can't be read, or fewer different samples.
    """
    raw = read(config, images=False)
    samples, rows = raw.train, _free(raw)
    _check_labels(samples.classes)
    told = tuple(note for note in raw.notes if note.startswith("left out"))
    _check(count, len(rows), f"the training split of {config.data} has")
    ranked = samples.select(rows[in_turns(samples.labels[rows], np.random.default_rng([seed, _PICKED]))])
    chosen, broken = _first_whole(ranked, count, config)
    told += broken
    names = pa.array(told_apart(chosen.classes), pa.string())
    table = _to_fill_in(_ids(chosen), names.take(pa.array(chosen.labels)))
    places = pc.index_in(table[ID].cast(_ids(chosen).type), _ids(chosen)).to_numpy()
    if isinstance(chosen.inputs, UnreadImages) and chosen.names is None:
        paths = chosen.inputs.select(places).paths()
        return table if paths is None else table.append_column("path", pa.array(paths, pa.string())), told
    if not isinstance(chosen.inputs, AbstractTexts):
        return table, told
    return with_texts(table, chosen.inputs.texts(places)), told


def _check_labels(classes: Sequence[str]) -> None:
    if tuple(classes) == NO_CLASSES:
        raise UserError(
            "samples are picked so that their labels are checked, but these have no class each, as plain text and "
            "amounts have none; give a --meta-data of your own"
        )


def _first_whole(ranked: Samples, count: int, config: DataConfig) -> tuple[Samples, tuple[str, ...]]:
    """The first of them; where broken images are skipped, the next of its class in the place of each such.

    Returns:
        They; and what was left out.

    Raises:
        UserError: fewer are whole.
    """
    places: list[str] = []
    whole: set[int] = set()
    while config.skip_broken and isinstance(ranked.inputs, UnreadImages):
        numbers = ranked.inputs.numbers[:count].tolist()
        new = np.array([row for row, number in enumerate(numbers) if number not in whole], np.int64)
        looked_at = ranked.inputs.select(new)
        broken = np.array(looked_at.are_broken(), bool)
        whole.update(looked_at.numbers.tolist())
        if not broken.any():
            break
        places += looked_at.select(np.flatnonzero(broken)).places()
        rest = np.setdiff1d(np.arange(len(ranked)), new[broken])
        if not len(rest):
            raise none_whole()
        turn = np.empty(len(rest), np.int64)
        for label in np.unique(ranked.labels[rest]):
            own = ranked.labels[rest] == label
            turn[own] = np.arange(own.sum())
        ranked = ranked.select(rest[np.argsort(turn, kind="stable")])
    _check(count, len(ranked), f"the training split of {config.data} has, without broken images,")
    told = (left_out(places[:NAMED], len(places)),) if places else ()
    return ranked.select(np.arange(count)), told


def picked_of_run(audit: Audit, count: int, seed: int) -> pa.Table:
    """``count`` of a run's training samples, each class as often as can be, by the label that the run suggests.

    Of each class they are spread evenly over the audit's score: its samples, in order of their scores, are cut into as
    many parts of one size as there shall be samples, and one is drawn of each. So surely wrong labels, surely right
    ones and doubtful ones are there as often as in the data. A set of those alone whose check would tell most makes a
    worse trusted set, since it is unlike the data that a mentor learns for (LOG.md, 2026-11-30).

    Returns:
        ``sample_id``, ``given_label``, ``checked_label`` (empty), ``suggested_label``, ``score``, by id.

    Raises:
        UserError: fewer samples.
    """
    table = audit.table
    _check_labels(audit.classes)
    _check(count, len(table), "the run was trained on")
    draw = np.random.default_rng([seed, _PICKED])
    given, suggested = (table[name].cast(pa.string()) for name in ("given_label", "suggested_label"))
    likely = pc.coalesce(suggested, given).combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    wanted = np.bincount(likely[balanced(likely, count, draw)], minlength=int(likely.max()) + 1)
    scores = table["score"].to_numpy()
    classes = (np.flatnonzero(likely == label) for label in range(len(wanted)))
    rows = [_spread(rows[np.argsort(scores[rows], kind="stable")], wanted[n], draw) for n, rows in enumerate(classes)]
    chosen = table.take(pa.array(np.concatenate(rows)))
    more = {name: chosen[name] for name in ("suggested_label", "score")}
    return _to_fill_in(chosen["sample_id"], chosen["given_label"], **more)


def _spread(rows: Rows, count: int, draw: Generator) -> Rows:
    """One of each of ``count`` parts of the rows, whose sizes differ by at most 1."""
    parts = np.array_split(rows, count) if count else []
    return np.array([draw.choice(part) for part in parts], np.int64)


def _free(raw: Raw) -> Rows:
    """One training row of each content that the test split has not."""
    pool = Pool.of(raw.train)
    return (pool if raw.test is None else less(pool, raw.test, "", [])).distinct()


def _check(count: int, there: int, what: str) -> None:
    if not 1 <= count < there:
        raise UserError(
            f"count is {count}, but {what} {there} different samples, and some must be left to train on; ask for 1 to "
            f"{there - 1}"
        )


def _ids(samples: Samples) -> pa.Array:
    return pa.array(samples.ids) if samples.names is None else samples.names


def _to_fill_in(ids: pa.Array | pa.ChunkedArray, given: pa.Array, **more: pa.ChunkedArray) -> pa.Table:
    columns = {ID: ids, "given_label": given.cast(pa.string()), CHECKED: pa.nulls(len(ids), pa.string()), **more}
    table = pa.table(columns)
    plain = table[ID].cast(table[ID].type.value_type) if pa.types.is_dictionary(table[ID].type) else table[ID]
    return table.take(pc.sort_indices(plain))
