"""From stored data to the splits of a run: disjoint by sample and by content, for any seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator

from ray_mentor.config import DataConfig
from ray_mentor.data.readers import CLEAN, Raw, read
from ray_mentor.data.readers.texts.tokenised import tokenised
from ray_mentor.data.samples.inputs import AbstractArrayInputs, Scale
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.samples.sources.domains import in_one_order
from ray_mentor.data.splits.confusable import is_known
from ray_mentor.data.splits.long_tail import long_tailed
from ray_mentor.data.splits.noise import add_noise
from ray_mentor.data.splits.pool import Pool, less, proportional, some
from ray_mentor.data.splits.trusted.sets import drawn_meta, given_meta, note_missing_classes, with_truth
from ray_mentor.data.storage.spread import Spread, in_threads
from ray_mentor.data.storage.stored import held
from ray_mentor.errors import UserError

_TEST, _META, _VALIDATION, _TRAIN_SIZE, _TEST_SIZE = range(301, 306)  # keep the streams of one seed apart
_LONG_TAIL = 312
_TRAIN_NOISE, _VALIDATION_NOISE = 0, 1


@dataclass(frozen=True, eq=False)
class Splits:
    """The data of a run; no two splits share a sample's content.

    Attributes:
        train: what the student learns from, with its noise.
        validation: held out with its noise, to select an epoch; None if nothing was held out.
        meta: the small trusted set; of no samples where there is none.
        test: its true labels where they are known, as given and as true ones; else its given labels, without true ones,
            and what they show is no accuracy. None where a caller has none.
        notes: what the user should be told; those that begin with "warning:" before anything runs.
        understood: what was read, in a line; empty of data that is known by its name.
        features: names of the features, in order; none where the inputs are no features of a table.
    """

    train: Samples
    validation: Samples | None
    meta: Samples
    test: Samples | None
    notes: tuple[str, ...]
    understood: str = ""
    features: tuple[str, ...] = ()

    def open(self) -> None:
        """Gets what this machine lacks to read them."""
        for samples in (self.train, self.validation, self.meta, self.test):
            if samples is not None:
                samples.inputs.open()

    def with_groups_alike(self, column: str | None) -> Splits:
        """The same, whose groups have one order of names in all of them.

        Args:
            column: that was named for them.

        Raises:
            UserError: one was, but the data have none.
        """
        if column is not None and self.train.groups is None:
            raise UserError(
                f"group_column is {column!r}, but the data have no columns; give a table, or Samples with their groups"
            )
        parts = {name: getattr(self, name) for name in ("train", "validation", "meta", "test")}
        found = in_one_order([None if samples is None else samples.groups for samples in parts.values()])
        made: dict[str, Any] = {
            name: None if samples is None else replace(samples, groups=groups)
            for (name, samples), groups in zip(parts.items(), found, strict=True)
        }
        return replace(self, **made)


def prepare(config: DataConfig, seed: int, spread: Spread = in_threads, student: str | None = None) -> Splits:
    """Reads, splits, scales and adds noise; the same config and seed give the same splits.

    Args:
        student: whose tokenizer makes token ids of texts; None: they stay as they are stored, and can be shown alone.
        spread: reads inputs that stay where they are stored once, for splits and scale.

    Raises:
        UserError: whatever is wrong with the data, or too little of it for the splits asked for.
    """
    _check_noise(config)
    raw = read(config, spread)
    notes = list(raw.notes)
    meta, pool, raw = given_meta(raw, config, notes)
    test, pool = _test(raw, pool, config, seed, notes)
    validation, pool = _stored_validation(raw, pool, [test, meta], config, notes)
    if meta is None:
        meta, pool = drawn_meta(pool, config, _draw(seed, _META), notes)
    if validation is None:
        validation, pool = _drawn_validation(pool, config, seed, notes)
    train = some(pool.take(), "training split", config.data)
    train, validation = long_tailed(train, validation, config, _draw(seed, _LONG_TAIL), notes)
    note_missing_classes(meta, train, config, notes)
    if raw.fit_scale and isinstance(train.inputs, AbstractArrayInputs):
        train, validation, meta, test = _scaled(train, validation, meta, test)
    train, validation = _noisy(train, validation, config, seed, notes)
    train = _at_most(train, config.train_size, _draw(seed, _TRAIN_SIZE))
    test = _at_most(test, config.test_size, _draw(seed, _TEST_SIZE))
    validation = None if validation is None else held(validation)
    splits = Splits(train, validation, held(meta), held(test), tuple(notes), raw.understood, raw.features)
    splits = splits.with_groups_alike(config.group_column)
    return splits if student is None or config.text_column is None else tokenised_splits(splits, config, student)


def tokenised_splits(splits: Splits, config: DataConfig, student: str | None) -> Splits:
    """The same with texts as token ids, by the tokenizer of a student.

    Raises:
        UserError: it has none, or texts that can't be used.
    """
    parts = {name: getattr(splits, name) for name in ("train", "validation", "meta", "test")}
    found, notes = tokenised(list(parts.values()), config, student)
    made: dict[str, Any] = dict(zip(parts, found, strict=True))
    return replace(splits, **made, notes=(*splits.notes, *notes))


def _check_noise(config: DataConfig) -> None:
    if config.data_backend == "ray" and config.resolved_noise[0] == "instance":
        raise UserError(
            f"noise is {config.noise!r}, which depends on the inputs of all samples together, but data_backend ray "
            "holds a window of them at a time; write the noise into the data, or give --data-backend memory or arrow"
        )
    if config.text_column is not None and config.resolved_noise[0] == "instance":
        raise UserError(
            f"noise is {config.noise!r}, which depends on the numbers of an input, but texts have none; give "
            "--noise symmetric:R"
        )


def _draw(seed: int, purpose: int) -> Generator:
    return np.random.default_rng([seed, purpose])


def _test(raw: Raw, pool: Pool, config: DataConfig, seed: int, notes: list[str]) -> tuple[Samples, Pool]:
    if raw.test is not None:
        test = raw.test
        pool = less(pool, test, "training samples that are in the test split too", notes)
    elif config.clean_test:
        raise UserError(
            f"clean_test is set, but there is no test split in {config.data}: the one that is drawn is as clean as the "
            "training samples; give a stored one, or trusted samples (--meta-data, --meta-ids), and leave --clean-test "
            "out"
        )
    else:
        test, pool = _hold_out(pool, config.test_share, _draw(seed, _TEST))
        notes.append(
            f"no test split in {config.data}: {len(test)} of {len(raw.train)} samples were held out as one "
            f"(test_share {config.test_share:g}), each class with its share"
        )
    if test.targets is not None:
        return test, pool
    if test.true_labels is not None:
        notes.append("the test split is measured against its true labels")
        return with_truth(test), pool
    if config.clean_test or config.data in CLEAN or config.resolved_noise[0] != "none":
        return test.with_labels(test.labels, test.labels), pool
    fix = "" if raw.test is None else "; if they were re-checked, say so: --clean-test"
    notes.append(
        "the test split has given labels, of which some may be wrong, so no test accuracy is shown but agreement with "
        f"them, and accuracy on held-out trusted samples{fix}"
    )
    return test, pool


def _stored_validation(
    raw: Raw, pool: Pool, others: list[Samples | None], config: DataConfig, notes: list[str]
) -> tuple[Samples | None, Pool]:
    if raw.validation is None:
        return None, pool
    if config.validation_share == 0.0:
        notes.append("the stored validation split is not used, because validation_share is 0")
        return None, pool
    stored = Pool.of(raw.validation)
    for other in filter(None, others):
        stored = less(stored, other, "validation samples that are in the test split or meta set too", notes)
    notes.append("the stored validation split is used, whatever validation_share says")
    validation = some(stored.take(), "validation split", config.data)
    return validation, less(pool, validation, "training samples that are in the validation split too", notes)


def _drawn_validation(pool: Pool, config: DataConfig, seed: int, notes: list[str]) -> tuple[Samples | None, Pool]:
    if round(config.validation_share * len(pool)) == 0 or pool.samples.targets is not None:
        return None, pool  # of what are no labels there is no agreement to show
    validation, pool = _hold_out(pool, config.validation_share, _draw(seed, _VALIDATION))
    if config.data not in CLEAN:
        notes.append(
            f"{len(validation)} more were held out as validation split (validation_share {config.validation_share:g}); "
            "no audit looks at what is held out"
        )
    return validation, pool


def _hold_out(pool: Pool, share: float, draw: Generator) -> tuple[Samples, Pool]:
    """A share of the pool, each class with its share; copies go where the first of them goes."""
    distinct = pool.distinct()
    count = min(max(1, round(share * len(distinct))), len(distinct) - 1)
    if count < 1:
        raise UserError(f"a share of {share:g} can't be held out of {len(distinct)} different samples; give more data")
    chosen = pool.whole(distinct[proportional(pool.samples.labels[distinct], count, draw)])
    return pool.samples.select(chosen), pool.without(pool.content[chosen])


def _scaled(
    train: Samples, validation: Samples | None, meta: Samples, test: Samples
) -> tuple[Samples, Samples | None, Samples, Samples]:
    """All splits scaled by what the training split alone shows."""
    scale = _arrays(train).statistics()
    held_out = None if validation is None else _scale(validation, scale)
    return _scale(train, scale), held_out, _scale(meta, scale), _scale(test, scale)


def _scale(samples: Samples, scale: Scale) -> Samples:
    return samples.with_inputs(_arrays(samples).scaled(scale))


def _arrays(samples: Samples) -> AbstractArrayInputs:
    assert isinstance(samples.inputs, AbstractArrayInputs)
    return samples.inputs


def _noisy(
    train: Samples, validation: Samples | None, config: DataConfig, seed: int, notes: list[str]
) -> tuple[Samples, Samples | None]:
    kind, rate = config.resolved_noise
    if kind == "asymmetric" and not is_known(train.classes):
        notes.append("asymmetric noise: no known map for these class names, so class c becomes c + 1")
    held_out = None if validation is None else add_noise(validation, kind, rate, seed, _VALIDATION_NOISE)
    return add_noise(train, kind, rate, seed, _TRAIN_NOISE), held_out


def _at_most(samples: Samples, size: int | None, draw: Generator) -> Samples:
    if size is None or size >= len(samples):
        return samples
    return samples.select(np.sort(draw.choice(len(samples), size, replace=False)))
