"""One thread for a small student, in a process of the user's own; whatever there was, afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from ray_mentor.core.student.threads import SMALL, multiplications, threads_for

SMALL_MLP = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def within(student: nn.Module, shape: tuple[int, ...], batch_size: int = 128) -> int:
    with threads_for(student, shape, batch_size):
        found = torch.get_num_threads()
    assert torch.get_num_threads() == 2
    return found


def test_a_small_student_has_one() -> None:
    assert within(SMALL_MLP, (64,)) == 1


@pytest.mark.parametrize(
    ("student", "shape", "batch_size"),
    [
        (nn.Linear(4096, 4096), (4096,), 128),
        (SMALL_MLP, (64,), 100_000),
        (nn.Conv2d(3, 32, 3), (3, 64, 64), 128),
    ],
)
def test_one_that_is_not_has_what_there_is(student: nn.Module, shape: tuple[int, ...], batch_size: int) -> None:
    assert within(student, shape, batch_size) == 2


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert within(SMALL_MLP, (64,)) == 2


def test_threads_come_back_after_an_error() -> None:
    with pytest.raises(RuntimeError), threads_for(SMALL_MLP, (64,), 1):
        raise RuntimeError
    assert torch.get_num_threads() == 2


def test_a_student_that_flattens_an_image_is_small() -> None:
    """As by default on digits."""
    assert within(nn.Sequential(nn.Flatten(), *SMALL_MLP), (1, 8, 8)) == 1


def test_params_are_used_once_or_once_a_pixel() -> None:
    assert multiplications(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(10, 1)), (1, 4, 5)) == 20 * 20 + 11
    assert multiplications(nn.Linear(8, 3), (8,)) == 27
    assert multiplications(nn.Conv2d(1, 2, 3), (1, 4, 5)) == 20 * 20
    assert multiplications(SMALL_MLP, (64,)) * 128 < SMALL
