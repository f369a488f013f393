"""What was understood of data, in one line."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ray_mentor.config import DataConfig
from ray_mentor.data.readers.texts.raw import RawTexts
from ray_mentor.data.samples.inputs import ImageInputs
from ray_mentor.data.samples.samples import Samples
from ray_mentor.errors import listed

_SHOWN = 10  # classes that are named


def understood(location: str, what: str, label: str, splits: Mapping[str, Samples]) -> str:
    """Format, files, splits, classes with counts, and what an input is.

    Args:
        what: the format, and how many files.
        label: the column of given labels.
        splits: by name; the training split among them.
    """
    sizes = ", ".join(f"{name} {len(samples):,}" for name, samples in splits.items())
    return f"data: {location} ({what}); {sizes}; {_classes(label, splits)}; {_inputs(splits['train'])}"


def _classes(label: str, splits: Mapping[str, Samples]) -> str:
    classes = splits["train"].classes
    labels = np.concatenate([samples.labels for samples in splits.values()])
    counts = np.bincount(labels, minlength=len(classes)).tolist()
    named = listed((f"{name} {count:,}" for name, count in zip(classes, counts, strict=True)), _SHOWN)
    where = "" if label == DataConfig.label_column else f" (column {label!r})"
    return f"{len(classes)} class{'es' * (len(classes) != 1)}{where}: {named}"


def _inputs(samples: Samples) -> str:
    shape = samples.inputs.shape
    if isinstance(samples.inputs, RawTexts):
        return f"texts (column {samples.inputs.column!r})"
    if not isinstance(samples.inputs, ImageInputs):
        return f"{shape[0]} feature{'s' * (shape[0] != 1)}"
    channels, height, width = shape
    return f"images {width}×{height} {'grey' if channels == 1 else 'in colour'}"
