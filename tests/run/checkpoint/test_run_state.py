"""A run's state: to bytes, back, and on from there; damaged bytes are told apart."""

from __future__ import annotations

import io

import pytest
import torch
from same_values import assert_same_values
from tiny_states import go_on, started, state_of

from ray_mentor.errors import UserError
from ray_mentor.run.checkpoint.state import FORMAT_VERSION, RunState, restore


def test_bytes_and_back() -> None:
    run = started()
    go_on(*run, range(3))
    state = state_of(*run)
    assert_same_values(RunState.from_bytes(state.to_bytes(), "x"), state)
    assert state.curriculum.step == 3
    assert state.curriculum.meta_updates == 2


def test_bytes_hold_nothing_that_is_executed() -> None:
    run = started()
    go_on(*run, range(3))
    table = torch.load(io.BytesIO(state_of(*run).to_bytes()), weights_only=True)
    assert table["format_version"] == FORMAT_VERSION
    assert isinstance(table["curriculum"]["mentor"]["payload"], bytes)


def test_a_run_that_was_put_back_goes_on_bit_for_bit() -> None:
    straight = started()
    go_on(*straight, range(3))
    data = state_of(*straight).to_bytes()
    expected = go_on(*straight, range(3, 7))

    again = started(seed=5)
    go_on(*again, range(1))  # whatever it was before is forgotten
    restore(RunState.from_bytes(data, "x"), *again)
    for found, record in zip(go_on(*again, range(3, 7)), expected, strict=True):
        assert_same_values(found, record)
    assert_same_values(state_of(*again), state_of(*straight))


def test_a_state_stays_as_it_was_when_its_run_goes_on() -> None:
    run = started()
    go_on(*run, range(3))
    state = state_of(*run)
    data = state.to_bytes()
    go_on(*run, range(3, 5))
    assert_same_values(state, RunState.from_bytes(data, "x"))
    restore(state, *run)
    go_on(*run, range(3, 5))
    assert_same_values(state, RunState.from_bytes(data, "x"))


def test_a_run_that_has_not_begun() -> None:
    run = started()
    state = state_of(*run)
    assert state.curriculum.percentile is None
    assert_same_values(RunState.from_bytes(state.to_bytes(), "x"), state)


@pytest.fixture(scope="module")
def whole() -> bytes:
    run = started()
    go_on(*run, range(2))
    return state_of(*run).to_bytes()


def test_any_truncation_is_noticed(whole: bytes) -> None:
    for length in [0, 1, 100, len(whole) // 2, len(whole) - 100, len(whole) - 1]:
        with pytest.raises(UserError, match=r"checkpoint s/state\.pt cannot be read \("):
            RunState.from_bytes(whole[:length], "s/state.pt")


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_byte_gives_an_error_or_changes_nothing(whole: bytes, seed: int) -> None:
    """What lies between a file's parts may be anything; its parts may not."""
    expected = RunState.from_bytes(whole, "x")
    draw = torch.Generator().manual_seed(seed)
    for position in torch.randint(len(whole), (12,), generator=draw).tolist():
        damaged = whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :]
        try:
            found = RunState.from_bytes(damaged, "x")
        except UserError:
            continue
        assert_same_values(found, expected)


@pytest.mark.long
@pytest.mark.parametrize("first", [0, *(pytest.param(first, marks=pytest.mark.slow) for first in range(1, 5))])
def test_a_flipped_bit_in_the_archives_directory(whole: bytes, first: int) -> None:
    """There a part can be marked as a folder, which torch would read as whatever was in memory."""
    expected = RunState.from_bytes(whole, "x")
    for position in range(whole.index(b"PK\x01\x02") + first, len(whole), 5):
        for bit in (0x10, 0x55):
            damaged = whole[:position] + bytes([whole[position] ^ bit]) + whole[position + 1 :]
            try:
                found = RunState.from_bytes(damaged, "x")
            except UserError:
                continue
            assert_same_values(found, expected)


@pytest.mark.parametrize(
    "content",
    [[], 3, {}, {"format_version": FORMAT_VERSION}, {"format_version": FORMAT_VERSION, "mentor": {"version": 1}}],
)
def test_a_file_that_holds_something_else(content: object) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with pytest.raises(UserError, match="checkpoint other cannot be read"):
        RunState.from_bytes(buffer.getvalue(), "other")


def test_another_format_version(whole: bytes) -> None:
    table = torch.load(io.BytesIO(whole), weights_only=True)
    buffer = io.BytesIO()
    torch.save({**table, "format_version": FORMAT_VERSION + 1}, buffer)
    with pytest.raises(UserError) as caught:
        RunState.from_bytes(buffer.getvalue(), "run/state.pt")
    assert str(caught.value) == "checkpoint run/state.pt has format version 14, but this version reads 13"
