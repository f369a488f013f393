"""Texts of a run's splits as token ids, by the tokenizer of its student."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ray_mentor.config import DataConfig
from ray_mentor.data.readers.tables.table import Table
from ray_mentor.data.readers.texts.mapped import MappedRagged, tokenised_parts
from ray_mentor.data.readers.texts.raw import RawTexts
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.samples.texts.inputs import TextInputs
from ray_mentor.data.samples.texts.ragged import AbstractRagged, Ragged
from ray_mentor.data.samples.texts.tokens import Tokens


def tokenised(
    splits: Sequence[Samples | None], config: DataConfig, student: str | None
) -> tuple[list[Samples | None], list[str]]:
    """The same samples with their texts as token ids, each table's once; and what the user should be told.

    Args:
        splits: of texts as they are stored.
        student: whose tokenizer it is.

    Raises:
        UserError: a student without a tokenizer; texts that can't be used.
    """
    tokens = Tokens.of(student, config.max_tokens)
    inputs = [samples.inputs for samples in splits if samples is not None]
    raw = [each for each in inputs if isinstance(each, RawTexts)]
    tables = {id(each.table): each for each in raw}
    made = {place: _ids(each.table, each.column, tokens, config) for place, each in tables.items()}
    lengths = {place: ids.open().lengths() for place, (ids, _) in made.items()}
    used = np.concatenate([lengths[id(each.table)][each.rows] for each in raw])
    longest, mean = int(used.max()), float(used.mean())
    found: list[Samples | None] = []
    for samples in splits:
        each = None if samples is None else samples.inputs
        if samples is not None and isinstance(each, RawTexts):
            ids = made[id(each.table)][0]
            samples = samples.with_inputs(TextInputs(ids, each.rows, tokens, longest, mean, each))
        found.append(samples)
    notes = [
        f"texts of {used.min()} to {longest} tokens, {mean:.0f} on average, by the tokenizer of {student}; a batch is "
        "padded to its longest"
    ]
    many, cut = sum(map(len, lengths.values())), sum(long for _, long in made.values())
    return found, [*notes, *tokens.of_cut(many, cut)]


def _ids(table: Table, column: str, tokens: Tokens, config: DataConfig) -> tuple[AbstractRagged, int]:
    if config.data_backend == "arrow":
        return MappedRagged.of(table, column, tokens, config.data_cache)
    cut: list[int] = []
    return Ragged(tokenised_parts(table, column, tokens, cut, [])), sum(cut)
