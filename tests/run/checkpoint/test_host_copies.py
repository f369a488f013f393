"""Copies for a checkpoint: in the host's memory, of the same values, sharing what was shared."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from same_values import assert_same_values
from torch import Tensor, nn

from ray_mentor.run.checkpoint.host_copies import host_copies


@dataclass(frozen=True)
class Pair:
    values: Tensor
    more: list[Any]


def test_values_are_the_same_and_no_memory_is_shared() -> None:
    wide = torch.arange(12.0).reshape(3, 4)
    given: dict[str, Any] = {
        "table": {"transposed": wide.T, "part": wide[1:, 2], "scalar": torch.tensor(3), "none": torch.empty(0, 2)},
        "list": [1, None, "x", (torch.ones(2, dtype=torch.bfloat16), 2.5)],
        "pair": Pair(torch.zeros(2), [torch.ones(1)]),
        "param": nn.Parameter(torch.ones(2)),
        "others": collections.OrderedDict(a=torch.ones(2)),
        "sparse": torch.eye(3).to_sparse(),
        "complex": torch.ones(2, dtype=torch.complex64),
    }
    found = host_copies(**given)
    expected = {name: value.to_dense() if name == "sparse" else value for name, value in given.items()}
    assert_same_values({**found, "sparse": found["sparse"].to_dense()}, expected)
    assert found["table"]["transposed"].stride() == (1, 4)
    for tensor in (wide, given["pair"].values, given["param"], given["others"]["a"], given["list"][3][0]):
        with torch.no_grad():
            tensor.fill_(7)
    assert found["table"]["part"].tolist() == [6, 10]
    assert found["pair"].values.tolist() == [0, 0]
    assert found["param"].tolist() == [1, 1]
    assert not found["param"].requires_grad
    assert found["others"]["a"].tolist() == [1, 1]
    assert found["list"][3][0].tolist() == [1, 1]


def test_tied_params_are_held_once() -> None:
    """And saved once."""
    tied = nn.Linear(50, 50, bias=False)
    other = nn.Linear(50, 50, bias=False)
    other.weight = tied.weight
    found = host_copies(student=nn.ModuleList([tied, other]).state_dict())["student"]
    assert found["0.weight"].data_ptr() == found["1.weight"].data_ptr()
    assert found["0.weight"].data_ptr() != tied.weight.data_ptr()


@pytest.mark.parametrize("steps", [0, 2])
def test_an_optimizers_state_goes_on(steps: int) -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(steps):
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
    found = host_copies(optimizer=optimizer.state_dict())["optimizer"]
    assert_same_values(found, optimizer.state_dict())
    torch.optim.AdamW(model.parameters()).load_state_dict(found)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_nothing_is_copied_on_the_device() -> None:
    state = {"weight": torch.ones(1 << 20, device="cuda")}
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    found = host_copies(student=state)["student"]
    assert torch.cuda.max_memory_allocated() == before
    assert found["weight"].device.type == "cpu"
    assert bool((found["weight"] == 1).all())
