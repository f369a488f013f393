"""Trained students that nobody trained: a run's folder with params that are known."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from ray_mentor.data import FeatureInputs, ImageInputs, Samples
from ray_mentor.run.checkpoint.kept import KeptState
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.trained.about import About, build_of, code_of
from ray_mentor.run.trained.fed import Input
from ray_mentor.run.trained.trained_on import TrainedOn
from ray_mentor.run.trained.written import write_student
from ray_mentor.students import make_student

CLASSES = ("ape", "bee", "cow")
NAMES = ("a", "b", "c", "d")
FEATURES = np.random.default_rng(1).normal(5, 3, (600, 4)).astype(np.float32)
"""What the commands are tested on, and what the features are called."""


def images(shape: tuple[int, int, int] = (8, 8, 3), count: int = 7) -> np.ndarray:
    """uint8 (N, H, W, C)."""
    return np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)


def image_samples(pixels: np.ndarray) -> Samples:
    """As a run scales them."""
    inputs = ImageInputs(pixels)
    count = len(pixels)
    return Samples(inputs.scaled(inputs.statistics()), np.arange(count), np.arange(count) % 3, None, CLASSES)


def feature_samples(values: np.ndarray) -> Samples:
    """Likewise."""
    inputs = FeatureInputs(values)
    count = len(values)
    return Samples(inputs.scaled(inputs.statistics()), np.arange(count), np.arange(count) % 3, None, CLASSES)


def named(samples: Samples, name: str = "cnn") -> Callable[[], nn.Module]:
    """What builds a student of the package."""
    return functools.partial(make_student, name, tuple(samples.inputs.shape), len(samples.classes))


def left_by(
    path: Path,
    samples: Samples,
    build: Callable[[], nn.Module],
    module: nn.Module,
    *,
    names: tuple[str, ...] = (),
    students: int = 1,
    finished: bool = True,
    kept: KeptState | None = None,
    trained_on: Samples | None = None,
) -> str:
    """A run's folder with this module as its trained student."""
    directory = RunDirectory(str(path))
    directory.create(())
    path.mkdir(exist_ok=True)
    (path / "config.toml").write_text("epochs = 4\nlabel_column = 'label'\n")
    about = About(
        "named", build_of(build), samples.classes, Input.of(samples, names), students, 4, finished, code=code_of(build)
    )
    metrics = [{"epoch": float(epoch), "test_accuracy": 0.1 * epoch} for epoch in range(4)]
    state: Any = SimpleNamespace(
        student=dict(module.state_dict()),
        kept=kept,
        log=SimpleNamespace(metrics=metrics),
        average=None,
        curriculum=SimpleNamespace(step=40),
    )
    write_student(directory, about, state, build, None if trained_on is None else TrainedOn.of([trained_on]))
    return str(path)


def seeded(build: Callable[[], nn.Module], seed: int = 3) -> nn.Module:
    """A student whose params, and running statistics, are not what a fresh one has."""
    torch.manual_seed(seed)
    module = build()
    for name, buffer in module.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    return module.eval()
