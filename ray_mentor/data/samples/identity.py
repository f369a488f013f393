"""Which samples these are, in a word that can be compared later."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ray_mentor.data.samples.dataset_inputs import DatasetInputs
from ray_mentor.data.samples.samples import Samples

_ROWS = 1000  # whose content is looked at: the first, the last, and others evenly between


def identity(samples: Samples) -> str:
    """A digest of ids, labels, true labels, classes, sources and groups, in order, and of the content of up to 1000
    inputs.

    The inputs of a data set of the user's own are left out: reading them takes time, and may be random.
    """
    made = hashlib.blake2b(json.dumps([len(samples), samples.classes]).encode(), digest_size=16)
    for values in (samples.ids, samples.labels, samples.true_labels, *_targets(samples)):
        made.update(b"-" if values is None else np.ascontiguousarray(values).data)
    for of in (samples.domains, samples.groups):
        if of is not None:
            made.update(json.dumps(of.names).encode())
            made.update(np.ascontiguousarray(of.of).data)
            made.update(b"" if of.weights is None else json.dumps(of.weights).encode())
    if not isinstance(samples.inputs, DatasetInputs):
        rows = np.unique(np.linspace(0, len(samples) - 1, min(_ROWS, len(samples)), dtype=np.int64))
        made.update(samples.inputs.select(rows).content_hashes().tobytes())
    return made.hexdigest()


def _targets(samples: Samples) -> tuple[NDArray[Any], ...]:
    return () if samples.targets is None else (samples.targets,)
