"""Augmentation by torchvision's policies: their own bytes, drawn from the generator alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from ray_mentor import UserError
from ray_mentor.data.samples.augment import POLICIES, augmented, check_are_pixels, flip_shift
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
    found = augmented(name, fed, inputs.scale, drawn())
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
    one = augmented(name, fed, inputs.scale, drawn())
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)
    assert torch.equal(one, augmented(name, fed, inputs.scale, drawn()))
    assert not torch.equal(one, augmented(name, fed, inputs.scale, drawn(2)))


def test_flip_shift_alone() -> None:
    _, fed = images()
    assert torch.equal(augmented("flip-shift", fed, None, drawn()), flip_shift(fed, drawn()))


def test_numbers_of_any_meaning_are_refused() -> None:
    inputs, _ = images()
    check_are_pixels("randaugment", inputs, inputs)
    with pytest.raises(UserError, match="augment is 'randaugment', which changes pixels from 0 to 255"):
        check_are_pixels("randaugment", inputs, FeatureInputs(np.zeros((2, 3), np.float32)))
