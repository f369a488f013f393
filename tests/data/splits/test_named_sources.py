"""Several named sources as one data set: classes, ids, splits and backends, and what does not go together."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_data import write, write_images

from ray_mentor.config import DataConfig
from ray_mentor.config.groups.data import joined_sources, sources_in
from ray_mentor.data import Splits, prepare
from ray_mentor.errors import UserError


def table(values: range, labels: str, **more: Any) -> dict[str, Any]:
    return {
        "x": [value + 0.5 for value in values],
        "label": [labels[value % len(labels)] for value in values],
        **more,
    }


TEXTS = {"said": ["one", "two", "three"], "label": ["a", "b", "a"]}


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    write(tmp_path / "one.parquet", table(range(60), "ba"))
    write(tmp_path / "two.parquet", table(range(100, 130), "ca"))
    write(tmp_path / "meta.parquet", table(range(200, 220), "ab"))
    data = f"one={tmp_path}/one.parquet,two={tmp_path}/two.parquet"
    return DataConfig(data=data, meta_data=f"{tmp_path}/meta.parquet", test_share=0.1, validation_share=0.0)


def test_they_are_one_behind_the_other(config: DataConfig) -> None:
    splits = prepare(config, 0)
    train, test = splits.train, splits.test
    assert train.classes == splits.meta.classes == ("a", "b", "c")
    assert train.domains is not None
    assert train.domains.names == ("one", "two")
    assert test is not None
    assert len(train) + len(test) == 90
    assert splits.meta.domains is None
    names = [] if train.names is None else train.names.to_pylist()
    for place, (name, label) in enumerate(zip(names, train.labels.tolist(), strict=True)):
        source, row = name.split("/")
        assert train.domains.of[place] == ("one", "two").index(source)
        assert train.classes[label] == ("ba", "ca")[train.domains.of[place]][int(row) % 2]
    assert train.domains.sizes == [sum(name.startswith(source) for name in names) for source in ("one", "two")]
    assert [len(rows) for rows in train.domains.rows] == train.domains.sizes


def written(config: DataConfig, name: str, values: range, labels: str, **more: Any) -> DataConfig:
    """With another source."""
    path = f"{Path(str(config.meta_data)).parent}/{name}.parquet"
    write(Path(path), table(values, labels, **more))
    return dataclasses.replace(config, data=f"{config.data},{name}={path}")


def test_the_same_samples_under_two_names_are_refused(config: DataConfig) -> None:
    with pytest.raises(UserError, match="sources 'one' and 'again' have the same 60 samples; leave one of them out"):
        prepare(written(config, "again", range(60)[::-1], "ba"), 0)
    splits = prepare(written(config, "relabelled", range(60), "ab"), 0)
    assert not [note for note in splits.notes if "as well" in note], "the same inputs by another who gave labels"


@pytest.mark.parametrize(("values", "said"), [(range(57, 97), True), (range(59, 99), False)])
def test_samples_of_another_source_are_told_of_from_a_twentieth_on(
    config: DataConfig, values: range, said: bool
) -> None:
    """Three of 40 are, and one of 40."""
    notes = prepare(written(config, "some", values, "ba"), 0).notes
    whole = "warning: 3 of the 40 samples of source 'some' are in 'one' as well, and count in the shares of both"
    assert (whole in notes) == said
    assert any("as well" in note for note in notes) == said


def test_of_tables_whose_samples_hardly_differ_nothing_is_said(config: DataConfig) -> None:
    path = Path(str(config.meta_data)).parent
    for name, size in (("few", 40), ("codes", 30)):
        write(
            path / f"{name}.parquet",
            {"x": [row % 4 for row in range(size)], "label": ["aab"[row % 3] for row in range(size)]},
        )
    data = f"few={path}/few.parquet,codes={path}/codes.parquet"
    assert not [note for note in prepare(dataclasses.replace(config, data=data), 0).notes if "as well" in note]


def assert_same_inputs(found: Splits, expected: Splits) -> None:
    rows = np.arange(len(expected.train))[::-1].copy()
    assert torch.equal(found.train.inputs.take(rows), expected.train.inputs.take(rows))
    assert np.array_equal(found.train.inputs.content_hashes(), expected.train.inputs.content_hashes())
    some = rows[3:9]
    assert torch.equal(
        found.train.select(some).inputs.take(rows[-6:]), expected.train.select(some).inputs.take(rows[-6:])
    )


def test_mapped_sources_are_those_in_memory(config: DataConfig, tmp_path: Path) -> None:
    mapped = dataclasses.replace(config, data_backend="arrow", data_cache=str(tmp_path / "cache"))
    assert_same_inputs(prepare(mapped, 0), prepare(config, 0))


def test_grey_images_get_three_channels_beside_those_in_colour(tmp_path: Path) -> None:
    write_images(tmp_path / "grey.parquet", 40, mode="L")
    write_images(tmp_path / "colour.parquet", 40, first=50)
    data = f"grey={tmp_path}/grey.parquet,colour={tmp_path}/colour.parquet"
    config = DataConfig(data=data, meta_size=4, validation_share=0.0)
    splits = prepare(config, 0)
    assert splits.train.inputs.shape == (3, 4, 4)
    mapped = dataclasses.replace(config, data_backend="arrow", data_cache=str(tmp_path / "cache"))
    assert_same_inputs(prepare(mapped, 0), splits)


@pytest.mark.parametrize(
    ("files", "changes", "says"),
    [
        (
            {"two": {"z": [1.0] * 9, "label": ["a", "b", "c"] * 3}},
            {},
            "source 'two' has the features z, but 'one' has x",
        ),
        ({"two": {"x": [1.0] * 9}}, {}, "source 'two': "),
        (
            {"one": TEXTS, "two": TEXTS, "meta": TEXTS},
            {"text_column": "said"},
            "the sources hold texts, which can't be mixed in a run; give tables of features, images, arrays or data",
        ),
        ({}, {"data_backend": "ray"}, "data_backend is 'ray', which streams samples in an order that is known before"),
        (
            {"meta": table(range(55, 75), "ab")},
            {},
            "5 samples of one are in the target",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    files: dict[str, Any], changes: dict[str, Any], says: str, config: DataConfig, tmp_path: Path
) -> None:
    for name, rows in files.items():
        write(tmp_path / f"{name}.parquet", rows)
    with pytest.raises(UserError) as raised:
        prepare(dataclasses.replace(config, **changes), 0)
    assert says in str(raised.value)


def test_one_setting_names_them() -> None:
    assert sources_in("wiki=a/b.csv,code=s3://c?x=1") == {"wiki": "a/b.csv", "code": "s3://c?x=1"}
    assert sources_in("wiki=a,b.csv,code=c") == {"wiki": "a,b.csv", "code": "c"}
    for one in ("digits", "a/b.csv", "year=2020/rows.parquet", "a/year=1,month=2/x"):
        assert sources_in(one) == {}
    assert joined_sources(["wiki=a", "code=b"]) == "wiki=a,code=b"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (["wiki=a", "wiki=b"], "data names the source 'wiki' twice; give each source a name of its own"),
        (["wiki=a", "b.csv"], "--data is given 2 times, and 'b.csv' has no name; name each source: --data wiki=PATH"),
        (["wiki=a,code=b", "more=c"], "in which a path holds what looks like another name; rename it"),
        (["wiki=", "code=b"], "data names the source 'wiki' without a path; give --data wiki=PATH"),
    ],
)
def test_names_that_cannot_be_are_refused(values: list[str], says: str) -> None:
    with pytest.raises(UserError) as raised:
        joined_sources(values)
    assert says in raised.value.written
