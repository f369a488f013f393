"""Images of any size: what a run has of them, and what the user is told."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_data import image_bytes, write
from torchvision.transforms import v2

from ray_mentor.config import DataConfig
from ray_mentor.data import prepare
from ray_mentor.data.readers import Raw, read
from ray_mentor.data.samples.inputs import ImageInputs
from ray_mentor.errors import UserError

SIZES = [(30, 21), (18, 40), (16, 16), (9, 12), (14, 14)]
EVERYWHERE = pytest.mark.parametrize("backend", ["memory", "arrow", "ray"])


def stored(folder: Path, images: list[bytes | None], name: str = "train", first: int = 0) -> Path:
    ids = [100 + first + place for place in range(len(images))]
    return write(folder / f"{name}.parquet", {"image": images, "label": [i % 2 for i in ids], "sample_id": ids})


def of_sizes(sizes: list[tuple[int, int]]) -> list[bytes | None]:
    return [image_bytes(place, size=size) for place, size in enumerate(sizes)]


def config(path: Path, **settings: Any) -> DataConfig:
    return DataConfig(data=str(path), data_cache=str(path.parent / "cache"), **settings)


def images_of(raw: Raw) -> ImageInputs:
    assert isinstance(raw.train.inputs, ImageInputs)
    return raw.train.inputs


@EVERYWHERE
@pytest.mark.parametrize(("size", "side"), [(14, 16), (9, 10)])
def test_each_is_resized_with_a_margin_and_fed_the_middle(tmp_path: Path, backend: str, size: int, side: int) -> None:
    """Cropped twice, also where the margin is odd, and cropping once would be a pixel off."""
    encoded = of_sizes(SIZES)
    inputs = images_of(read(config(stored(tmp_path, encoded), image_size=size, data_backend=backend)))
    assert inputs.shape == (3, size, size)
    assert inputs.values.shape == (5, side, side, 3)
    fed = inputs.take(np.arange(5))
    for place, data in enumerate(encoded):
        assert data is not None
        image = v2.functional.pil_to_tensor(Image.open(io.BytesIO(data)))
        square = v2.CenterCrop(side)(v2.Resize(side, antialias=True)(image))
        assert torch.equal(torch.from_numpy(inputs.values[np.array([place])])[0].permute(2, 0, 1), square)
        torch.testing.assert_close(fed[place], v2.CenterCrop(size)(square) / 255)


@EVERYWHERE
def test_images_of_the_size_asked_for_stay_as_they_are(tmp_path: Path, backend: str) -> None:
    path = stored(tmp_path, of_sizes([(9, 9)] * 6))
    plain, sized = (images_of(read(config(path, image_size=size, data_backend=backend))) for size in (None, 9))
    assert np.array_equal(plain.values[:], sized.values[:])
    assert torch.equal(plain.take(np.arange(6)), sized.take(np.arange(6)))
    assert (plain.content_hashes() == sized.content_hashes()).all()


def test_one_of_another_size_in_any_split_makes_room_for_a_margin(tmp_path: Path) -> None:
    stored(tmp_path, of_sizes([(14, 14)] * 4))
    stored(tmp_path, of_sizes([(14, 14), (15, 14)]), "test", first=10)
    raw = read(config(tmp_path, image_size=14))
    assert raw.test is not None
    assert [images_of(raw).values.shape[1], raw.test.inputs.shape] == [16, (3, 14, 14)]


def test_without_a_size_the_error_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape("18×40 and the first one 30×21 (width×height); --image-size brings")):
        read(config(stored(tmp_path, of_sizes(SIZES))))


def test_images_that_are_turned_by_their_camera_have_one_size(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    file = io.BytesIO()
    Image.new("RGB", (12, 8)).save(file, "JPEG", exif=turned)
    raw = read(config(stored(tmp_path, [image_bytes(0, size=(8, 12)), file.getvalue()])))
    assert raw.train.inputs.shape == (3, 12, 8)


@EVERYWHERE
def test_broken_ones_are_left_out_and_named(tmp_path: Path, backend: str) -> None:
    encoded = of_sizes([(12, 12)] * 12)
    for place, data in enumerate([b"", None, b"no image", image_bytes(3, size=(12, 12))[:60]]):
        encoded[place] = data
    path = stored(tmp_path, encoded)
    whole = stored(tmp_path / "whole", encoded[4:], "whole", first=4)
    raw = read(config(path, skip_broken=True, data_backend=backend))
    good = read(config(whole, data_backend=backend))
    assert raw.train.ids.tolist() == good.train.ids.tolist() == list(range(104, 112))
    assert raw.train.labels.tolist() == good.train.labels.tolist()
    assert torch.equal(raw.train.inputs.take(np.arange(8)), good.train.inputs.take(np.arange(8)))
    named = ", ".join(f"row {row} of {path} (sample id {100 + row})" for row in range(4))
    assert raw.notes == (f"left out 4 images that can't be decoded (skip_broken): {named}",)
    assert read(config(path, skip_broken=True, data_backend=backend)).notes == raw.notes, "at a second start, too"


@EVERYWHERE
def test_names_and_what_was_checked_stay_with_their_images(tmp_path: Path, backend: str) -> None:
    images = [b"no" if row in (1, 4) else image_bytes(row) for row in range(8)]
    columns = {"image": images, "label": [row % 2 for row in range(8)], "key": [f"k{row}" for row in range(8)]}
    path = write(tmp_path / "a.parquet", {**columns, "checked": [row in (2, 4, 7) for row in range(8)]})
    asked = {"skip_broken": True, "data_backend": backend, "id_column": "key", "meta_column": "checked"}
    raw = read(config(path, **asked))
    assert raw.train.names is not None
    assert raw.train.names.to_pylist() == ["k0", "k2", "k3", "k5", "k6", "k7"]
    assert raw.checked is not None
    assert raw.checked.tolist() == [False, True, False, False, False, True]
    assert raw.train.labels.tolist() == [0, 0, 1, 1, 0, 1]


def test_of_many_broken_ones_five_are_named(tmp_path: Path) -> None:
    raw = read(config(stored(tmp_path, [b"no"] * 7 + of_sizes([(9, 9)])), skip_broken=True))
    assert "left out 7 images" in raw.notes[0]
    assert raw.notes[0].count("sample id") == 5
    assert raw.notes[0].endswith(", ...")


@EVERYWHERE
def test_nothing_but_broken_ones(tmp_path: Path, backend: str) -> None:
    with pytest.raises(UserError, match="none of the images can be decoded"):
        read(config(stored(tmp_path, [b"no", b"such", b"image"]), skip_broken=True, data_backend=backend))


def test_those_whose_heads_alone_are_whole(tmp_path: Path) -> None:
    cut = image_bytes(0, size=(12, 12))[:60]
    with pytest.raises(UserError, match="none of the images can be decoded"):
        read(config(stored(tmp_path, [cut, cut]), skip_broken=True))


@EVERYWHERE
def test_sixteen_bits_are_said(tmp_path: Path, backend: str) -> None:
    def deep(high: int) -> bytes:
        file = io.BytesIO()
        values = np.random.default_rng(high).integers(0, high, (9, 9)).astype(np.uint16)
        Image.fromarray(values).save(file, "PNG")
        return file.getvalue()

    raw = read(config(stored(tmp_path, [deep(2**16), deep(2**12)]), data_backend=backend))
    assert raw.notes == (
        "2 images of 16 bits a channel: scaled to 8 bits by value / 257; 1 of them use 12 bits at most, and are dark: "
        "scale them before",
    )


def test_a_trusted_file_is_brought_to_the_same(tmp_path: Path) -> None:
    images = of_sizes([(30, 21)] * 30)
    images = [image_bytes(place, size=(30, 21)) for place in range(30)]
    path = stored(tmp_path / "data", images, "train")
    meta = stored(tmp_path, [*images[:4], image_bytes(90, size=(17, 44)), b"no"], "meta")
    splits = prepare(config(path, image_size=14, meta_data=str(meta), skip_broken=True), 0)
    assert splits.meta.inputs.shape == (3, 14, 14)
    assert len(splits.meta) == 5
    assert "left out 4 training samples that are in the meta set too (same content)" in splits.notes
    assert any("left out 1 image that can't be decoded" in note for note in splits.notes)


def test_a_trusted_file_has_no_margin_where_the_data_have_none(tmp_path: Path) -> None:
    """Copies would be resized in one place alone, and be taken for others."""
    images = [image_bytes(place, size=(14, 14)) for place in range(30)]
    path = stored(tmp_path / "data", images, "train")
    meta = stored(tmp_path, images[:4], "meta")
    splits = prepare(config(path, image_size=14, meta_data=str(meta)), 0)
    assert "left out 4 training samples that are in the meta set too (same content)" in splits.notes


@pytest.mark.parametrize(("name", "value"), [("image_size", 32), ("skip_broken", True)])
def test_features_have_no_size(tmp_path: Path, name: str, value: Any) -> None:
    path = write(tmp_path / "a.parquet", {"x": [1.0, 2.0], "label": [0, 1]})
    settings: dict[str, Any] = {name: value}
    with pytest.raises(UserError, match=f"{name} is {value}, but .* has no image column"):
        read(config(path, **settings))


def test_built_in_images_stay_as_they_are() -> None:
    assert read(DataConfig(image_size=8)).train.inputs.shape == (1, 8, 8)
    with pytest.raises(UserError, match="image_size is 32, but digits has images of 8×8"):
        read(DataConfig(image_size=32))


@pytest.mark.parametrize("backend", ["arrow", "ray"])
def test_a_cache_is_of_one_size_and_of_one_way_with_broken_ones(tmp_path: Path, backend: str) -> None:
    path = stored(tmp_path, [*of_sizes(SIZES), b"no"])
    for size in (14, 21, 14):
        inputs = images_of(read(config(path, image_size=size, skip_broken=True, data_backend=backend)))
        assert inputs.shape == (3, size, size)
        assert inputs.values[:].shape == (5, round(size * 8 / 7), round(size * 8 / 7), 3)
    with pytest.raises(
        UserError, match=r"can't be decoded .*; replace it, or leave all such images out: --skip-broken"
    ):
        read(config(path, image_size=14, data_backend=backend))
