"""What the ranks tell each other of a batch before it is weighed: one message, with its samples' past in it."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ray_mentor.core.batch import Batch
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.history.table import LossHistory

ROWS = 3
"""The column that holds the samples' rows."""


def gathered(
    columns: Float[Tensor, "own columns"],
    batch: Batch,
    sizes: tuple[int, ...],
    history: LossHistory,
    exchange: AbstractExchange,
) -> tuple[Float[Tensor, "batch columns"], Float[Tensor, "batch length"]]:
    """The global batch's columns, and the past of its samples (NaN where there is none), on every rank.

    Args:
        columns: of this rank's samples, in float64.
        sizes: samples on each rank.
    """
    if history.is_split and history.length:
        return _with_past(columns, all_rows(batch, sizes, exchange), sizes, history, exchange)
    table = exchange.gather(columns, sizes)
    return table, history.past(table[:, ROWS].long())


def all_rows(batch: Batch, sizes: tuple[int, ...], exchange: AbstractExchange) -> Int[Tensor, " batch"]:
    """The rows of the global batch, in rank order: as the loader says, or else by a message."""
    if batch.all_rows is not None:
        return torch.from_numpy(batch.all_rows)
    return exchange.gather(batch.rows.double().cpu()[:, None], sizes)[:, 0].long()


def _with_past(
    columns: Float[Tensor, "own columns"],
    rows: Int[Tensor, " batch"],
    sizes: tuple[int, ...],
    history: LossHistory,
    exchange: AbstractExchange,
) -> tuple[Float[Tensor, "batch columns"], Float[Tensor, "batch length"]]:
    """Each rank's message holds the columns of its samples, and behind them the past of those of ``rows`` it owns."""
    width, length = columns.shape[1], history.length
    owners = history.owners(rows)
    own_past = history.past(rows[owners == history.rank]).double()
    message = torch.cat([columns.flatten(), own_past.flatten()])
    owned = torch.bincount(owners, minlength=history.ranks).tolist()
    lengths = tuple(size * width + count * length for size, count in zip(sizes, owned, strict=True))
    messages = exchange.gather(message[:, None], lengths)[:, 0].split(lengths)
    past = torch.empty(len(rows), length)
    for rank, (message, size) in enumerate(zip(messages, sizes, strict=True)):
        past[owners == rank] = message[size * width :].view(owned[rank], length).float()
    table = [message[: size * width].view(-1, width) for message, size in zip(messages, sizes, strict=True)]
    return torch.cat(table), past
