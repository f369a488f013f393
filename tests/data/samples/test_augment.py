"""Augmentation by torchvision's policies: their own bytes, drawn from the generator alone."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset
from torchvision.transforms import v2

from ray_mentor import UserError
from ray_mentor.data.samples.augment import POLICIES, Augment, flip_shift
from ray_mentor.data.samples.dataset_inputs import DatasetInputs
from ray_mentor.data.samples.inputs import FeatureInputs, ImageInputs

SCALE = np.array([0.5, 0.4, 0.3], np.float32), np.array([0.2, 0.25, 0.3], np.float32)


def images(n: int = 12, channels: int = 3) -> tuple[ImageInputs, Tensor]:
    pixels = np.random.default_rng(0).integers(256, size=(n, 16, 16, channels), dtype=np.uint8)
    inputs = ImageInputs(pixels, (SCALE[0][:channels], SCALE[1][:channels]))
    return inputs, inputs.take(np.arange(n))


def drawn(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "policy"), [("randaugment", v2.RandAugment(2, 9)), ("trivialaugment", v2.TrivialAugmentWide())]
)
def test_it_is_torchvisions_policy_on_the_shifted_bytes(name: str, policy: v2.Transform, channels: int) -> None:
    inputs, fed = images(channels=channels)
    found = Augment(name)(fed, inputs, drawn())
    generator = drawn()
    moved = flip_shift(fed, generator)
    mean, std = (torch.from_numpy(part).reshape(-1, 1, 1) for part in inputs.scale)
    pixels = (255 * (moved * std + mean)).round().to(torch.uint8)
    seed = int(torch.randint(2**62, (1,), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        changed = torch.stack([policy(image) for image in pixels]).float()
    torch.testing.assert_close(found, (changed / 255 - mean) / std, rtol=1e-6, atol=1e-6)
    assert not torch.equal(changed, pixels.float()), "something is changed"
    assert found.is_contiguous(memory_format=torch.channels_last) == fed.is_contiguous(
        memory_format=torch.channels_last
    )


def test_bytes_come_back_as_they_were() -> None:
    """What is fed and turned to bytes again: no level is lost."""
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    inputs = ImageInputs(pixels, SCALE)
    fed = inputs.take(np.arange(1))
    mean, std = (torch.from_numpy(part).reshape(-1, 1, 1) for part in SCALE)
    assert torch.equal((255 * (fed * std + mean)).round().to(torch.uint8)[0, 0].flatten(), torch.arange(256).byte())


@pytest.mark.parametrize("name", POLICIES)
def test_it_depends_on_its_generator_alone_and_leaves_the_others(name: str) -> None:
    inputs, fed = images()
    before = torch.random.get_rng_state()
    one = Augment(name)(fed, inputs, drawn())
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)
    assert torch.equal(one, Augment(name)(fed, inputs, drawn()))
    assert not torch.equal(one, Augment(name)(fed, inputs, drawn(2)))


def test_flip_shift_alone() -> None:
    inputs, fed = images()
    assert torch.equal(Augment("flip-shift")(fed, inputs, drawn()), flip_shift(fed, drawn()))


def test_numbers_of_any_meaning_are_refused() -> None:
    inputs, _ = images()
    Augment("randaugment").check(inputs, inputs)
    own = DatasetInputs(TensorDataset(torch.rand(4, 3, 8, 8), torch.zeros(4).long()))
    with pytest.raises(UserError, match="augment is 'randaugment', which changes pixels from 0 to 255"):
        Augment("randaugment").check(inputs, own)
    Augment("flip-crop").check(own, own)
    with pytest.raises(UserError, match=r"augment is 'flip-crop', but it needs images, and the input has shape \(3,\)"):
        Augment("flip-crop").check(FeatureInputs(np.zeros((2, 3), np.float32)), inputs)


OWN = """
import random
import numpy as np
import torch

def dark(image):
    return image // 2

def noisy(image):
    noise = torch.rand(1) + random.random() + np.random.rand()
    return (image * noise / 3).to(torch.uint8)

def grey(image):
    return image[:1]

def floats(image):
    return image / 255

def fails(image):
    raise RuntimeError("no")

def nothing(image):
    pass
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(OWN)
    return tmp_path / "mine.py"


@pytest.mark.parametrize("channels", [1, 3])
def test_a_function_of_the_users_own_is_given_bytes(own: Path, channels: int) -> None:
    inputs, fed = images(channels=channels)
    augment = Augment.of("mine.py:dark")
    augment.check(inputs, inputs)
    own.unlink()  # a machine that lacks it
    found = augment(fed, inputs, drawn())
    assert isinstance(inputs.values, np.ndarray)
    dark = ImageInputs(inputs.values // 2, inputs.scale).take(np.arange(len(fed)))
    torch.testing.assert_close(found, dark, rtol=1e-6, atol=1e-6)


def test_its_draws_depend_on_the_generator_alone(own: Path) -> None:
    inputs, fed = images()
    states = torch.random.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    found = Augment.of("mine.py:noisy")(fed, inputs, drawn())
    assert torch.equal(torch.random.get_rng_state(), states[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states[1:]  # noqa: NPY002
    torch.rand(2), np.random.rand(2), random.random()  # noqa: NPY002
    assert torch.equal(found, Augment.of("mine.py:noisy")(fed, inputs, drawn()))
    assert not torch.equal(found, Augment.of("mine.py:noisy")(fed, inputs, drawn(2)))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mine.py:grey", "augment 'mine.py:grey' returns a torch.uint8 of shape (1, 16, 16), but it must return what"),
        ("mine.py:floats", "augment 'mine.py:floats' returns a torch.float32 of shape (3, 16, 16), but it must return"),
        ("mine.py:nothing", "augment 'mine.py:nothing' returns None, but it must return what it was given"),
        ("mine.py:fails", "augment 'mine.py:fails' fails: RuntimeError: no ("),
        ("mine.py:absent", "augment 'mine.py:absent' has no function 'absent'; it has dark, noisy, grey"),
        ("their.py:dark", "there is no augment file 'their.py'; give FILE.py:FUNCTION"),
        ("no_such_module:dark", "module 'no_such_module' of an augment can't be imported"),
    ],
)
def test_what_is_wrong_with_it_is_said_before_the_run(own: Path, name: str, text: str) -> None:
    inputs, _ = images()
    with pytest.raises(UserError, match=re.escape(text)):
        Augment.of(name).check(inputs, inputs)
