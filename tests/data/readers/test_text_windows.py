"""Plain text as windows of bytes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from ray_mentor.data.readers.texts.windows import bits_per_byte, text_windows
from ray_mentor.errors import UserError


def test_labels_are_the_bytes_that_follow(tmp_path: Path) -> None:
    text = bytes(range(250, 256)) + b"abcdefg"
    (tmp_path / "latin.txt").write_bytes(text)  # no UTF-8
    for source in (text, tmp_path / "latin.txt", str(tmp_path / "latin.txt")):
        inputs, labels = text_windows(source, context=4)
        assert inputs.tolist() == [list(text[:4]), list(text[4:8]), list(text[8:12])]
        assert labels.tolist() == [list(text[1:5]), list(text[5:9]), list(text[9:13])]
        assert (inputs.dtype, labels.dtype) == (torch.uint8, torch.int64)


def test_what_is_left_at_the_end_is_dropped() -> None:
    assert len(text_windows(b"x" * 129)[0]) == len(text_windows(b"x" * 256)[0]) == 1
    assert len(text_windows(b"x" * 257)[0]) == 2


def test_what_makes_no_window_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the text has 128 bytes, but a window has 129 bytes; give a longer text"):
        text_windows(b"x" * 128)
    with pytest.raises(UserError, match=r"none.txt can't be read \(No such file or directory\); give a file of text"):
        text_windows(tmp_path / "none.txt")


def test_bits_are_nats_over_ln_2() -> None:
    assert bits_per_byte(math.log(256)) == pytest.approx(8)
