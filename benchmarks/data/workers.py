"""What `data_workers` is worth: a torchvision ImageFolder of JPEGs, read by the training thread or ahead of it.

    python benchmarks/data/workers.py

Runs in one process take turns, as many with readers as without. A step's device is stood for by a wait, which takes no
CPU, as a GPU's host waits; a network's storage by a wait for each file. Prints seconds an epoch, the first one aside.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms

from ray_mentor import CurriculumConfig, CurriculumTrainer, MentorConfig

SIDE, CLASSES = 64, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=640, help="of 256x256, to train on (default 640)")
    parser.add_argument("--readers", type=int, default=2, help="data_workers, where there are some (default 2)")
    parser.add_argument("--step", type=float, default=200, help="milliseconds of a step's device (default 200)")
    parser.add_argument("--file", type=float, default=0, help="milliseconds until a file is there (default 0)")
    parser.add_argument("--turns", type=int, default=3, help="runs with, and without readers (default 3)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for name, count in (("train", options.images), ("meta", 40), ("test", 80)):
            write_images(Path(folder, name), count)
        runs = [(readers, turn) for turn in range(options.turns) for readers in (0, options.readers)]
        took: dict[int, list[float]] = {0: [], options.readers: []}
        for readers, turn in runs:
            took[readers] += epochs_of(Path(folder), readers, turn, options.step / 1000, options.file / 1000)
    medians = {readers: statistics.median(seconds) for readers, seconds in took.items()}
    for readers, seconds in took.items():
        print(f"data_workers {readers}: {medians[readers]:.2f} s an epoch ({min(seconds):.2f} to {max(seconds):.2f})")
    print(f"ratio {medians[0] / medians[options.readers]:.2f}")


def write_images(folder: Path, count: int) -> None:
    draw = np.random.default_rng(count)
    for number in range(count):
        small = draw.integers(0, 255, (16, 16, 3), dtype=np.uint8)
        (folder / str(number % CLASSES)).mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(small).resize((256, 256), Image.Resampling.BICUBIC)
        image.save(folder / str(number % CLASSES) / f"{number}.jpg", quality=90)


def epochs_of(folder: Path, readers: int, turn: int, step: float, file: float) -> list[float]:
    """Seconds of each epoch of a run, the first one aside."""
    shaken = transforms.Compose(
        [transforms.RandomResizedCrop(SIDE), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    )
    plain = transforms.Compose([transforms.Resize(72), transforms.CenterCrop(SIDE), transforms.ToTensor()])

    def loaded(path: str) -> Image.Image:
        time.sleep(file)
        return torchvision.datasets.folder.default_loader(path)  # type: ignore[return-value]

    parts = [
        torchvision.datasets.ImageFolder(str(folder / name), transform, loader=loaded)
        for name, transform in (("train", shaken), ("meta", plain), ("test", plain))
    ]
    outcome = CurriculumTrainer(
        student=lambda: Student(step),
        data=parts[0],
        meta=parts[1],
        test=parts[2],
        epochs=4,
        batch_size=32,
        data_workers=readers,
        workers=0,
        storage_path=str(folder / "runs"),
        run_name=f"{readers}-{turn}",
        mentor=MentorConfig(update_interval=20, meta_batch_size=20),
        curriculum=CurriculumConfig(mixing="none"),
    ).fit()
    ends = [row["train_seconds"] or 0.0 for row in outcome.metrics]
    return np.diff(ends).tolist()


class Student(nn.Module):
    """Small, and as slow as it is told to be."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 5, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, CLASSES)
        )

    def forward(self, images: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled():
            time.sleep(self.seconds)
        logits: Tensor = self.layers(images)
        return logits


if __name__ == "__main__":
    main()
