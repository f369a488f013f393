"""Accelerators other than CUDA's, as stand-ins: what they lack is refused, what they have is used."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ray_mentor import LearnedCurriculum, UserError
from ray_mentor.core.student import accelerators
from ray_mentor.core.student.accelerators import check_device
from ray_mentor.core.student.random_state import RandomState, untouched

XPU = torch.device("xpu", 1)
SAID = (
    "the student is on mps, which can't hold float64, in which influences are added up; move it to the CPU or to a GPU "
    "that can"
)


def refuse_float64(monkeypatch: pytest.MonkeyPatch, *kinds: str) -> None:
    def zeros(*shape: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        if device.type in kinds and dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return torch.empty(0)

    monkeypatch.setattr(accelerators, "torch", SimpleNamespace(zeros=zeros, float64=torch.float64))


def test_one_without_float64_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_float64(monkeypatch, "mps")
    with pytest.raises(UserError) as raised:
        check_device(torch.device("mps"))
    assert str(raised.value) == SAID
    check_device(XPU)


def test_a_loop_of_ones_own_says_so_before_its_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_float64(monkeypatch, "cpu")
    student = nn.Linear(2, 2)
    optimizer, meta = torch.optim.SGD(student.parameters(), 0.1), (torch.zeros(2, 2), torch.arange(2))
    with pytest.raises(UserError, match="the student is on cpu, which can't hold float64"):
        LearnedCurriculum(student, optimizer, meta, total_steps=1)


class Generators:
    """Those of a stand-in's module, one for each device."""

    def __init__(self) -> None:
        self.states = {0: torch.tensor([1]), 1: torch.tensor([2])}

    def get_rng_state(self, device: torch.device) -> Tensor:
        return self.states[device.index].clone()

    def set_rng_state(self, state: Tensor, device: torch.device) -> None:
        self.states[device.index] = state


def test_what_a_student_draws_on_its_own_accelerator_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or dropout would leave out other units in the meta step than in the step that it looks back on."""
    generators = Generators()
    asked: list[Any] = []
    monkeypatch.setattr(torch, "get_device_module", lambda device: [asked.append(device), generators][1])
    state = RandomState.now(XPU)
    generators.states[1] += 5
    state.put_back()
    assert {device: int(state) for device, state in generators.states.items()} == {0: 1, 1: 2}
    with untouched(XPU):
        generators.states[1] += 7
    assert int(generators.states[1]) == 2
    assert set(asked) == {XPU}
