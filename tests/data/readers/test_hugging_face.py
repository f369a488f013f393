"""Data sets that `datasets` itself has written."""

import re
from pathlib import Path

import as_formats
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from as_formats import config, same_raw
from small_data import image_bytes

from ray_mentor.config import DataConfig
from ray_mentor.data.readers import read
from ray_mentor.errors import UserError

datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.long  # it takes seconds to load


@pytest.fixture
def saved(tmp_path):
    """Images with class names, by datasets' own types."""
    tables = as_formats.images()
    kinds = datasets.Features(
        {
            "sample_id": datasets.Value("string"),
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog", "ox"]),
        }
    )
    splits = {split: datasets.Dataset.from_pandas(table, features=kinds) for split, table in tables.items()}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved", tables


@pytest.mark.parametrize("backend", ["memory", "arrow", "ray"])
def test_what_it_saves_is_read(saved, tmp_path, backend):
    path, tables = saved
    found = read(config(path, data_backend=backend))
    same_raw(found, read(config(as_formats.parquet(tmp_path / "parquet", tables))))
    assert found.understood.startswith(f"data: {path} (a Hugging Face data set, 2 files); train 24, test 24; 3 classes")


def test_one_split(saved, tmp_path):
    path, _ = saved
    datasets.load_from_disk(path)["test"].select(range(5)).save_to_disk(tmp_path / "few")
    raw = read(config(tmp_path / "few"))
    assert len(raw.train) == 5
    assert raw.train.classes == ("cat", "dog", "ox")


def test_a_name_on_the_hub(saved, monkeypatch):
    path, _ = saved
    asked = []

    def load(name, configuration):
        asked.append((name, configuration))
        return datasets.load_from_disk(path)

    monkeypatch.setattr(datasets, "load_dataset", load)
    same_raw(read(DataConfig(data="hf:me/animals:small")), read(config(path)))
    same_raw(read(DataConfig(data="hf:me/animals")), read(config(path)))
    assert asked == [("me/animals", "small"), ("me/animals", None)]


def test_what_is_not_stored_as_it_is_loaded(saved, monkeypatch):
    path, _ = saved
    shuffled = datasets.load_from_disk(path)["train"].shuffle(seed=0).select(range(5))
    monkeypatch.setattr(datasets, "load_dataset", lambda name, configuration: shuffled)
    with pytest.raises(
        UserError, match=re.escape("hf:x is not stored as it is loaded; save it with save_to_disk, and")
    ):
        read(DataConfig(data="hf:x"))


def test_what_the_hub_does_not_have(monkeypatch):
    def load(name, configuration):
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(UserError, match=re.escape("hf:x can't be loaded (no network); check the name and the network")):
        read(DataConfig(data="hf:x"))
    with pytest.raises(
        UserError, match=re.escape("data is 'hf:', but a data set on the Hub is hf:NAME or hf:NAME:CONF")
    ):
        read(DataConfig(data="hf:"))


def test_images_of_which_the_cache_has_paths_alone(tmp_path, monkeypatch):
    """As a loader of a folder leaves them; a file that came from elsewhere could name any file of this machine."""
    files = []
    for place in range(4):
        (tmp_path / f"{place}.png").write_bytes(image_bytes(place))
        files.append(str(tmp_path / f"{place}.png"))
    made = datasets.Dataset.from_dict({"image": files, "label": [0, 1, 0, 1]}).cast_column("image", datasets.Image())
    (tmp_path / "cache").mkdir()
    with pa.ipc.new_stream(tmp_path / "cache/train.arrow", made.data.schema) as stream:
        stream.write_table(made.data.table)
    loaded = datasets.Dataset.from_file(str(tmp_path / "cache/train.arrow"))
    monkeypatch.setattr(datasets, "load_dataset", lambda name, configuration: loaded)
    wanted = read(config(as_formats.parquet(tmp_path / "parquet", {"train": table_of(files)})))
    same_raw(read(DataConfig(data="hf:x")), wanted)
    with pytest.raises(UserError, match=re.escape("the image in row 0 of ")):
        read(DataConfig(data=str(tmp_path / "cache")))
    Path(files[2]).unlink()
    with pytest.raises(UserError, match=re.escape("1 of 4 images that column 'image' of ")):
        read(DataConfig(data="hf:x"))


def table_of(files):
    return pd.DataFrame({"image": [Path(file).read_bytes() for file in files], "label": np.array([0, 1, 0, 1])})
