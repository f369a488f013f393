"""The same data, whatever holds it: what a run reads from an Arrow file or from Parquet is what it has in memory."""

import numpy as np
import pytest
import torch
from small_data import image_bytes, write, write_images

from ray_mentor.config import DataConfig
from ray_mentor.data import prepare
from ray_mentor.data.storage import arrow_file
from ray_mentor.data.storage.mapped import MappedArray
from ray_mentor.data.storage.stored import StoredArray

SPLITS = ("train", "validation", "meta", "test")


def features(folder):
    """With copies within and across the splits, and both zeros."""
    draw = np.random.default_rng(0)
    for name, count in (("train", 700), ("test", 100)):
        x = draw.integers(-3, 4, count) * draw.choice([1.0, -1.0], count)
        columns = {"x": x, "y": draw.standard_normal(count).round(1), "label": draw.integers(0, 3, count)}
        write(folder / f"data/{name}.parquet", columns)
    return {"noise": "instance:0.3", "meta_size": 12}


def images(folder):
    write_images(folder / "data/train.parquet", 300, classes=3)
    write_images(folder / "data/test.parquet", 40, classes=3, first=280)
    return {"noise": "symmetric:0.3", "meta_size": 9, "train_size": 150}


def grey_images(folder):
    write_images(folder / "data/a.parquet", 60, mode="L")
    return {"meta_size": 10}


def colour_after_grey(folder):
    """In the middle of the training split; the validation split is grey, and has copies of grey ones."""
    kinds = ["L"] * 290 + ["RGB"] * 20 + ["L"] * 20
    grey = [image_bytes(i, mode=mode) for i, mode in enumerate(kinds)]
    write(folder / "data/train.parquet", {"image": grey, "label": [i % 2 for i in range(330)]})
    write_images(folder / "data/validation.parquet", 40, first=270, mode="L")
    write_images(folder / "data/test.parquet", 20, first=320, mode="L")
    return {"meta_size": 6}


def trusted_apart(folder):
    write_images(folder / "data/train.parquet", 80)
    write_images(folder / "meta.parquet", 10, first=75, mode="L")
    return {"meta_data": str(folder / "meta.parquet")}


def of_any_size(folder):
    """With broken ones, deep ones, and ones that become the same."""
    draw = np.random.default_rng(0)
    sizes = draw.integers(5, 40, (150, 2))
    encoded = [image_bytes(i % 60, size=tuple(sizes[i % 60]), mode="L" if i % 7 else "RGB") for i in range(150)]
    for place in (0, 40, 41, 149):
        encoded[place] = encoded[place][:50]
    write(folder / "data/train.parquet", {"image": encoded[:120], "label": [i % 3 for i in range(120)]})
    write(folder / "data/test.parquet", {"image": encoded[100:], "label": [i % 3 for i in range(50)]})
    return {"image_size": 14, "skip_broken": True, "meta_size": 9}


STREAMED = {"train": StoredArray}  # the other splits are held in memory

ALL = pytest.mark.parametrize("make", [features, images, grey_images, colour_after_grey, trusted_apart, of_any_size])


def on(backend, folder, **more):
    return DataConfig(data=str(folder / "data"), data_backend=backend, data_cache=str(folder / "cache"), **more)


@pytest.fixture(autouse=True)
def several_batches(monkeypatch):
    monkeypatch.setattr(arrow_file, "_BATCH_BYTES", 1)


@pytest.mark.long
@ALL
@pytest.mark.parametrize("backend", ["arrow", "ray"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_splits_are_the_same_bit_for_bit(tmp_path, make, seed, backend):
    settings = make(tmp_path)
    if backend == "ray" and settings.get("noise", "").startswith("instance"):
        settings["noise"] = "symmetric:0.3"  # instance noise is refused
    held, mapped = (prepare(on(each, tmp_path, **settings), seed) for each in ("memory", backend))
    assert held.notes == mapped.notes
    for name in SPLITS:
        a, b = getattr(held, name), getattr(mapped, name)
        assert (a is None) == (b is None)
        if a is not None:
            assert_same(a, b)
            assert isinstance(b.inputs.values, MappedArray if backend == "arrow" else STREAMED.get(name, np.ndarray))


def assert_same(a, b):
    for field in ("ids", "labels", "true_labels"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
    assert a.classes == b.classes
    assert a.inputs.shape == b.inputs.shape
    assert [part.tobytes() for part in a.inputs.scale] == [part.tobytes() for part in b.inputs.scale]
    assert (a.inputs.content_hashes() == b.inputs.content_hashes()).all()
    rows = np.random.default_rng(0).permutation(len(a))
    x, y = a.inputs.take(rows), b.inputs.take(rows)
    assert torch.equal(x.view(torch.int32), y.view(torch.int32))
    assert x.stride() == y.stride()  # which kernels run depends on it
