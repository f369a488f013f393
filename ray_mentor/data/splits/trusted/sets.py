"""The trusted set of a run: stored beside the data, checked by hand in them, or drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ray_mentor.config import DataConfig
from ray_mentor.data.readers import Raw, read_trusted
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.samples.sources.apart import apart_from_text, check_apart
from ray_mentor.data.samples.sources.joined import joined_targets
from ray_mentor.data.samples.texts.plain import window_bytes
from ray_mentor.data.splits.pool import Pool, balanced, less, note_left_out, some, spared
from ray_mentor.data.splits.trusted.by_id import checked_by_id
from ray_mentor.data.splits.trusted.id_file import read_ids
from ray_mentor.errors import UserError, listed, shown

_SHOWN = 10  # classes that a note names
_NAMED = 5  # samples that a note names


def given_meta(raw: Raw, config: DataConfig, notes: list[str]) -> tuple[Samples | None, Pool, Raw]:
    """What was re-checked, None where nothing was; the training split without it; and the data, as they go with it.

    Before a test split is drawn: it is too dear to be measured on alone.
    """
    if config.meta_data is not None:
        meta, raw = _stored(config, raw, notes)
        pool = Pool.of(raw.train)
        rest = pool.without(meta.inputs.content_hashes())
        left, what = len(pool) - len(rest), "training samples that are in the meta set too"
        note_left_out(left, what, notes, more=_otherwise(pool, meta))
        return meta, rest, raw
    if config.meta_ids is not None:
        others = set(raw.columns) - {*raw.features, config.true_label_column}
        found = read_ids(config.meta_ids, config.id_column, config.label_column, others)
        checked, source = checked_by_id(raw, found, config.meta_ids, notes), config.meta_ids
    elif config.meta_column is not None:
        checked, source = _in_column(raw, config.meta_column, config.data), f"column {config.meta_column}"
    else:
        return None, Pool.of(raw.train), raw
    meta = some(_apart_from_test(checked, raw, notes), "meta set", source)
    notes.append(f"{len(meta)} samples of the training split are the meta set, as {source} says")
    return meta, _without(Pool.of(raw.train), meta, notes), raw


def _stored(config: DataConfig, raw: Raw, notes: list[str]) -> tuple[Samples, Raw]:
    """What ``config.meta_data`` names, one target or several; and the data, as they go with it."""
    found: dict[str, Samples] = {}
    for name, (path, _) in config.targets.items():
        try:
            found[name], raw = _one_stored(replace(config, meta_data=path), raw, notes)
        except UserError as error:
            raise UserError(f"target {name!r}: {error.written}") from error
    if not found:
        return _one_stored(config, raw, notes)
    meta = joined_targets(found, {name: weight for name, (_, weight) in config.targets.items()})
    notes.append(said_of_targets(meta))
    return meta, raw


def said_of_targets(meta: Samples) -> str:
    """What counts for how much."""
    targets = meta.domains
    assert targets is not None
    assert targets.weights is not None
    each = zip(targets.names, targets.weights, targets.sizes, strict=True)
    return "targets: " + ", ".join(f"{name} (weight {weight:.3g}, {size:,} samples)" for name, weight, size in each)


def _one_stored(config: DataConfig, raw: Raw, notes: list[str]) -> tuple[Samples, Raw]:
    stored, raw, told = read_trusted(config, raw)
    notes += told
    trusted = Pool.of(_apart_from_test(stored, raw, notes))
    meta = some(trusted.take(), "meta set", str(config.meta_data))
    what = f"the target {config.meta_data}"
    if window_bytes(meta) is not None:
        meta = apart_from_text(raw.train, meta, what, notes)
    elif raw.train.domains is not None:
        check_apart(raw.train, meta, what)
    return meta, raw


def _in_column(raw: Raw, column: str, source: str) -> Samples:
    if raw.checked is None:
        raise UserError(
            f"meta_column is {shown(column)}, but {source} has no columns; leave it out, and name what was checked "
            "with --meta-ids"
        )
    if not raw.checked.any():
        raise UserError(
            f"meta_column is {shown(column)}, but it is true in none of the {len(raw.checked):,} training rows; say "
            "there which were checked, or name another"
        )
    chosen = with_truth(raw.train.select(np.flatnonzero(raw.checked)))
    return chosen.with_labels(chosen.labels, None)


def drawn_meta(pool: Pool, config: DataConfig, draw: Generator, notes: list[str]) -> tuple[Samples, Pool]:
    """A class-balanced meta set out of the training split, one sample of each content; copies of them are left out."""
    if config.meta_size == 0:
        return pool.samples.select(np.arange(0)), pool
    distinct = pool.distinct()
    if config.meta_size >= len(distinct):
        raise UserError(
            f"meta_size is {config.meta_size}, but the training split has {len(distinct)} different samples, and "
            "some must be left to train on; ask for fewer, or give a meta set of its own with --meta-data"
        )
    trusted = with_truth(pool.samples)
    if config.meta_balance == "groups":
        chosen = distinct[_of_each_group(trusted.select(distinct), config, draw)]
    else:
        chosen = distinct[balanced(trusted.labels[distinct], config.meta_size, draw)]
    meta = trusted.select(chosen)
    rest = _without(pool, meta, notes)
    notes += _on_trust(pool.samples, config)
    return meta, rest


def _of_each_group(samples: Samples, config: DataConfig, draw: Generator) -> Rows:
    """Rows of as many of each group as there are, but of none more than half: the others are trained on.

    Raises:
        UserError: groups that nobody knows, or too few samples.
    """
    if samples.groups is None:
        raise UserError("meta_balance is 'groups', but nobody says which there are; name their column: --group-column")
    half = spared(samples.groups.of, len(samples) // 2, draw)
    if len(half) < config.meta_size:
        raise UserError(
            f"meta_size is {config.meta_size}, but the training split has {len(samples)} different samples, and of "
            "each group half is left to train on; ask for fewer, or give a meta set of its own with --meta-data"
        )
    return half[balanced(samples.groups.of[half], config.meta_size, draw)]


def note_missing_classes(meta: Samples, train: Samples, config: DataConfig, notes: list[str]) -> None:
    """Warns of classes of the training split that a meta set lacks."""
    there, trained = (np.bincount(samples.labels, minlength=len(meta.classes)) > 0 for samples in (meta, train))
    missing = [meta.classes[label] for label in np.flatnonzero(trained & ~there)]
    if missing and len(meta):
        source = config.meta_source
        fix = "raise --meta-size" if source == "meta_size" else f"add them to --{source.replace('_', '-')}"
        names = listed(missing, _SHOWN)
        notes.append(
            f"warning: the meta set of {len(meta)} has no sample of {len(missing)} of {len(meta.classes)} classes "
            f"({names}), so the mentor learns nothing of them; {fix}"
        )


def with_truth(samples: Samples) -> Samples:
    """With the true labels as given ones, where they are known."""
    truth = samples.true_labels
    return samples if truth is None else samples.with_labels(truth, truth)


def _apart_from_test(trusted: Samples, raw: Raw, notes: list[str]) -> Samples:
    if raw.test is None:
        return trusted
    return less(
        Pool.of(trusted), raw.test, "meta samples that are in the test split too", notes, prefix="warning: "
    ).take()


def _without(pool: Pool, meta: Samples, notes: list[str]) -> Pool:
    """The pool without samples of its own, and without copies of them."""
    rest = pool.without(meta.inputs.content_hashes())
    copies, what = len(pool) - len(rest) - len(meta), "training samples that are copies of meta samples"
    note_left_out(copies, what, notes, more=_otherwise(pool, meta, own=meta.ids))
    return rest


def _otherwise(pool: Pool, meta: Samples, own: NDArray[np.int64] | None = None) -> str:
    """What to say of samples that have the content of meta samples, but another label.

    Args:
        own: ids of the meta samples, where they are of this pool.
    """
    content = meta.inputs.content_hashes()
    there: dict[bytes, list[int]] = {}
    for each, label in zip(content.tolist(), meta.labels.tolist(), strict=True):
        there.setdefault(each, []).append(label)
    copies = pool.rows[np.isin(pool.content[pool.rows], content)]
    if own is not None:
        copies = copies[~np.isin(pool.samples.ids[copies], own)]
    samples, classes = pool.samples.select(copies), meta.classes
    labels = zip(samples.labels.tolist(), (there[each] for each in pool.content[copies].tolist()), strict=True)
    other = [
        f"{samples.ids[row] if samples.names is None else samples.names[row]} "
        f"({classes[label]}, there {classes[trusted[0]]})"
        for row, (label, trusted) in enumerate(labels)
        if label not in trusted
    ]
    has = "has" if len(other) == 1 else "have"
    return f"; {len(other)} of them {has} another label there: {listed(other, _NAMED)}" if other else ""


def _on_trust(samples: Samples, config: DataConfig) -> list[str]:
    if samples.true_labels is not None:
        return ["the meta set was drawn from the training split, with its true labels"]
    if samples.targets is not None:
        return [
            "warning: the meta set was drawn from the text itself, and is trusted as it is; --meta-data gives a target "
            "of your own"
        ]
    if config.resolved_noise[0] == "none":
        return [
            "warning: the meta set was drawn from the given labels and is trusted as it is; "
            "--meta-data gives a trusted one of your own, --meta-ids names samples that you checked"
        ]
    return []
