"""Parts of a user's own data set, read by processes of their own ahead of whoever wants them."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ray_mentor.data.samples.draws import drawn_from
from ray_mentor.data.samples.inputs import AbstractInputs, Part
from ray_mentor.errors import UserError


def read_ahead(inputs: AbstractInputs, parts: Iterable[Part], readers: int) -> Iterator[Shaped[Tensor, "rows ..."]]:
    """What ``inputs.take`` gives of each part's rows, in order; the processes end with this iterator.

    Args:
        parts: may be endless.
        readers: processes, at least 1.

    Raises:
        UserError: as taking the rows would.
    """
    loader: Any = DataLoader(
        _Parts(inputs),
        batch_sampler=parts,  # type: ignore[arg-type]  # any iterable of what the data set takes
        num_workers=readers,
        collate_fn=_as_it_is,
        worker_init_fn=_begin,
        generator=torch.Generator(),  # the default one is the training loop's
    )
    for found in loader:
        if isinstance(found, UserError):
            raise found
        yield found


class _Parts(Dataset[Any]):
    """A data set of whole parts."""

    def __init__(self, inputs: AbstractInputs) -> None:
        self._inputs = inputs

    def __getitems__(self, part: Part) -> Tensor | UserError:
        rows, words = part
        try:
            with drawn_from(words, self._inputs):
                return self._inputs.take(rows)
        except UserError as error:  # of errors, PyTorch makes others with a traceback as their text
            return error


def _begin(_: int) -> None:
    """What a forked process has of its parent's, other readers among it, is not its to end."""
    gc.freeze()


def _as_it_is(part: Any) -> Any:
    return part
