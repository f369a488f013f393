"""A column of texts, in every format that has columns: which it is, what is refused, and what is shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import as_formats
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import small_texts

from ray_mentor.config import DataConfig
from ray_mentor.data import prepare
from ray_mentor.data.readers import read
from ray_mentor.data.readers.texts.raw import RawTexts
from ray_mentor.errors import UserError
from ray_mentor.report.run.gallery.source import read_texts, texts_in
from ray_mentor.run.audit.same_data import given_names

WITH_COLUMNS = {name: as_formats.OF_FEATURES[name] for name in ("csv", "tsv", "jsonl", "saved dataset")}


def written(folder: Path, table: pd.DataFrame, name: str = "reviews.csv") -> str:
    table.to_csv(folder / name, index=False)
    return str(folder / name)


def refused(config: DataConfig) -> str:
    with pytest.raises(UserError) as raised:
        read(config)
    return str(raised.value)


@pytest.mark.parametrize("kind", ["parquet", *WITH_COLUMNS])
def test_every_format_with_columns(tmp_path: Path, kind: str) -> None:
    tables = small_texts.splits()
    path = {"parquet": as_formats.parquet, **WITH_COLUMNS}[kind](tmp_path / "own", tables)
    raw = read(DataConfig(data=str(path), text_column="review"))
    inputs = raw.train.inputs
    assert isinstance(inputs, RawTexts)
    rows = np.array([7, 3, 29, 3])
    assert inputs.texts(rows) == tables["train"]["review"].iloc[rows].tolist()
    assert inputs.select(np.array([5, 2])).texts(np.array([1, 0])) == tables["train"]["review"].iloc[[2, 5]].tolist()
    assert raw.train.classes == ("no", "yes")
    assert raw.test is not None
    assert raw.train.names[0].as_py() == "r000"
    assert raw.understood.endswith("; texts (column 'review')")


def test_the_same_text_is_the_same_content(tmp_path: Path) -> None:
    """So copies are in one split, and found among duplicates."""
    table = small_texts.reviews(20)
    path = written(tmp_path, pd.concat([table, table[:4]]))
    hashes = read(DataConfig(data=path, text_column="review")).train.inputs.content_hashes()
    assert len(np.unique(hashes)) == 20
    assert (hashes[20:] == hashes[:4]).all()
    splits = prepare(DataConfig(data=path, text_column="review", meta_size=4), 0)
    held = {text for part in (splits.meta, splits.test) for text in part.inputs.texts(np.arange(len(part)))}
    assert held.isdisjoint(splits.train.inputs.texts(np.arange(len(splits.train))))


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    path = written(tmp_path, small_texts.reviews())
    assert refused(DataConfig(data=path, text_column="text")) == (
        f"{path} has no column 'text'; its columns are review, label; name the one of texts with --text-column (text "
        "is in review, label)"
    )


def test_a_column_of_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, small_texts.reviews().assign(stars=3))
    assert refused(DataConfig(data=path, text_column="stars")) == (
        f"column 'stars' of {path} is int64, but texts must be strings; name another text_column, or leave it out "
        "where the model is fed numbers"
    )


def test_the_column_of_labels(tmp_path: Path) -> None:
    path = written(tmp_path, small_texts.reviews())
    assert refused(DataConfig(data=path, text_column="label")) == (
        "text_column is 'label', which is a label, an id or a group, or says what was checked; name the column of texts"
    )


@pytest.mark.parametrize("nothing", ["", "  ", None])
def test_texts_that_are_empty(tmp_path: Path, nothing: str | None) -> None:
    table = small_texts.reviews()
    table.loc[[4, 9], "review"] = nothing
    table.to_parquet(tmp_path / "a.parquet")
    assert refused(DataConfig(data=f"{tmp_path}/a.parquet", text_column="review")) == (
        f"the text in row 4 of {tmp_path}/a.parquet (sample id 4) (column 'review') is empty, but every sample needs "
        "one; fill it in or leave out all such (2): --skip-broken"
    )


def test_what_else_the_model_could_be_fed(tmp_path: Path) -> None:
    path = written(tmp_path, small_texts.reviews().assign(stars=3))
    assert refused(DataConfig(data=path, text_column="review", feature_columns=("stars",))) == (
        "text_column is 'review' and feature_columns is stars, but the model is fed either; give one of them"
    )


def test_streaming(tmp_path: Path) -> None:
    small_texts.reviews().to_parquet(tmp_path / "a.parquet")
    assert refused(DataConfig(data=f"{tmp_path}/a.parquet", text_column="review", data_backend="ray")) == (
        "data_backend is 'ray', which streams rows of one size, but token ids of texts are of any length; give "
        "--data-backend memory or arrow"
    )


def test_data_that_have_no_columns(tmp_path: Path) -> None:
    assert refused(DataConfig(data="digits", text_column="review")) == (
        "text_column is 'review', but digits holds images; leave it out, or give a path to data of your own"
    )
    path = as_formats.image_files(tmp_path / "own", as_formats.images())
    assert refused(DataConfig(data=str(path), text_column="review")).startswith(
        f"text_column is 'review', but {path} is a folder of images"
    )


def test_noise_that_goes_by_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, small_texts.reviews())
    with pytest.raises(UserError, match=re.escape("noise is 'instance:0.2', which depends on the numbers of an input")):
        prepare(DataConfig(data=path, text_column="review", noise="instance:0.2"), 0)


def test_tokens_without_texts() -> None:
    with pytest.raises(
        UserError, match=r"^max_tokens is 8, but there are no texts; name their column: --text-column, or g"
    ):
        DataConfig(max_tokens=8)


LONG = "a table of reviews has a column of texts, which are far longer than a name"


@pytest.mark.parametrize("more", [{}, {"stars": 3.5}])
def test_a_table_with_texts_that_nobody_named(tmp_path: Path, more: dict[str, float]) -> None:
    table = small_texts.reviews()
    path = written(tmp_path, table.assign(review=table["review"] + f" {LONG}", **more))
    assert refused(DataConfig(data=path)).endswith(
        "; leave them out: --ignore-columns review; --text-column review takes it for texts, with a --student of them "
        "(hf:FOLDER)"
    )


def test_two_columns_of_texts(tmp_path: Path) -> None:
    table = small_texts.reviews()
    table = table.assign(title=table["review"].str.upper() + f" {LONG}", review=table["review"] + f" {LONG}")
    assert "; --text-column review or --text-column title takes it for texts, with" in refused(
        DataConfig(data=written(tmp_path, table))
    )


def test_names_are_no_texts(tmp_path: Path) -> None:
    table = small_texts.reviews().rename(columns={"review": "name"})
    assert "--text-column" not in refused(DataConfig(data=written(tmp_path, table.assign(name="ann"))))


def _renamed(table: pd.DataFrame, path: Path) -> None:
    table.rename(columns={"review": "other"}).to_parquet(path)


def _numbers(table: pd.DataFrame, path: Path) -> None:
    table.assign(review=range(len(table))).to_parquet(path)


def _lists(table: pd.DataFrame, path: Path) -> None:
    table.assign(review=[["a"]] * len(table)).to_parquet(path)


@pytest.mark.parametrize(
    "change",
    [
        _renamed,
        _numbers,
        _lists,
        lambda table, path: table[:5].to_parquet(path),
        lambda table, path: table[::-1].to_parquet(path),
        lambda table, path: path.unlink(),
        lambda table, path: path.write_bytes(b"x" * 100),
    ],
)
def test_texts_that_are_no_longer_what_they_were_are_none(
    tmp_path: Path, change: Callable[[pd.DataFrame, Path], None]
) -> None:
    """A run ends with its result, whatever has become of its data meanwhile."""
    table, path = small_texts.reviews(20), tmp_path / "own.parquet"
    table.to_parquet(path)
    train = read(DataConfig(data=str(path), text_column="review")).train
    audited = pa.table({"sample_id": train.ids, "given_label": given_names(train)})
    rows = np.array([13, 0])
    assert read_texts(texts_in(train, audited), rows) == table["review"].iloc[rows].tolist()
    change(table, path)
    assert read_texts(texts_in(train, audited), rows) is None
