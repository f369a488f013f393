"""Plain text as samples: files, folders, splits by name, and what can't be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ray_mentor.config import DataConfig
from ray_mentor.data.readers import read
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.samples.texts.overlap import places_in
from ray_mentor.data.splits.splits import Splits, prepare
from ray_mentor.errors import UserError

T = 8


def text(n: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).integers(97, 123, n).astype(np.uint8).tobytes()


def written(folder: Path, **texts: bytes) -> Path:
    """Files whose names have __ for a slash, and end in .txt."""
    for name, content in texts.items():
        path = folder / (name.replace("__", "/") + ".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def config(data: object, **changes: object) -> DataConfig:
    return DataConfig(data=str(data), format="text", max_tokens=T, **changes)  # type: ignore[arg-type]


def whole(samples: Samples) -> bytes:
    return samples.inputs.take(np.arange(len(samples))).numpy().tobytes()


def test_targets_are_the_next_bytes_and_the_last_windows_the_test_split(tmp_path: Path) -> None:
    content = text(10 * T + 5)
    written(tmp_path, a=content)
    raw = read(config(tmp_path / "a.txt", test_share=0.3))
    assert raw.test is not None
    assert whole(raw.train) == content[: 7 * T]
    assert whole(raw.test) == content[7 * T : 10 * T]
    assert raw.train.for_loss(np.array([2])).tolist() == [list(content[2 * T + 1 : 3 * T + 1])]
    assert (raw.train.ids.tolist(), raw.test.ids.tolist()) == (list(range(7)), [7, 8, 9])
    assert raw.train.tokens == T
    assert raw.understood == f"data: {tmp_path / 'a.txt'} (plain text, 1 file); train 7, test 3 windows of 8 bytes"
    assert raw.notes == ("no test split: the last 3 of 10 windows were held out as one (test_share 0.3)",)


def test_a_folder_is_one_text_of_its_files_in_order(tmp_path: Path) -> None:
    parts = {"a": text(3 * T + 1, 1), "b__c": text(2 * T + 3, 2), "test_of_code": text(2 * T + 1, 3)}
    written(tmp_path, **parts, tiny=b"x" * T)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0" * 20)
    (tmp_path / "odd.txt").write_bytes(b"\xff" * (T + 1))
    raw = read(config(tmp_path, test_share=0.1))
    assert raw.test is not None
    assert whole(raw.train) == parts["a"][: 3 * T] + parts["b__c"][: 2 * T] + b"\xff" * T + parts["test_of_code"][:T]
    assert raw.train.names is not None
    assert raw.train.names.to_pylist()[2:5] == ["a.txt:2", "b/c.txt:0", "b/c.txt:1"]
    assert raw.notes[:3] == (
        "left out 1 file of less than a window (9 bytes): tiny.txt",
        "left out 1 file of bytes that are no text: picture.png",
        "no UTF-8: odd.txt; that is fine, for bytes are what is learnt",
    )


def test_a_folder_with_train_has_its_splits_by_name(tmp_path: Path) -> None:
    parts = {"train__a": text(4 * T + 1, 1), "test": text(T + 1, 2), "valid": text(2 * T + 1, 3), "notes": text(T + 1)}
    raw = read(config(written(tmp_path, **parts)))
    assert raw.test is not None
    assert raw.validation is not None
    assert [whole(each) for each in (raw.train, raw.test, raw.validation)] == [
        parts["train__a"][: 4 * T], parts["test"][:T], parts["valid"][: 2 * T],
    ]  # fmt: skip
    assert raw.notes == ("left out 1 file named neither train*, test* nor valid*: notes.txt",)


def test_sources_and_a_target(tmp_path: Path) -> None:
    written(tmp_path, a=text(20 * T + 1, 1), b=text(30 * T + 1, 2), mine=text(5 * T + 1, 3))
    splits = prepare(config(f"a={tmp_path}/a.txt,b={tmp_path}/b.txt", meta_data=str(tmp_path / "mine.txt")), 0)
    assert splits.train.domains is not None
    assert splits.train.domains.sizes == [16, 24]
    assert (len(splits.meta), splits.validation) == (5, None)
    assert splits.test is not None
    assert len(splits.test) == 10
    assert not any("label" in note for note in splits.notes)


def with_target(folder: Path, target: bytes) -> Splits:
    written(folder, a=text(40 * T, 1), b=text(40 * T, 2), mine=target)
    return prepare(config(f"a={folder}/a.txt,b={folder}/b.txt", meta_data=str(folder / "mine.txt")), 0)


@pytest.mark.parametrize("shift", [0, 3])
def test_a_target_that_stands_in_a_source_is_refused_wherever_it_begins(shift: int, tmp_path: Path) -> None:
    copied = text(40 * T, 2)[4 * T + shift : 6 * T + shift + 1]
    with pytest.raises(UserError) as raised:
        with_target(tmp_path, text(2 * T, 5) + copied)
    assert str(raised.value) == (
        f"2 of the 4 windows of the target {tmp_path}/mine.txt stand in b as well (b/4, b/5), but what the student "
        "learns by heart says nothing of what helps; leave them out of one of the two"
    )


def test_a_little_that_they_share_is_left_out_of_the_target(tmp_path: Path) -> None:
    copied = text(40 * T, 2)[3:][:T]
    splits = with_target(tmp_path, text(3 * T, 5) + copied + text(30 * T, 6))
    assert len(splits.meta) == 32
    assert f"left out 1 window of the target {tmp_path}/mine.txt that the sources have as well" in splits.notes


@pytest.mark.parametrize("size", [1, 3, 8, 9, 16, 40])
def test_where_windows_stand_is_where_python_finds_them(size: int) -> None:
    draw = np.random.default_rng(size)
    some = draw.integers(97, 99 if size > 8 else 256, 4000).astype(np.uint8)
    starts = draw.integers(0, len(some) - size, 30)
    near = np.stack([some[start : start + size] for start in starts])
    near[:, -1] ^= 1
    windows = np.concatenate([np.stack([some[start : start + size] for start in starts]), near])
    truth = [some.tobytes().find(window.tobytes()) for window in windows]
    assert places_in(some, windows).tolist() == truth
    assert size < 9 or -1 in truth


def test_places_behind_the_part_that_is_looked_at_first() -> None:
    some = np.random.default_rng(0).integers(0, 256, 2**20 + 500).astype(np.uint8)
    starts = [0, 2**20 - 60, 2**20 - 1, 2**20, len(some) - 128]
    assert places_in(some, np.stack([some[start : start + 128] for start in starts])).tolist() == starts


@pytest.mark.parametrize(
    ("files", "changes", "says"),
    [
        ({"a": b""}, {}, "a.txt is empty, but a window has 9 bytes; give a longer text"),
        ({"a": b"x" * 8}, {}, "a.txt has 8 bytes, but a window has 9 bytes; give a longer text"),
        ({"f__a": b"x", "f__b": b"y"}, {"data": "f"}, "none of the 2 files at "),
        ({"a": text(99)}, {"noise": "symmetric:0.4"}, "noise is 'symmetric:0.4', but plain text (format 'text') has n"),
        ({"a": text(99)}, {"meta_ids": "ids.csv"}, "meta_ids is 'ids.csv', but plain text"),
        ({"a": text(99)}, {"data_backend": "arrow"}, "data_backend is 'arrow', but plain text"),
        ({"a": text(99)}, {"data": "digits"}, "format is 'text', but digits is a data set that is known by its name"),
        ({"a": text(99)}, {"meta_data": "none.txt"}, "meta_data is 'none.txt', but there is no such file or folder"),
    ],
)
def test_what_is_no_text_is_refused(
    files: dict[str, bytes], changes: dict[str, str], says: str, tmp_path: Path
) -> None:
    written(tmp_path, **files)
    data = changes.pop("data", "a.txt")
    with pytest.raises(UserError) as raised:
        prepare(config(data if data == "digits" else tmp_path / data, **changes), 0)
    assert says in str(raised.value)
