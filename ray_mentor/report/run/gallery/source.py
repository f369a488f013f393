"""The samples that a run was trained on, read again as its settings say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from ray_mentor.config import DataConfig, values_of
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.samples.texts.inputs import AbstractTexts, TextInputs
from ray_mentor.data.splits.splits import prepare
from ray_mentor.errors import UserError
from ray_mentor.run.audit.same_data import rows_of


def samples_again(settings: Mapping[str, Any]) -> tuple[Samples | None, str]:
    """The training split; or None, and why it isn't at hand."""
    if "data" not in settings:
        return None, "the run's data were given in Python, and lie in no file that its settings name"
    if settings.get("data_backend") == "ray":
        return None, "the run's data are streamed by Ray"
    try:
        config = values_of(DataConfig, {name: value for name, value in settings.items() if name in _NAMES})
        return prepare(DataConfig(**config), int(settings.get("seed", 0))).train, ""
    except (UserError, TypeError) as error:
        return None, f"the data cannot be read again ({error})"


def texts_again(settings: Mapping[str, Any], audited: pa.Table) -> AbstractTexts | None:
    """The texts of a run's training samples, in the order of its audit, where it was trained on texts that are still
    there.
    """
    samples, _ = samples_again(settings) if settings.get("text_column") else (None, "")
    return None if samples is None else texts_in(samples, audited)


def texts_in(samples: Samples, audited: pa.Table) -> AbstractTexts | None:
    """The same of samples that are at hand; None where they are no texts, or others than those of the audit."""
    inputs = samples.inputs.read if isinstance(samples.inputs, TextInputs) else samples.inputs
    if not isinstance(inputs, AbstractTexts):
        return None
    rows = rows_of(samples, audited)
    return None if rows is None else inputs.select(rows)


def read_texts(texts: AbstractTexts | None, rows: Rows, most: int | None = None) -> list[str] | None:
    """Of these rows; None where there are none, or what they are in is gone or holds others by now.

    Args:
        most: of each its first so many characters alone, on one line.
    """
    try:
        return None if texts is None else texts.texts(rows, most)
    except (OSError, ValueError, LookupError, pa.ArrowException):  # of UserErrors, too; a column is no longer there
        return None


_NAMES = set(DataConfig.__dataclass_fields__)
