"""What is said of trusted samples in training: counted over ranks and checkpoints, and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bare_runs import NoBoard, record_of
from thread_ranks import on_ranks
from tiny_run import batch_of, curriculum_of, student_of
from torch import Tensor

from ray_mentor.core.exchange import AbstractExchange, Alone
from ray_mentor.errors import UserError
from ray_mentor.run.claim import attempted
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.log import LogState, RunLog
from ray_mentor.run.meta_set.said import NOTHING_SAID, TRUSTED, TrustedSaid, are_cells, read_said, write_said

Pairs = Sequence[tuple[int, int]]


def add(said: TrustedSaid, epoch: int, pairs: Pairs) -> None:
    said.add(epoch, replace(record_of(0, Alone()), trusted_said=torch.tensor(pairs).reshape(-1, 2)))


STEPS: list[tuple[int, Pairs]] = [
    (0, [(0, 0), (1, 0), (0, 0)]),
    (0, [(1, 1)]),
    (0, []),
    (1, [(1, 0), (0, 0)]),
    (1, [(1, 0), (1, 1)]),
]
EXPECTED = [[0, 0, 0, 2], [0, 1, 0, 1], [0, 1, 1, 1], [1, 0, 0, 1], [1, 1, 0, 2], [1, 1, 1, 1]]


def test_they_are_counted_by_epoch_and_pair_of_classes() -> None:
    said = TrustedSaid(Alone())
    said.add(0, record_of(0, Alone()))  # without any
    assert len(said.counted()) == 0
    for epoch, pairs in STEPS:
        add(said, epoch, pairs)
    assert said.counted().tolist() == EXPECTED
    assert said.counted().tolist() == EXPECTED, "once"


@pytest.mark.parametrize("stop", range(len(STEPS) + 1))
@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (2, 3)])
def test_other_ranks_go_on_with_the_same_counts(stop: int, before: int, after: int) -> None:
    """Each has its share of a step; what the first steps said is in the checkpoint alone."""

    def through(state: Tensor, steps: Sequence[tuple[int, Pairs]], ranks: int) -> Tensor:
        def one(exchange: AbstractExchange) -> Tensor:
            said = TrustedSaid(exchange)
            said.load(state)
            for epoch, pairs in steps:
                add(said, epoch, pairs[exchange.rank :: exchange.world_size])
            return said.counted()

        first, *others = on_ranks(ranks, one)
        assert all(torch.equal(first, other) for other in others)
        return first

    at_the_stop = through(NOTHING_SAID, STEPS[:stop], before)
    assert through(at_the_stop, STEPS[stop:], after).tolist() == EXPECTED


def test_a_step_says_what_it_saw_of_them() -> None:
    """Before its update, of the pass that the ledger's rows are of; and the ledger goes without them."""
    batch = batch_of(seed=0)
    trusted = torch.arange(len(batch)) % 3 == 1
    curriculum = curriculum_of(student_of())
    with torch.no_grad():
        predicted = curriculum.bare(batch.inputs).argmax(dim=1)
    record = curriculum.step(replace(batch, trusted=trusted))
    assert record.trusted_said is not None
    assert record.trusted_said.tolist() == torch.stack([batch.labels, predicted], dim=1)[trusted].tolist()
    assert record.predicted_label.tolist() == predicted[~trusted].tolist()
    assert curriculum.step(batch_of(seed=1)).trusted_said is None


def test_a_log_keeps_and_writes_them(tmp_path: Path) -> None:
    directory = RunDirectory(str(tmp_path))
    directory.create()

    def log() -> RunLog:
        return RunLog(attempted(directory, Alone()), NoBoard(), Alone())

    def saved(log: RunLog, state: LogState | None, epoch: int) -> LogState:
        log.begin(state)
        log.add(epoch, replace(record_of(0, Alone()), trusted_said=torch.tensor([[1, 0], [1, 1]])), 0.5)
        return log.save(1)

    first = saved(log(), None, 0)
    second = saved(log(), replace(first, ledger=first.ledger[:0]), 1)
    expected = [[0, 1, 0, 1], [0, 1, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]]
    assert second.trusted_said.tolist() == expected
    found = read_said(directory)
    assert [list(each.values()) for each in found.to_pylist()] == expected
    assert found.column_names == ["epoch", "label", "predicted", "count"]


def test_where_nothing_is_said_nothing_is_written(tmp_path: Path) -> None:
    directory = RunDirectory(str(tmp_path))
    write_said(directory, NOTHING_SAID)
    assert not (tmp_path / TRUSTED).exists()
    assert len(read_said(directory)) == 0
    (tmp_path / TRUSTED).write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"trusted.parquet cannot be read \(.*; put it back"):
        read_said(directory)


def test_what_counts_can_be() -> None:
    assert are_cells(NOTHING_SAID)
    assert are_cells(torch.tensor([[0, 1, 0, 1]]))
    for other in (None, [], torch.zeros(0, 3, dtype=torch.int64), torch.zeros(1, 4), torch.tensor([[0, -1, 0, 1]])):
        assert not are_cells(other)
