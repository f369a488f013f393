"""Who gets to the port where ranks meet can send numbers and words, and nothing that is executed."""

from __future__ import annotations

from pathlib import Path

import hostile_rank
import pytest
from processes import found_by_ranks


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def said(folder: Path) -> dict[str, str]:
    """What rank 1 made of each."""
    return found_by_ranks(hostile_rank.rank_main, folder)[1]  # type: ignore[no-any-return]


def test_nothing_was_executed(said: dict[str, str], folder: Path) -> None:
    assert said.keys() == hostile_rank.ATTACKS.keys()
    assert list(folder.glob("executed-*")) == []


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        ("as JSON", "what rank 0 has sent can't be read as JSON ("),
        ("of an unknown kind", "what rank 0 has sent is of kind b'p' and has "),
        ("of size -1", "what rank 0 has sent is of kind b'j' and has -1 bytes"),
    ],
)
def test_it_is_refused(said: dict[str, str], attack: str, expected: str) -> None:
    assert said[attack].startswith(f"RuntimeError: {expected}")
    assert said[attack].endswith("; see who else reaches the ports of this machine")


def test_bytes_stay_bytes(said: dict[str, str]) -> None:
    assert said["as bytes"].startswith("b'\\x80")


def test_more_than_there_is_memory_for(said: dict[str, str]) -> None:
    assert said["of size 2^62"].startswith("RuntimeError: ")
