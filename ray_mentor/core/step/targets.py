"""Targets that a loss remembers of each sample, wherever the sample's row of the store lies."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ray_mentor.core.batch import Batch
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.history.table import LossHistory
from ray_mentor.core.losses import TargetLoss
from ray_mentor.core.step.gathered import all_rows


def with_targets(
    batch: Batch,
    loss: TargetLoss,
    logits: Float[Tensor, "own classes"],
    history: LossHistory,
    exchange: AbstractExchange,
) -> Batch:
    """This rank's batch with the targets of this visit, which are remembered. A collective call.

    Costs two messages a step of as many numbers as the global batch has logits, where ranks split the store.
    """
    sizes = batch.rank_sizes or exchange.sizes(len(batch))
    rows = all_rows(batch, sizes, exchange)
    start = sum(sizes[: exchange.rank])
    columns = slice(0, logits.shape[1])
    before = remembered(rows, history, exchange, columns)[start : start + len(batch)]
    targets = loss.target(logits.detach().float(), before.to(logits.device))
    history.put(rows, exchange.gather(targets, sizes))
    return batch.with_targets(targets.to(logits))


def remembered(
    rows: Int[Tensor, " batch"], history: LossHistory, exchange: AbstractExchange, columns: slice
) -> Float[Tensor, "batch columns"]:
    """What is kept of the global batch's samples, on every rank. A collective call.

    Args:
        columns: which, of what lies beside the losses.
    """
    if not history.is_split:
        return history.beside(rows)[:, columns]
    owners = history.owners(rows)
    own = history.beside(rows[owners == history.rank])[:, columns]
    counts = torch.bincount(owners, minlength=history.ranks).tolist()
    found = exchange.gather(own, tuple(counts))  # the ranks' answers, one after the other
    back = torch.argsort(torch.argsort(owners, stable=True))
    return found.index_select(0, back.to(found.device, non_blocking=True))
