"""Random crops, against torchvision's own crop of the same box, and its own draws."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import v2

from ray_mentor.data import ImageInputs, Samples
from ray_mentor.data.samples.augment import Augment
from ray_mentor.data.samples.crops import AREA, RATIO, cropped, flip_crop, random_boxes
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.storage.on_device import on_device

SCALE = np.array([0.5, 0.4, 0.3], np.float32), np.array([0.2, 0.25, 0.3], np.float32)


def drawn(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(n: int = 24, side: int = 32, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(256, size=(n, side, side, channels), dtype=np.uint8)


def shown(n: int = 24, side: int = 32) -> Tensor:
    return torch.from_numpy(pixels(n, side)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_crop_is_torchvisions_of_the_same_box(kind: torch.dtype, threads: int) -> None:
    images = shown().to(kind)
    boxes = random_boxes(24, 32, 32, drawn())
    mirrored = torch.arange(24) % 3 == 0
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = cropped(images, boxes, mirrored, (28, 20))
    finally:
        torch.set_num_threads(before)
    for place, (top, left, height, width) in enumerate(boxes.tolist()):
        expected = v2.functional.resized_crop(images[place], top, left, height, width, [28, 20], antialias=True)
        expected = v2.functional.horizontal_flip(expected) if mirrored[place] else expected
        assert torch.equal(found[place], expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("height", "width"), [(256, 256), (30, 200), (200, 30), (8, 8), (1, 300)])
def test_boxes_are_drawn_as_torchvisions_are(height: int, width: int) -> None:
    """Two samples of four thousand: means of top, left, height and width differ by less than four standard errors."""
    count = 4000
    found = random_boxes(count, height, width, drawn()).double()
    assert (found[:, :2] >= 0).all()
    assert (found[:, 2:] >= 1).all()
    assert (found[:, 0] + found[:, 2] <= height).all()
    assert (found[:, 1] + found[:, 3] <= width).all()
    torch.manual_seed(0)
    image = torch.empty(1, height, width)
    transform: Any = v2.RandomResizedCrop(8, scale=AREA, ratio=RATIO)
    params = [transform.make_params([image]) for _ in range(count)]
    theirs = torch.tensor([[each[name] for name in ("top", "left", "height", "width")] for each in params]).double()
    for statistic in (lambda x: x, torch.square):
        a, b = statistic(found), statistic(theirs)
        error = ((a.var(0) + b.var(0)) / count).sqrt()
        assert ((a.mean(0) - b.mean(0)).abs() <= 4 * error + 1e-9).all()


def test_all_of_an_area_and_a_ratio_are_drawn() -> None:
    boxes = random_boxes(4000, 256, 256, drawn()).double()
    share = boxes[:, 2] * boxes[:, 3] / 256**2
    ratio = boxes[:, 3] / boxes[:, 2]
    assert (share.min(), share.max()) == pytest.approx((0.08, 1), abs=0.02)
    assert (ratio.min().log(), ratio.max().log()) == pytest.approx((math.log(3 / 4), math.log(4 / 3)), abs=0.02)


def test_it_is_drawn_from_its_generator_alone_and_each_image_by_itself() -> None:
    images = shown(1, 32).expand(24, -1, -1, -1)
    one = flip_crop(images, (28, 28), drawn())
    torch.rand(3)
    assert torch.equal(one, flip_crop(images, (28, 28), drawn()))
    assert not torch.equal(one, flip_crop(images, (28, 28), drawn(2)))
    assert len({each.numpy().tobytes() for each in one}) == 24


def samples(side: int | None, stored: int = 32) -> Samples:
    inputs = ImageInputs(pixels(side=stored), SCALE, side=side)
    return Samples(inputs, np.arange(24), np.zeros(24, np.int64), None, ("a",))


ROWS: Rows = np.array([3, 0, 20, 7])


@pytest.mark.parametrize("side", [28, None])
def test_crops_are_of_what_is_stored_and_of_the_size_that_is_fed(side: int | None) -> None:
    augment, own = Augment("flip-crop"), samples(side)
    train, trusted = augment.before(own, own)
    assert trusted is not None
    assert train.inputs.shape == trusted.inputs.shape == (3, 32, 32)
    taken = train.inputs.take(ROWS)
    assert taken.dtype == torch.uint8
    found = augment(taken, own.inputs, drawn())
    size = (32, 32) if side is None else (28, 28)
    assert found.shape == (4, *own.inputs.shape) == (4, 3, *size)
    generator = drawn()
    boxes = random_boxes(4, 32, 32, generator)
    mirrored = torch.randint(0, 2, (4,), generator=generator).bool()
    bytes_ = cropped(taken, boxes, mirrored, size)
    mean, std = (torch.from_numpy(part).reshape(-1, 1, 1) for part in SCALE)
    torch.testing.assert_close(found, (bytes_ / 255 - mean) / std, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["none", "flip-shift", "randaugment", "mine:dark"])
def test_all_else_is_of_the_middle(name: str) -> None:
    own = samples(28)
    train, trusted = Augment(name).before(own, None)
    assert (train, trusted) == (own, None)
    middle = ImageInputs(np.ascontiguousarray(pixels()[:, 2:30, 2:30]), SCALE)
    assert torch.equal(train.inputs.take(ROWS), middle.take(ROWS))


def test_where_the_trusted_ones_are_stored_otherwise_crops_are_of_what_is_fed() -> None:
    augment, own = Augment("flip-crop"), samples(28)
    train, _ = augment.before(own, samples(28, stored=28))
    fed = train.inputs.take(ROWS)
    assert fed.dtype == torch.float32
    assert augment(fed, own.inputs, drawn()).shape == (4, 3, 28, 28)


def test_what_lies_on_a_device_is_cropped_there() -> None:
    own = samples(28)
    held = on_device(own, torch.device("cpu"))
    augment = Augment("flip-crop")
    a, b = (augment.before(each, own)[0].inputs.take(ROWS) for each in (own, held))
    assert torch.equal(a, b)
    assert torch.equal(augment(a, own.inputs, drawn()), augment(b, own.inputs, drawn()))


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc, by which threads are counted")
def test_threads_that_crop_start_no_others(tmp_path: Path) -> None:
    """Of PyTorch's, a thread that copies or flips has as many as the process has, and they wait at full speed."""
    script = tmp_path / "cropping.py"
    script.write_text(
        "import os, torch\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from ray_mentor.data.readers.pictures.decode import square\n"
        "from ray_mentor.data.samples import crops\n"
        "torch.set_num_threads(4)\n"
        "torch.get_num_threads = lambda: 1  # crops are made where they are asked for\n"
        "images = torch.zeros(1, 256, 256, 3, dtype=torch.uint8)\n"
        "made = torch.zeros(1, 224, 224, 3, dtype=torch.uint8)\n"
        "def work(_):\n"
        "    crops._fill_bytes(made, images, [[5, 6, 200, 230]])\n"
        "    square(images[0].numpy()[:, :250], 200)\n"
        "with ThreadPoolExecutor(2) as pool:\n"
        "    list(pool.map(lambda _: sum(range(10**5)), range(20)))\n"
        "    before = len(os.listdir('/proc/self/task'))\n"
        "    list(pool.map(work, range(20)))\n"
        "    print(len(os.listdir('/proc/self/task')) - before)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 0
