import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from small_data import image_bytes, write
from torch.utils.data import TensorDataset

from ray_mentor.config import DataConfig
from ray_mentor.data import DatasetInputs, FeatureInputs, ImageInputs
from ray_mentor.data.readers import read
from ray_mentor.data.samples.inputs import moments
from ray_mentor.errors import UserError


class Listed(torch.utils.data.Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def read_only(values):
    values.setflags(write=False)
    return values


def features(folder):
    return FeatureInputs(read_only(np.random.default_rng(0).standard_normal((10, 4)).astype(np.float32)))


def images(folder):
    return ImageInputs(read_only(np.random.default_rng(0).integers(0, 256, (10, 4, 6, 3), dtype=np.uint8)))


def mapped_features(folder):
    values = np.random.default_rng(0).standard_normal((10, 4)).astype(np.float32)
    return mapped(folder, {**dict(zip("abcd", values.T, strict=True)), "label": [0] * 10})


def mapped_images(folder):
    return mapped(folder, {"image": [image_bytes(i, (6, 4)) for i in range(10)], "label": [0] * 10})


def mapped_grey_images_in_colour(folder):
    return mapped(folder, {"image": [image_bytes(i, mode="L") for i in range(10)], "label": [0] * 10}).in_colour()


def mapped(folder, columns):
    path = write(folder / "a.parquet", columns)
    return read(DataConfig(data=str(path), data_backend="arrow", data_cache=str(folder))).train.inputs


def dataset(folder):
    values = torch.randn(10, 3, 4, generator=torch.Generator().manual_seed(0))
    return DatasetInputs(TensorDataset(values, torch.zeros(10)))


MAKERS = [features, images, mapped_features, mapped_images, mapped_grey_images_in_colour, dataset]
ALL = pytest.mark.parametrize("make", MAKERS)


@ALL
def test_every_member_keeps_the_contract(make, tmp_path):
    inputs = make(tmp_path)
    rows = np.array([7, 2, 2])
    taken = inputs.take(rows)
    assert len(inputs) == 10
    assert taken.shape == (3, *inputs.shape)
    assert taken.dtype == torch.float32
    assert taken.is_contiguous() or taken.is_contiguous(memory_format=torch.channels_last)
    chosen = inputs.select(rows)
    assert len(chosen) == 3
    assert torch.equal(chosen.take(np.arange(3)), taken)
    assert inputs.take(np.array([], np.int64)).shape == (0, *inputs.shape)
    taken.zero_()  # the caller owns it
    assert not torch.equal(inputs.take(rows), taken)


@ALL
def test_every_member_hashes_content_and_survives_pickling(make, tmp_path):
    inputs = make(tmp_path)
    hashes = inputs.content_hashes()
    assert len(set(hashes.tolist())) == 10
    assert (inputs.select(np.array([3, 3])).content_hashes() == hashes[3]).all()
    copy = pickle.loads(pickle.dumps(inputs))  # noqa: S301  our own bytes
    assert (copy.content_hashes() == hashes).all()
    assert torch.equal(copy.take(np.arange(10)), inputs.take(np.arange(10)))


@pytest.mark.parametrize("make", [images, mapped_images, mapped_grey_images_in_colour])
def test_images_are_scaled_per_channel_into_channels_first(make, tmp_path):
    inputs = make(tmp_path)
    mean, std = inputs.statistics()
    x = inputs.values[:] / 255
    np.testing.assert_allclose(mean, x.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(std, x.std((0, 1, 2)), rtol=1e-6)
    taken = inputs.scaled((mean, std)).take(np.arange(10)).numpy()
    np.testing.assert_allclose(taken, ((x - mean) / std).transpose(0, 3, 1, 2), atol=1e-5)
    assert (inputs.scaled((mean, std)).content_hashes() == inputs.content_hashes()).all()


def test_features_are_scaled_and_a_constant_one_does_not_divide_by_zero():
    values = np.stack([np.arange(5.0), np.full(5, 0.3)], 1).astype(np.float32)
    inputs = FeatureInputs(values)
    taken = inputs.scaled(inputs.statistics()).take(np.arange(5))
    torch.testing.assert_close(taken[:, 0].std(correction=0), torch.tensor(1.0))
    torch.testing.assert_close(taken[:, 1], torch.zeros(5))


def test_minus_zero_is_the_same_content_as_zero():
    a, b = FeatureInputs(np.array([[0.0], [-0.0]], np.float32)).content_hashes()
    assert a == b


def test_a_pil_image_from_a_dataset_is_explained():
    with pytest.raises(
        UserError,
        match=re.escape(
            "dataset[0] gives a PIL image as input, but it must be a tensor; add ToTensor() to the data set's transform"
        ),
    ):
        DatasetInputs(Listed([(Image.new("L", (4, 4)), 0)]))


def test_a_strange_input_from_a_dataset_is_explained():
    with pytest.raises(UserError, match=re.escape("dataset[0] gives a str as input, but it must be a tensor; convert")):
        DatasetInputs(Listed([("text", 0)]))


def test_inputs_of_different_shapes_are_explained():
    inputs = DatasetInputs(Listed([(torch.zeros(2), 0), (np.zeros(3), 0)]))
    with pytest.raises(
        UserError, match=re.escape("must have one shape, but dataset[1] gives (3,) and dataset[0] (2,)")
    ):
        inputs.take(np.array([0, 1]))


@pytest.mark.long
def test_importing_the_layer_leaves_heavy_modules_and_ray_alone():
    code = "import sys, ray_mentor.data; print([m for m in ('ray', 'sklearn', 'torchvision') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("shape", [(3, 700, 5, 3), (2, 256, 9, 1), (300, 4, 4, 3), (0, 8, 8, 3)])
@pytest.mark.parametrize("kind", ["white", "any"])
def test_moments_are_exact(shape, kind):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8) if kind == "any" else np.full(shape, 255, "u1")
    wide = pixels.astype(np.int64)
    assert np.array_equal(moments(pixels), np.stack([wide.sum((1, 2)), (wide**2).sum((1, 2))], axis=1))
