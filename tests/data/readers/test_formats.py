"""The same data are the same samples in each format that they can be in, and by each backend."""

import re

import as_formats
import numpy as np
import pytest

from ray_mentor.config import DataConfig
from ray_mentor.data import prepare
from ray_mentor.data.readers import read
from ray_mentor.errors import UserError

BACKENDS = ("memory", "arrow", "ray")


def config(path, **settings):
    settings = {"data_cache": f"{path}-cache", **settings}
    return DataConfig(data=str(path), **settings)


def same(one, other):
    """Inputs, labels, ids and classes, bit for bit."""
    assert (one is None) == (other is None)
    if one is None:
        return
    rows = np.arange(len(one))
    assert len(one) == len(other)
    assert one.inputs.shape == other.inputs.shape
    assert (one.inputs.values[rows] == other.inputs.values[rows]).all()
    assert (one.inputs.content_hashes() == other.inputs.content_hashes()).all()
    assert one.classes == other.classes
    assert one.labels.tolist() == other.labels.tolist()
    assert (one.true_labels is None) == (other.true_labels is None)
    assert one.true_labels is None or one.true_labels.tolist() == other.true_labels.tolist()
    assert one.ids.tolist() == other.ids.tolist()
    assert one.names == other.names


def same_raw(one, other):
    for split in ("train", "validation", "test"):
        same(getattr(one, split), getattr(other, split))
    assert one.features == other.features


@pytest.mark.parametrize("backend", ["memory", "arrow"])
@pytest.mark.parametrize("kind", as_formats.OF_FEATURES)
def test_features(tmp_path, kind, backend):
    tables = as_formats.features()
    wanted = read(config(as_formats.parquet(tmp_path / "parquet", tables), true_label_column="truth"))
    path = as_formats.OF_FEATURES[kind](tmp_path / "own", tables)
    found = read(config(path, true_label_column="truth", data_backend=backend))
    assert wanted.train.names is None
    same_raw(found, wanted)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("kind", as_formats.OF_IMAGES)
def test_images(tmp_path, kind, mode, backend):
    tables = as_formats.images(mode=mode)
    wanted = read(config(as_formats.parquet(tmp_path / "parquet", tables)))
    found = read(config(as_formats.OF_IMAGES[kind](tmp_path / "own", tables), data_backend=backend))
    assert wanted.train.inputs.shape == ({"L": 1, "RGB": 3}[mode], 4, 4)
    assert wanted.train.names[0].as_py() == "train/cat/000.png"
    same_raw(found, wanted)


@pytest.mark.parametrize("kind", as_formats.OF_IMAGES)
def test_by_uri(tmp_path, kind):
    path = as_formats.OF_IMAGES[kind](tmp_path / "own", as_formats.images())
    wanted = read(config(path))
    uri = read(DataConfig(data=path.as_uri(), data_cache=str(tmp_path / "cache"), data_backend="ray"))
    same_raw(uri, wanted)
    same_raw(read(DataConfig(data=path.as_uri())), wanted)


def test_features_by_uri(tmp_path):
    tables = as_formats.features()
    path = as_formats.csv(tmp_path / "own", tables)
    same_raw(
        read(DataConfig(data=path.as_uri(), ignore_columns=("truth",))), read(config(path, ignore_columns=("truth",)))
    )


@pytest.mark.parametrize("kind", as_formats.OF_FEATURES)
def test_a_table_in_text_is_not_streamed(tmp_path, kind):
    path = as_formats.OF_FEATURES[kind](tmp_path / "own", as_formats.features())
    with pytest.raises(UserError, match=re.escape(", which is read as a whole; give --data-backend memory or arrow, ")):
        read(config(path, data_backend="ray", true_label_column="truth"))


@pytest.mark.parametrize("kind", as_formats.OF_IMAGES)
def test_the_meta_set_is_in_any_format_too(tmp_path, kind):
    tables = as_formats.images()
    trusted = {"train": tables["test"][::2]}
    path = as_formats.parquet(tmp_path / "parquet", {"train": tables["train"]})
    wanted = as_formats.parquet(tmp_path / "trusted", trusted)
    settings = {"test_share": 0.3, "validation_share": 0.0}
    meta = prepare(config(path, meta_data=str(wanted), **settings), 0).meta
    own = as_formats.OF_IMAGES[kind](tmp_path / "own", trusted)
    assert len(meta) == 12
    same(prepare(config(path, meta_data=str(own), **settings), 0).meta, meta)


def test_features_of_the_meta_set(tmp_path):
    tables = as_formats.features()
    path = as_formats.parquet(tmp_path / "parquet", {"train": tables["train"].drop(columns="truth")})
    trusted = as_formats.jsonl(tmp_path / "trusted", {"train": tables["test"]})
    meta = prepare(config(path, meta_data=str(trusted), test_share=0.3, validation_share=0.0), 0).meta
    assert meta.ids.tolist() == tables["test"]["sample_id"].tolist()
    assert meta.inputs.shape == (2,)


def test_what_was_understood_is_said(tmp_path):
    path = as_formats.image_files(tmp_path / "own", as_formats.images(mode="L"))
    said = f"data: {path} (a folder of images, 48 files); train 24, test 24; 3 classes: cat 24, dog 12, ox 12; "
    said += "images 4×4 grey"
    assert read(config(path)).understood == said
    assert prepare(config(path, meta_size=3), 0).understood == said
    path = as_formats.csv(tmp_path / "table", as_formats.features())
    understood = read(config(path, ignore_columns=("truth",))).understood
    assert understood.startswith(f"data: {path} (CSV, 2 files); train 30, test 30; 3 classes: cat ")
    assert understood.endswith("; 2 features")


def test_a_run_is_the_same(tmp_path):
    tables = as_formats.features()
    one = prepare(config(as_formats.parquet(tmp_path / "parquet", tables), true_label_column="truth", meta_size=6), 3)
    other = prepare(config(as_formats.csv(tmp_path / "csv", tables), true_label_column="truth", meta_size=6), 3)
    assert one.notes == other.notes
    for split in ("train", "validation", "meta", "test"):
        same(getattr(other, split), getattr(one, split))
