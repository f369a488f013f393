"""What is odd about labels, though nothing is refused for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ray_mentor.data.samples.samples import Samples
from ray_mentor.errors import listed

_SHOWN = 5  # classes, or groups of them, that are named


def doubtful_labels(classes: Sequence[str]) -> Iterator[str]:
    """Classes whose names differ by spaces or case alone, which are classes of their own nevertheless."""
    alike = defaultdict(list)
    for name in classes:
        alike[" ".join(name.split()).casefold()].append(name)
    if groups := [names for names in alike.values() if len(names) > 1]:
        shown = listed((" and ".join(map(repr, names)) for names in groups), _SHOWN)
        yield f"warning: labels that differ by spaces or case alone are different classes: {shown}; write them alike"
    elif stray := [name for name in classes if name != name.strip()]:
        yield f"warning: labels with spaces before or behind them: {listed(map(repr, stray), _SHOWN)}"


def unknown_to_training(splits: Mapping[str, Samples]) -> Iterator[str]:
    """Classes of which another split has samples and the training split none."""
    train = splits["train"]
    for split, samples in splits.items():
        missing = np.setdiff1d(samples.labels, train.labels)
        if len(missing):
            count = int(np.isin(samples.labels, missing).sum())
            names = listed((train.classes[label] for label in missing), _SHOWN)
            yield (
                f"warning: the training split has no sample of {len(missing)} classes of the {split} split ({names}), "
                f"so none of its {count} samples of them can be got right"
            )
