"""What the ranks tell each other of a batch before it is weighed: one message, with its samples' past in it."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from ray_mentor.core.batch import Batch
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.history.table import LossHistory


def gathered(
    columns: list[Num[Tensor, " own"]],
    batch: Batch,
    sizes: tuple[int, ...],
    history: LossHistory,
    exchange: AbstractExchange,
) -> tuple[list[Num[Tensor, " batch"]], Int[Tensor, " batch"], Float[Tensor, "batch length"]]:
    """The global batch's columns, its rows, and the past of its samples (NaN where there is none), on every rank.

    Args:
        columns: of this rank's samples, on one device.
        sizes: samples on each rank.
    """
    if not history.length:
        return exchange.gather_columns(columns, sizes), batch.rows, history.past(batch.rows)
    if history.is_split:
        rows = all_rows(batch, sizes, exchange)
        found, past = _with_past(columns, rows, sizes, history, exchange)
        return found, rows, past
    if exchange.world_size > 1 and batch.all_rows is None:
        *found, rows = exchange.gather_columns([*columns, batch.rows.to(columns[0].device, non_blocking=True)], sizes)
    else:
        found, rows = exchange.gather_columns(columns, sizes), all_rows(batch, sizes, exchange)
    return found, rows, history.past(rows)


def all_rows(batch: Batch, sizes: tuple[int, ...], exchange: AbstractExchange) -> Int[Tensor, " batch"]:
    """The rows of the global batch, in rank order: as the loader says, or else by a message between hosts."""
    if batch.all_rows is not None:
        return torch.from_numpy(batch.all_rows)
    if exchange.world_size == 1:
        return batch.rows
    return exchange.gather(batch.rows.double().cpu()[:, None], sizes)[:, 0].long()


def _with_past(
    columns: list[Num[Tensor, " own"]],
    rows: Int[Tensor, " batch"],
    sizes: tuple[int, ...],
    history: LossHistory,
    exchange: AbstractExchange,
) -> tuple[list[Num[Tensor, " batch"]], Float[Tensor, "batch length"]]:
    """Each rank's message holds the columns of its samples, and behind them the past of those of ``rows`` it owns."""
    width, length = len(columns), history.length
    owners = history.owners(rows)
    own = torch.stack([column.double() for column in columns], dim=1)
    own_past = history.past(rows[owners == history.rank]).to(own)
    message = torch.cat([own.flatten(), own_past.flatten()])
    owned = torch.bincount(owners, minlength=history.ranks).tolist()
    lengths = tuple(size * width + count * length for size, count in zip(sizes, owned, strict=True))
    messages = exchange.gather(message[:, None], lengths)[:, 0].split(lengths)
    parts = [
        message.split([size * width, len(message) - size * width])
        for message, size in zip(messages, sizes, strict=True)
    ]
    table = torch.cat([mine for mine, _ in parts]).view(-1, width).unbind(dim=1)
    past = torch.cat([theirs for _, theirs in parts]).view(-1, length).float()
    back = torch.argsort(torch.argsort(owners, stable=True))  # from the owners' order, one after the other
    found = [values.to(column.dtype) for values, column in zip(table, columns, strict=True)]
    return found, past.index_select(0, back.to(past.device, non_blocking=True))
