"""What the trained student says of each sample of the test split, written down at the end of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.func import functional_call

from ray_mentor.core.step.evaluation import evaluating
from ray_mentor.data.samples.samples import Samples
from ray_mentor.run.directory import RunDirectory

PREDICTIONS = "predictions.parquet"
"""``sample_id``, ``label`` and ``predicted``, a row a sample; labels are places in ``classes.json``."""

_PART = 512  # samples per evaluation batch
_DRAWS = (311,)  # of random transforms that a data set may have


def write_predictions(
    directory: RunDirectory,
    student: nn.Module,
    state: Mapping[str, Tensor],
    samples: Samples,
    beat: Callable[[], None] = lambda: None,
) -> None:
    """Writes the class of the largest logit of each sample; nothing of samples whose targets aren't one class.

    Args:
        student: whose forward pass it is; as it was afterwards.
        state: its params and buffers, on any device.
        beat: called after each part.
    """
    if samples.targets is not None:
        return
    predicted = _predicted(student, state, samples, beat).numpy()
    ids = samples.ids if samples.names is None else samples.names
    table = pa.table({"sample_id": ids, "label": samples.labels, "predicted": predicted})
    directory.fill(PREDICTIONS, lambda sink: pyarrow.parquet.write_table(table, sink, write_page_checksum=True))


@torch.no_grad()
def _predicted(
    student: nn.Module, state: Mapping[str, Tensor], samples: Samples, beat: Callable[[], None]
) -> Int[Tensor, " samples"]:
    device = next(student.parameters()).device
    here = {name: value.to(device) for name, value in state.items()}
    rows = np.arange(len(samples))
    parts = [(rows[start : start + _PART], (*_DRAWS, start)) for start in range(0, len(rows), _PART)]
    found = []
    with evaluating(student):
        for inputs in samples.inputs.in_parts(parts):
            found.append(functional_call(student, here, (inputs.to(device),)).argmax(dim=1).cpu())
            beat()
    return torch.cat(found)
