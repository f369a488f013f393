"""The same data are the same samples in each format that they can be in, and by each backend."""

import pickle
import re

import as_formats
import numpy as np
import pytest
from as_formats import config, same, same_raw

from ray_mentor.config import DataConfig
from ray_mentor.data import prepare
from ray_mentor.data.readers import read, read_new
from ray_mentor.data.readers.new.known import Known
from ray_mentor.errors import UserError

BACKENDS = ("memory", "arrow", "ray")


@pytest.mark.parametrize("backend", ["memory", "arrow"])
@pytest.mark.parametrize("kind", as_formats.OF_FEATURES)
def test_features(tmp_path, kind, backend):
    tables = as_formats.features()
    wanted = read(config(as_formats.parquet(tmp_path / "parquet", tables), true_label_column="truth"))
    path = as_formats.OF_FEATURES[kind](tmp_path / "own", tables)
    truth = None if "npz" in kind else "truth"  # which has one of its own
    found = read(config(path, true_label_column=truth, data_backend=backend))
    assert found.train.true_labels is not None
    assert wanted.train.names is None
    same_raw(found, wanted)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("kind", as_formats.OF_IMAGES)
def test_images(tmp_path, kind, mode, backend):
    tables = as_formats.images(mode=mode)
    if backend == "ray" and kind not in as_formats.STREAMED:
        return
    if kind == "webdataset":  # whose keys have no ending
        tables = {split: t.assign(sample_id=t["sample_id"].str.removesuffix(".png")) for split, t in tables.items()}
    wanted = read(config(as_formats.parquet(tmp_path / "parquet", tables)))
    found = read(config(as_formats.OF_IMAGES[kind](tmp_path / "own", tables), data_backend=backend))
    assert wanted.train.inputs.shape == ({"L": 1, "RGB": 3}[mode], 4, 4)
    assert wanted.train.names[0].as_py().startswith("train/cat/000")
    same_raw(found, wanted)


@pytest.mark.parametrize("kind", as_formats.OF_IMAGES)
def test_by_uri(tmp_path, kind):
    path = as_formats.OF_IMAGES[kind](tmp_path / "own", as_formats.images())
    wanted = read(config(path))
    if kind in as_formats.STREAMED - {"saved dataset"}:
        streamed = read(DataConfig(data=path.as_uri(), data_cache=str(tmp_path / "cache"), data_backend="ray"))
        same_raw(streamed, wanted)
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
    if kind == "saved dataset":
        path = path.as_uri()  # on a disk it is mapped, and streamed
    config = DataConfig(data=str(path), data_backend="ray", true_label_column=None if "npz" in kind else "truth")
    with pytest.raises(UserError, match=re.escape(", which is read as a whole; give --data-backend memory or arrow, ")):
        read(config)


@pytest.mark.parametrize("kind", as_formats.OF_IMAGES)
def test_the_meta_set_is_in_any_format_too(tmp_path, kind):
    tables = as_formats.images()
    trusted = {"train": tables["test"][::2]}
    path = as_formats.parquet(tmp_path / "parquet", {"train": tables["train"]})
    wanted = as_formats.parquet(tmp_path / "trusted", trusted)
    settings = {"test_share": 0.3, "validation_share": 0.0}
    meta = prepare(config(path, meta_data=str(wanted), **settings), 0).meta
    if kind == "webdataset":
        trusted = {"train": trusted["train"].assign(sample_id=[f"{n:03}.png" for n in range(12)])}
        wanted = as_formats.parquet(
            tmp_path / "trusted", {"train": trusted["train"].assign(sample_id=[f"{n:03}" for n in range(12)])}
        )
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


@pytest.mark.parametrize("kind", as_formats.OF_IMAGES)
def test_new_images_for_a_trained_student(tmp_path, kind):
    """Of data with a test split it is that."""
    path = as_formats.OF_IMAGES[kind](tmp_path / "own", as_formats.images())
    wanted = read(config(path))
    known = Known(wanted.train.classes, wanted.train.inputs.shape)
    new = read_new(config(path), known, labelled=True)
    same_new(new, wanted.test)
    assert new.labels.tolist() == wanted.test.labels.tolist()
    bare = read_new(config(path), known, labelled=False)
    assert bare.labels is None
    same_new(bare, wanted.test)
    middle = np.concatenate([part.values for part in new.source.parts(7, 19)])
    assert (middle == wanted.test.inputs.values[7:19]).all()


@pytest.mark.parametrize("kind", as_formats.OF_FEATURES)
def test_new_features_for_a_trained_student(tmp_path, kind):
    tables = {split: table.drop(columns="truth") for split, table in as_formats.features().items()}
    path = as_formats.OF_FEATURES[kind](tmp_path / "own", tables)
    wanted = read(config(path))
    known = Known(wanted.train.classes, (2,), wanted.features)
    new = read_new(config(path), known, labelled=True)
    same_new(new, wanted.test)
    assert new.labels.tolist() == wanted.test.labels.tolist()
    tables = {"test": tables["test"].drop(columns="label")}
    bare = read_new(config(as_formats.OF_FEATURES[kind](tmp_path / "bare", tables)), known, labelled=False)
    same_new(bare, wanted.test)


def same_new(new, samples):
    assert (
        np.concatenate([part.values for part in new.source.parts(0, len(new))])
        == samples.inputs.values[np.arange(len(samples))]
    ).all()
    assert new.ids.tolist() == samples.ids.tolist() or new.names is not None
    assert new.names == samples.names


@pytest.mark.parametrize("kind", [*sorted(as_formats.STREAMED), "parquet"])
def test_rows_come_in_whatever_order_they_are_asked_for(tmp_path, kind):
    write = {**as_formats.OF_IMAGES, "parquet": as_formats.parquet}[kind]
    path = write(tmp_path / "own", as_formats.images())
    streamed = read(config(path, data_backend="ray")).train.inputs.values
    held = read(config(path)).train.inputs.values
    for seed in range(5):
        rows = np.random.default_rng(seed).permutation(24)[:17]
        assert (streamed[rows] == held[rows]).all()
        assert (pickle.loads(pickle.dumps(streamed))[rows] == held[rows]).all()  # noqa: S301
