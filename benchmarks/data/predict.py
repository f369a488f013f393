"""``ray-mentor predict`` beside a plain loop over the same Parquet: CPU seconds of one process, as a ratio.

    .venv/bin/python benchmarks/data/predict.py

The plain loop reads record batches with pyarrow, decodes with Pillow, normalises, calls the student under
``torch.no_grad()``, and writes class, probability and entropy. Both write the same predictions, which is checked.
"""

from __future__ import annotations

import argparse
import functools
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import nn

from ray_mentor import cli
from ray_mentor.core.student.threads import threads_for
from ray_mentor.data import FeatureInputs, ImageInputs, Samples
from ray_mentor.run.checkpoint.kept import KeptState
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.trained.about import About, build_of
from ray_mentor.run.trained.fed import Input
from ray_mentor.run.trained.student import read_about
from ray_mentor.run.trained.trained_on import TrainedOn
from ray_mentor.run.trained.written import write_student
from ray_mentor.students import make_student

BATCH = 256
CLASSES = tuple(map(str, range(10)))


def images(count: int, side: int, draw: np.random.Generator) -> tuple[ImageInputs, pa.Table]:
    """JPEGs of noise that is smooth, as photographs are."""
    coarse = draw.integers(0, 256, (count, side // 8, side // 8, 3), np.uint8)
    encoded, pixels = [], np.empty((min(count, 64), side, side, 3), np.uint8)
    for place, image in enumerate(coarse):
        sink, whole = io.BytesIO(), Image.fromarray(image).resize((side, side))
        whole.save(sink, "JPEG", quality=90)
        encoded.append(sink.getvalue())
        if place < len(pixels):
            pixels[place] = np.asarray(whole)
    return ImageInputs(pixels), pa.table({"image": encoded})


def features(count: int, width: int, draw: np.random.Generator) -> tuple[FeatureInputs, pa.Table]:
    """A table of numbers."""
    values = draw.normal(3, 2, (count, width)).astype(np.float32)
    return FeatureInputs(values), pa.table({f"x{place}": values[:, place] for place in range(width)})


def left_by(path: Path, inputs: Any, name: str) -> nn.Module:
    """A run's folder with a fresh student."""
    count = len(inputs)
    scaled = inputs.scaled(inputs.statistics())
    samples = Samples(scaled, np.arange(count), np.arange(count) % 10, None, CLASSES)
    build = functools.partial(make_student, name, samples.inputs.shape, len(CLASSES))
    torch.manual_seed(0)
    module = build().eval()
    names = tuple(f"x{place}" for place in range(scaled.shape[0])) if isinstance(inputs, FeatureInputs) else ()
    directory = RunDirectory(str(path))
    directory.create(("student",))
    (path / "config.toml").write_text("epochs = 1\n")
    state = _State(dict(module.state_dict()))
    about = About("b", build_of(build), CLASSES, Input.of(samples, names), 1, 1, True)
    write_student(directory, about, state, build, TrainedOn.of([samples]))
    return module


class _State:
    """What the writer needs of a run's state."""

    kept: KeptState | None = None
    average = None

    def __init__(self, student: dict[str, torch.Tensor]) -> None:
        self.student = student
        self.log = self.curriculum = self
        self.metrics: list[dict[str, float | None]] = [{"epoch": 0.0}]
        self.step = 1


def raw_of(file: Path) -> Iterator[torch.Tensor]:
    """What a person writes: a batch at a time."""
    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(BATCH):
            if "image" in batch.schema.names:
                decoded = [np.asarray(Image.open(io.BytesIO(each.as_py())).convert("RGB")) for each in batch.column(0)]
                yield torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).float() / 255
            else:
                yield torch.from_numpy(np.stack([column.to_numpy() for column in batch.columns], axis=1))


@torch.no_grad()
def plain(file: Path, module: nn.Module, fed: Input, out: Path) -> None:
    """The loop."""
    shape = (1, -1) if fed.kind == "features" else (1, -1, 1, 1)
    mean, std = (torch.tensor(each).reshape(shape) for each in (fed.mean, fed.std))
    tables = []
    with threads_for(module, fed.shape, BATCH):
        for raw in raw_of(file):
            p = torch.softmax(module((raw - mean) / std), dim=1)
            probability, place = p.max(dim=1)
            entropy = -(p * p.clamp_min(1e-30).log()).sum(dim=1)
            columns = {"class": place, "probability": probability, "entropy": entropy}
            tables.append(pa.table({name: column.numpy() for name, column in columns.items()}))
    pq.write_table(pa.concat_tables(tables), out)


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process, all threads."""
    before = time.process_time()
    work()
    return time.process_time() - before


def measure(name: str, made: tuple[Any, pa.Table], student: str, repeats: int) -> None:
    """One line: the ratio of the medians."""
    inputs, table = made
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        pq.write_table(table, folder / "new.parquet")
        module = left_by(folder / "run", inputs, student)
        fed = read_about(RunDirectory(str(folder / "run"))).input
        ours, theirs = [], []
        for turn in range(repeats + 1):
            out = folder / f"{turn}.parquet"
            words = ["predict", str(folder / "run"), "--data", str(folder / "new.parquet"), "--out", str(out)]
            mine = seconds(lambda words=words: cli.main([*words, "--workers", "0"]))
            his = seconds(lambda: plain(folder / "new.parquet", module, fed, folder / "plain.parquet"))
            if turn:  # the first loads modules
                ours.append(mine)
                theirs.append(his)
        found, expected = pq.read_table(out), pq.read_table(folder / "plain.parquet")
        differ = np.abs(found["probability"].to_numpy() - expected["probability"].to_numpy()).max()
        one, other = statistics.median(ours), statistics.median(theirs)
        took = f"predict {one:.2f} s, plain loop {other:.2f} s, ratio {one / other:.2f}"
        print(f"{name}: {took} (probabilities differ by {differ:.0e})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    draw = np.random.default_rng(0)
    measure("100,000 rows of 64 features, mlp", features(100_000, 64, draw), "mlp", asked.repeats)
    measure("5,000 JPEGs of 32x32, cnn", images(5_000, 32, draw), "cnn", asked.repeats)
    name = "torchvision:mobilenet_v3_small"
    measure(f"400 JPEGs of 224x224, {name}", images(400, 224, draw), name, asked.repeats)


if __name__ == "__main__":
    main()
