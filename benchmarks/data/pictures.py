"""Photographs of any size, decoded and cropped at random: beside torchvision's ImageFolder and a DataLoader.

    python benchmarks/data/pictures.py                      # 2,000 generated JPEGs, three pairs: minutes
    python benchmarks/data/pictures.py --images 50000 --pairs 1 --backends arrow --folder JPEGS     # 1.8 GB, and 10
    python benchmarks/data/pictures.py --draft              # what reducing large JPEGs in their decoder changes

Generated JPEGs of 300 to 500 pixels a side (smooth shapes and noise, quality 85), in one folder a class. The DataLoader
has a process a core and the usual transforms of a training at 224: RandomResizedCrop, RandomHorizontalFlip, bytes to
floats, Normalize. We have a thread a core, and do what a run does: read the folder with ``--image-size 224``, tell
duplicates and scale, and take an epoch's shuffled batches with ``--augment flip-crop``; nobody trains. All in one
process, in pairs, one after the other, each pair in another order; printed are seconds and CPU seconds (children's
among them) of ours over the DataLoader's, the median pair and all. Later epochs decode nothing. ``arrow`` writes its
file in the first epoch. Past the first 2,000, images are earlier ones, rolled sideways.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from ray_mentor.config import DataConfig
from ray_mentor.core.exchange import Alone
from ray_mentor.data import ImageInputs, Samples
from ray_mentor.data.plan.batches import Plan
from ray_mentor.data.plan.order import Shuffled
from ray_mentor.data.readers import read
from ray_mentor.data.readers.pictures.decode import decode, open_image
from ray_mentor.data.samples.augment import Augment
from ray_mentor.run.batch_of import batch_of

SIDE, BATCH, CLASSES = 224, 64, 10
SIDES = 300, 501
DRAWN = 2000
BACKENDS = ("memory", "arrow")
Seconds = tuple[float, float]
"""On the clock, and of the CPU."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS, help="(default %(default)s)")
    parser.add_argument("--folder", type=Path, help="where images are made, or lie from before (default one that goes)")
    parser.add_argument("--draft", action="store_true", help="how far reduced JPEGs are from whole ones, instead")
    options = parser.parse_args()
    if options.draft:
        compare_reduced()
        return
    cores = os.cpu_count() or 1
    torch.set_num_threads(cores)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        size = generate(folder / "photos", options.images)
        print(f"{options.images:,} JPEGs, {size / options.images / 1000:.0f} kB each; {cores} processes or threads")
        compare(folder, options.backends, options.pairs, cores)


def compare(folder: Path, backends: Sequence[str], pairs: int, cores: int) -> None:
    """Prints ratios to the DataLoader's epochs, pair by pair."""
    ratios: dict[str, list[Seconds]] = {}
    names = ("loader", *backends)
    for pair in range(pairs):
        found = {name: measured(folder, name, pair, cores) for name in (names if pair % 2 else names[::-1])}
        (base,) = found.pop("loader")
        for name, epochs in found.items():
            for epoch, seconds in zip(("first epoch", "later epoch"), epochs, strict=True):
                ratio = seconds[0] / base[0], seconds[1] / base[1]
                ratios.setdefault(f"{name}, {epoch}", []).append(ratio)
    for name, each in ratios.items():
        clock, cpu = (statistics.median(part) for part in zip(*each, strict=True))
        every = "  ".join(f"{a:.2f}/{b:.2f}" for a, b in each)
        print(f"{name:20} {clock:.2f} of the DataLoader's seconds, {cpu:.2f} of its CPU seconds   ({every})")


def measured(folder: Path, name: str, pair: int, cores: int) -> list[Seconds]:
    """Of each epoch."""
    if name == "loader":
        return [timed(lambda: loaded(folder / "photos", cores))]
    return ours(folder, name, pair)


def loaded(photos: Path, processes: int) -> None:
    """An epoch of the DataLoader."""
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(SIDE),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    data = ImageFolder(photos, transform)
    for images, _ in DataLoader(data, BATCH, shuffle=True, num_workers=processes):
        assert images.shape[1:] == (3, SIDE, SIDE)


def ours(folder: Path, backend: str, pair: int) -> list[Seconds]:
    """Two epochs; the first from the files on."""
    config = DataConfig(
        data=str(folder / "photos"), image_size=SIDE, data_backend=backend, data_cache=str(folder / f"cache{pair}")
    )
    held: list[Samples] = []
    augment = Augment("flip-crop")

    def first() -> None:
        samples = read(config).train
        assert isinstance(samples.inputs, ImageInputs)
        assert len(set(samples.inputs.content_hashes())) == len(samples)
        held.append(samples.with_inputs(samples.inputs.scaled(samples.inputs.statistics())))
        epoch(held[0], augment, 0)

    return [timed(first), timed(lambda: epoch(held[0], augment, 1))]


def epoch(samples: Samples, augment: Augment, seed: int) -> None:
    """As a worker goes through it, without a student."""
    train, _ = augment.before(samples, None)
    plan = Plan(Shuffled(len(samples)), BATCH, seed, 1)
    for _, rows, _ in plan.steps(0):
        batch = batch_of(train, rows, Alone(), (0,))
        assert isinstance(batch.inputs, torch.Tensor)
        shown = augment(batch.inputs, samples.inputs, torch.Generator().manual_seed(int(rows[0])))
        assert shown.shape[1:] == (3, SIDE, SIDE)


def timed(work: Callable[[], None]) -> Seconds:
    """Of a piece of work, its children included."""
    clock, cpu = time.perf_counter(), cpu_seconds()
    work()
    return time.perf_counter() - clock, cpu_seconds() - cpu


def cpu_seconds() -> float:
    """Of this process, and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def generate(folder: Path, count: int) -> int:
    """Writes those that are not there; the bytes of all together."""
    firsts = range(min(count, DRAWN))
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        return sum(pool.map(write, [folder] * len(firsts), firsts, [count] * len(firsts), chunksize=32))


def write(folder: Path, first: int, count: int) -> int:
    """One of them, and those that are it, rolled; their bytes."""
    files = [folder / f"class{number % CLASSES}" / f"{number}.jpg" for number in range(first, count, DRAWN)]
    if not all(file.exists() for file in files):
        width, height = np.random.default_rng([first, 1]).integers(*SIDES, 2).tolist()
        pixels = photograph(first, width, height)
        for turn, file in enumerate(files):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(as_jpeg(np.roll(pixels, 7 * turn, axis=1)))
    return sum(file.stat().st_size for file in files)


def photograph(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """Shapes at three scales with noise."""
    draw = np.random.default_rng(number)
    layers = [shapes(draw, width, height, grain) for grain in (120, 40, 12)]
    noise = draw.normal(0, 6, (height, width, 3))
    return (128 + sum(layers) / 2 + noise).clip(0, 255).astype(np.uint8)


def as_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=85)
    return content.getvalue()


def shapes(draw: np.random.Generator, width: int, height: int, grain: int) -> NDArray[np.float64]:
    """Smooth ones, about ``grain`` pixels large, from -128 to 127."""
    few = draw.integers(0, 256, (height // grain + 2, width // grain + 2, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(few).resize((width, height), Image.Resampling.BICUBIC), np.float64) - 128


def compare_reduced() -> None:
    """Prints how far squares of 256 from large JPEGs are from those of the same images decoded whole, in levels."""
    for width, height in ((1200, 900), (2048, 1536), (4000, 3000)):
        differences, seconds = [], {"whole": 0.0, "reduced": 0.0}
        for number in range(4):
            data = as_jpeg(photograph(number, width, height))
            made = {}
            for name in seconds:
                began = time.process_time()
                image = open_image(data)
                if name == "whole":
                    image.format = None  # so that nobody reduces it
                made[name], _ = decode(image, 256)
                seconds[name] += time.process_time() - began
            differences.append(np.abs(made["whole"].astype(int) - made["reduced"]))
        levels = np.stack(differences)
        print(
            f"{width}x{height}: mean {levels.mean():.2f}, 99th percentile {np.percentile(levels, 99):.0f}, most "
            f"{levels.max()} of 255; {seconds['reduced'] / seconds['whole']:.2f} of the CPU seconds"
        )


if __name__ == "__main__":
    main()
