"""What a data set of the user's own gives is what the model is fed: ids and codes stay integers."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from ray_mentor.data import DatasetInputs
from ray_mentor.errors import UserError

LARGE = 2**24  # float32 has no integer after it


class Listed(Dataset[tuple[Any, int]]):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.items[index], 0


def all_of(inputs: DatasetInputs) -> Tensor:
    return inputs.take(np.arange(len(inputs)))


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64])
def test_integers_stay_what_they_are(dtype: torch.dtype) -> None:
    ids = torch.arange(-6, 6, dtype=dtype).view(4, 3)
    inputs = DatasetInputs(TensorDataset(ids, torch.zeros(4)))
    assert inputs.dtype == inputs.select(np.array([1])).dtype == dtype
    assert all_of(inputs).dtype == dtype
    assert torch.equal(all_of(inputs), ids)
    assert inputs.take(np.array([], np.int64)).dtype == dtype


def test_ids_that_float32_merges_stay_apart() -> None:
    inputs = DatasetInputs(TensorDataset(LARGE + torch.arange(4)[:, None], torch.zeros(4)))
    assert all_of(inputs)[:, 0].tolist() == [LARGE, LARGE + 1, LARGE + 2, LARGE + 3]
    assert len(set(inputs.content_hashes().tolist())) == 4


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (LARGE + 1, torch.tensor(LARGE + 1)),
        (np.int64(LARGE + 1), torch.tensor(LARGE + 1)),
        (np.array([1, 2], ">i4"), torch.tensor([1, 2], dtype=torch.int32)),
        (np.array([1, 2**16 - 1], np.uint16), torch.tensor([1, 2**16 - 1])),
        (np.array([1, 2**32 - 1], ">u4"), torch.tensor([1, 2**32 - 1])),
        (np.array([1, 2**63 - 1], np.uint64), torch.tensor([1, 2**63 - 1])),
        (torch.tensor([3, 4], dtype=torch.uint32), torch.tensor([3, 4])),
        (torch.tensor([3, 255], dtype=torch.uint8), torch.tensor([3, 255], dtype=torch.uint8)),
        (torch.full((3, 2, 2), 255, dtype=torch.uint8), torch.full((3, 2, 2), 255.0)),
        (np.full((3, 2, 2), 255, np.uint8), torch.full((3, 2, 2), 255.0)),
        (torch.tensor([True, False]), torch.tensor([1.0, 0.0])),
        (np.array([True, False]), torch.tensor([1.0, 0.0])),
        (1.5, torch.tensor(1.5)),
        (np.array([1.5], ">f8"), torch.tensor([1.5])),
        (torch.tensor([1.5], dtype=torch.bfloat16), torch.tensor([1.5])),
    ],
)
def test_what_each_kind_of_number_becomes(item: Any, expected: Tensor) -> None:
    (found,) = all_of(DatasetInputs(Listed([item])))
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


def refused(items: list[Any], text: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(text)}$"):
        all_of(DatasetInputs(Listed(items)))


def test_ids_and_amounts_in_one_column_are_refused() -> None:
    refused(
        [torch.tensor([1]), torch.tensor([1.5])],
        "inputs must be of one type, but dataset[1] gives torch.float32 and dataset[0] torch.int64; convert them in "
        "the data set's transform",
    )


def test_an_integer_beyond_int64_is_refused() -> None:
    refused(
        [np.array([2**63], np.uint64)],
        "dataset[0] gives an integer of 2**63 or more as input, but it must fit into int64; number anew in the data "
        "set's transform",
    )
