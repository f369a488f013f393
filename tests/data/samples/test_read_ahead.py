"""A user's data set, read ahead by processes of its own: the same rows in the same order."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ray_mentor.data import DatasetInputs
from ray_mentor.data.plan.batches import Plan, rank_slice
from ray_mentor.data.plan.order import Shuffled
from ray_mentor.data.samples.inputs import Part
from ray_mentor.data.samples.samples import samples_from_dataset
from ray_mentor.data.storage.in_order import InOrder, in_order
from ray_mentor.data.storage.spread import in_threads
from ray_mentor.data.storage.stored import in_plan_order
from ray_mentor.errors import UserError


class Noted(Dataset[tuple[Tensor, int]]):
    """Gives its number, the process that it was read by, and what it drew of each generator."""

    targets = [0, 1] * 20

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        drawn = [float(torch.rand(())), random.random(), np.random.rand()]  # noqa: NPY002 - as transforms do
        return torch.tensor([index, os.getpid(), *drawn]), index % 2


PARTS = [np.array(rows) for rows in ([3, 1, 2], [39], [0, 0, 5, 7], list(range(20)), [11, 12])]


def noted(readers: int) -> DatasetInputs:
    return DatasetInputs(Noted()).read_by(readers)


def parts_of(seed: int = 0) -> list[Part]:
    return [(rows, (seed, step)) for step, rows in enumerate(PARTS)]


def read(readers: int, seed: int = 0) -> list[Tensor]:
    return list(noted(readers).in_parts(parts_of(seed)))


@pytest.mark.parametrize("readers", [0, 1, 2])
def test_the_parts_come_in_their_order(readers: int) -> None:
    found = read(readers)
    assert [part[:, 0].int().tolist() for part in found] == [rows.tolist() for rows in PARTS]
    processes = {int(process) for part in found for process in part[:, 1]}
    assert len(processes) == max(1, readers)
    assert (os.getpid() in processes) == (readers == 0)


def test_what_is_random_follows_the_seeds_alone() -> None:
    """Whoever reads which part, the training thread among them; of all three generators."""
    here, one, two, other = read(0), read(1), read(2), read(2, seed=1)
    for expected, *found, differing in zip(here, one, two, other, strict=True):
        for part in found:
            assert torch.equal(part[:, 2:], expected[:, 2:])
        assert not (differing[:, 2:] == expected[:, 2:]).any()


def test_the_training_loops_generator_is_not_drawn_from() -> None:
    inputs = noted(2)
    before = torch.get_rng_state()
    assert len(list(inputs.in_parts(parts_of()))) == len(PARTS)
    assert torch.equal(torch.get_rng_state(), before)


class Bad(Noted):
    def __getitem__(self, index: int) -> Any:
        return ("text" if index == 5 else super().__getitem__(index)[0]), index % 2


def test_an_error_of_the_users_reads_as_ever() -> None:
    with pytest.raises(UserError) as here:
        DatasetInputs(Bad()).take(PARTS[2])
    with pytest.raises(UserError) as there:
        list(DatasetInputs(Bad()).read_by(2).in_parts(parts_of()))
    assert str(there.value) == str(here.value)
    assert "dataset[5] gives a str as input" in str(there.value)


def test_the_processes_end_with_whoever_wanted_the_parts() -> None:
    others = set(multiprocessing.active_children())
    stream: Any = noted(2).in_parts(parts_of())
    next(stream)
    assert len(set(multiprocessing.active_children()) - others) == 2
    stream.close()
    deadline = time.monotonic() + 60
    while set(multiprocessing.active_children()) - others and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(multiprocessing.active_children()) - others == set()


def test_a_choice_of_rows_keeps_its_readers() -> None:
    chosen = noted(2).select(np.array([4, 9]))
    assert chosen.readers == 2
    (part,) = chosen.in_parts([(np.array([1, 0]), (0,))])
    assert part[:, 0].int().tolist() == [9, 4]


@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_takes_its_share_of_the_plan(first: int, rank: int) -> None:
    samples = samples_from_dataset(Noted())
    samples = samples.with_inputs(noted(2))
    plan = Plan(Shuffled(40), 16, seed=5, epochs=2)
    with in_plan_order(samples, plan, first, rank, 2, in_threads) as train:
        assert isinstance(train.inputs, InOrder)
        assert (len(train), train.inputs.shape) == (40, (5,))
        for _, rows, _ in plan.steps(first):
            own = rank_slice(rows, rank, 2)
            assert train.inputs.take(own)[:, 0].int().tolist() == own.tolist()


def test_rows_out_of_their_order_are_an_error() -> None:
    with in_order(noted(1), iter(parts_of())) as ordered, pytest.raises(RuntimeError, match="were to be"):
        ordered.take(PARTS[1])


def test_without_readers_inputs_stay_as_they_are() -> None:
    inputs = noted(0)
    with in_order(inputs, iter(parts_of())) as ordered:
        assert ordered is inputs
