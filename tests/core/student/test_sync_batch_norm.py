"""Batch norm over ranks in 16 bits: as good as PyTorch's own, against float64. One process stands for all of them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from ray_mentor.core.student import sync_batch_norm
from ray_mentor.core.student.sync_batch_norm import GlobalBatchNorm, synchronised
from ray_mentor.errors import UserError

HALVES = [torch.bfloat16, torch.float16]


@pytest.fixture(autouse=True)
def summed(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What was summed over ranks."""
    given: list[Tensor] = []
    monkeypatch.setattr(sync_batch_norm.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(sync_batch_norm.dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(sync_batch_norm.dist, "all_reduce", lambda tensor: given.append(tensor.clone()))
    return given


def images(dtype: torch.dtype, n: int = 257, channels: int = 3, size: int = 4) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    wide = 3 + 0.5 * torch.randn(n, channels, size, size, generator=draw, dtype=torch.float64)
    return wide.to(dtype)


def norm_of(channels: int = 3) -> nn.BatchNorm2d:
    made = nn.BatchNorm2d(channels)
    with torch.no_grad():
        made.weight.copy_(torch.linspace(0.5, 1.5, channels))
        made.bias.copy_(torch.linspace(-1, 1, channels))
    return made


def results(norm: nn.Module, x: Tensor) -> dict[str, Tensor]:
    x = x.clone().requires_grad_()
    y = norm(x)
    y.pow(3).sum().backward()
    return {
        "y": y.detach(),
        "x": x.grad,
        "mean": norm.running_mean,
        "var": norm.running_var,
        "weight": norm.weight.grad,
        "bias": norm.bias.grad,
    }


def error(found: Tensor, truth: Tensor) -> float:
    found, truth = found.detach().double(), truth.detach().double()
    return float((found - truth).norm() / truth.norm())


@pytest.mark.parametrize("dtype", [*HALVES, torch.float32], ids=str)
def test_it_is_as_near_to_float64_as_pytorchs(dtype: torch.dtype) -> None:
    x, plain = images(dtype), norm_of()
    found = results(synchronised(copy.deepcopy(plain)), x)
    truth, theirs = results(copy.deepcopy(plain).double(), x.double()), results(plain, x)
    for key in truth:
        assert found[key].dtype == theirs[key].dtype, key
        assert error(found[key], truth[key]) <= 1.05 * error(theirs[key], truth[key]) + 1e-5, key


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_its_mean_and_variance_are_those_of_float32(dtype: torch.dtype) -> None:
    x = images(dtype)
    norm = GlobalBatchNorm(3, momentum=1.0)
    norm(x)
    torch.testing.assert_close(norm.running_mean.double(), x.double().mean((0, 2, 3)), rtol=1e-6, atol=0)
    torch.testing.assert_close(norm.running_var.double(), x.double().var((0, 2, 3)), rtol=1e-5, atol=0)


def test_a_count_that_float16_does_not_know() -> None:
    """131,072 values a channel are infinitely many in float16."""
    x = images(torch.float16, n=8, channels=1, size=128)
    y = GlobalBatchNorm(1)(x)
    assert y.isfinite().all()
    assert error(y, nn.BatchNorm2d(1).double()(x.double())) <= 1e-3


def test_the_count_does_not_round(summed: list[Tensor]) -> None:
    n = 2**24 + 1
    GlobalBatchNorm(1)(torch.zeros(1, 1, 1, dtype=torch.bfloat16).expand(n, 1, 1))
    assert int(summed[0][-1]) == n


class WithActivation(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).relu()


def test_one_that_does_more_is_refused() -> None:
    """Made global, it would be a batch norm alone: another student."""
    with pytest.raises(UserError) as raised:
        synchronised(nn.Sequential(nn.BatchNorm2d(3), WithActivation(3)))
    assert str(raised.value) == (
        "sync_batch_norm is on, but the student has a WithActivation, which is more than a batch norm; leave it out, "
        "or give another --student"
    )
