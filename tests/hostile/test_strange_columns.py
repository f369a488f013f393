"""Parquet files that are whole, and hold whatever Arrow can hold: they give samples or a UserError that names why."""

from __future__ import annotations

import decimal
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile_data import LABELS, NUMBERS, ROWS, answer, parquet, picture, splits_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ray_mentor.data.samples.labels import MOST_CLASSES

strange_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = st.one_of(
    st.sampled_from(["label", "image", "img", "sample_id", "x", "a.b", "", "__index_level_0__"]), strange_text
)


def columns_of(values: st.SearchStrategy[Any], kind: pa.DataType | None = None) -> st.SearchStrategy[pa.Array]:
    """Columns of a type, a part of whose values may be null."""
    either = st.one_of(values, values, st.none()) if kind != pa.null() else st.none()
    return st.lists(either, min_size=ROWS, max_size=ROWS).map(lambda column: pa.array(column, kind))


integers = st.one_of(st.integers(0, 3), st.sampled_from([-(2**63), -1, 99_999, 2**62, 2**63 - 1]))
columns = st.one_of(
    columns_of(integers, pa.int64()),
    columns_of(st.integers(0, 2), pa.int8()),
    columns_of(st.sampled_from([0, 1, 2**64 - 1]), pa.uint64()),
    columns_of(st.floats(), pa.float64()),
    columns_of(st.floats(width=16), pa.float16()),
    columns_of(st.booleans(), pa.bool_()),
    columns_of(strange_text, pa.string()),
    columns_of(strange_text, pa.large_string()),
    columns_of(strange_text, pa.string()).map(lambda column: column.dictionary_encode()),
    columns_of(st.binary(max_size=8), pa.binary()),
    columns_of(st.sampled_from([picture(0), picture(1), picture(2, side=5), b""]), pa.binary()),
    columns_of(st.just({"bytes": picture(0), "path": "/etc/passwd"})),
    columns_of(st.just({"bytes": None, "path": "/etc/passwd"})),
    columns_of(st.lists(st.integers(0, 3), max_size=3), pa.list_(pa.int64())),
    columns_of(st.just([("key", 1)]), pa.map_(pa.string(), pa.int64())),
    columns_of(st.just({"a": {"b": 1}})),
    columns_of(st.just(decimal.Decimal("1.5")), pa.decimal128(5, 2)),
    columns_of(st.datetimes(), pa.timestamp("us")),
    columns_of(st.none(), pa.null()),
)
tables = st.lists(st.tuples(names, columns), min_size=1, max_size=4)


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(table=tables, settings_of=st.dictionaries(
    st.sampled_from(["label_column", "true_label_column", "image_column", "id_column"]), names, max_size=2,
))  # fmt: skip
def test_any_table(tmp_path: Path, table: list[tuple[str, pa.Array]], settings_of: dict[str, str]) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(pa.Table.from_arrays([array for _, array in table], [name for name, _ in table]), path)
    answer(lambda: splits_of(path, **settings_of))


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(label=columns, feature=columns)
def test_any_columns_in_the_right_places(tmp_path: Path, label: pa.Array, feature: pa.Array) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"x": feature, "y": NUMBERS, "label": label}), path)
    said = answer(lambda: splits_of(path))
    assert said is None or any(word in said for word in ("label", "feature", "classes", "sample"))


@pytest.mark.parametrize(
    ("metadata", "classes"),
    [
        ({"huggingface": "[" * 100_000}, 3),
        ({"huggingface": "1" * 10_000}, 3),
        ({"huggingface": '{"info": {"features": {"label": {"names": {}}}}}'}, 3),
        ({"huggingface": '{"info": {"features": {"label": {"names": [{}, null, "\\ud800"]}}}}'}, 3),
        ({"class_names": "a,b,c,,"}, 5),
        ({"class_names": b"\xff,\xfe,a"}, 3),
    ],
)
def test_any_metadata(tmp_path: Path, metadata: dict[str, Any], classes: int) -> None:
    path = tmp_path / "data.parquet"
    path.write_bytes(parquet({"x": NUMBERS, "label": LABELS}, metadata))
    assert len(splits_of(path).train.classes) == classes


def test_half_a_surrogate_pair_among_the_class_names(tmp_path: Path) -> None:
    """JSON can hold one, UTF-8 can't: neither comparing it with the labels nor printing it may fail."""
    words = ["abc"[label] for label in LABELS]
    listed = {"info": {"features": {"label": {"names": ["a", "b", "c", "\ud800"]}}}}
    path = tmp_path / "data.parquet"
    path.write_bytes(parquet({"x": NUMBERS, "label": words}, {"huggingface": json.dumps(listed)}))
    assert splits_of(path).train.classes == ("a", "b", "c", "?")


@pytest.mark.parametrize("by", ["strings", "metadata", "integers"])
def test_too_many_classes(tmp_path: Path, by: str) -> None:
    """A column of ids or paths in the place of labels: no million output units."""
    count = MOST_CLASSES + 1
    label: Any = [str(row) for row in range(count)] if by == "strings" else np.arange(count)
    metadata = {"class_names": ",".join(map(str, range(count)))} if by == "metadata" else None
    path = tmp_path / "data.parquet"
    path.write_bytes(parquet({"x": np.arange(count) + 0.5, "label": label}, metadata))
    said = answer(lambda: splits_of(path))
    assert said is not None
    assert str(MOST_CLASSES) in said
    assert f"{count} classes" in said


def test_negative_labels_alone(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    path.write_bytes(parquet({"x": NUMBERS, "label": [-1] * ROWS}))
    said = answer(lambda: splits_of(path))
    assert said is not None
    assert said.startswith("label -1 in row 0 of ")
    assert "none of the 1 classes (0..0)" in said


def test_a_wide_table_is_not_listed_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    path.write_bytes(parquet({f"{'x' * 1000}{place}": NUMBERS for place in range(200)}))
    said = answer(lambda: splits_of(path))
    assert said is not None
    assert len(said) < 2000
    assert "has no column 'label'; name the one of given labels with --label-column" in said
    assert said.endswith("x... and 190 more")


def test_the_path_beside_an_image_is_not_followed(tmp_path: Path) -> None:
    """Hugging Face's `path` is what the image was called; only `bytes` is read."""
    path = tmp_path / "data.parquet"
    images = [{"bytes": b"", "path": str(path)} for _ in range(ROWS)]
    path.write_bytes(parquet({"image": images, "label": LABELS}))
    said = answer(lambda: splits_of(path))
    assert said is not None
    assert "the image in row 0" in said
    assert said.endswith("is empty; replace it, or leave all such images out: --skip-broken")


@pytest.mark.parametrize("name", ["x" * 5000, "a/" * 5000, "/dev/zero", "/dev/null", "/proc/self/mem"])
@pytest.mark.parametrize("setting", ["data", "meta_data", "meta_ids"])
def test_paths_that_are_no_files(tmp_path: Path, name: str, setting: str) -> None:
    path = tmp_path / "data.parquet"
    path.write_bytes(parquet({"x": NUMBERS, "label": LABELS}))
    said = answer(lambda: splits_of(Path(name)) if setting == "data" else splits_of(path, **{setting: name}))
    assert said is not None
    words = ("no such file", "no data at", "can't be read as ", "but it can't be read (")
    assert any(word in said for word in words)
