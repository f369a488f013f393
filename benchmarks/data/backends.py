"""What holding a run's data costs with each ``--data-backend``: start, memory of each process, rows a second.

    python benchmarks/data/backends.py                          # a million generated images: minutes, 12 GB of disk
    python benchmarks/data/backends.py --rows 100000 --backends memory arrow
    python benchmarks/data/backends.py --data FOLDER_OF_PARQUET --backends memory ray

Noise of 32x32 pixels in colour, stored as BMP, which decodes fastest, in Parquet files of 50,000. For each backend a
process of its own does what a run does: it prepares the splits (the first time; of arrow the cache is empty), starts
Ray, puts the splits into the object store, and one, then two workers read their shares of shuffled batches of 128,
without a student (0 workers: the process itself reads, without Ray). Another process prepares the splits once more.
Rows are counted from the first batch on, which of ``ray`` a pipeline has to start for. CPU seconds depend less than
seconds on what else the machine does; they are the reader's own, so of ``ray`` without the tasks that decode. Memory is
what Linux says of a process beyond what it had before it saw any data: `own` belongs to it alone and can't be dropped
(anonymous pages), `mapped` is the rest of what it has in memory, the files and Ray's object store, which all processes
of the machine share.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from rich.console import Console
from rich.table import Table

from ray_mentor.config import BACKENDS, DataConfig

FILE_ROWS = 50_000
BATCH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--backends", nargs="+", default=list(BACKENDS), choices=BACKENDS)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2], help="that read at the same time")
    parser.add_argument("--seconds", type=float, default=15.0, help="for which rows are read")
    parser.add_argument("--folder", help="where the images and the cache are kept (default: a temporary folder)")
    parser.add_argument("--data", help="Parquet of your own in place of generated images")
    parser.add_argument("--one", choices=BACKENDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(Path(options.folder), options.data, options.one, options.workers, options.seconds)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary)
        data = options.data or str(folder / "data")
        if not options.data:
            generate(folder / "data", options.rows)
        runs = []
        for backend in options.backends:
            first = in_a_process(folder, data, backend, options.workers, options.seconds)
            again = in_a_process(folder, data, backend, [], 0.0)
            runs.append({**first, "again": again["start"], "again_cpu": again["start_cpu"]})
        Console(width=150).print(table(runs))


def generate(folder: Path, rows: int) -> None:
    """Writes what is missing of the data set."""
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    starts = range(0, rows, FILE_ROWS)
    paths = [folder / f"train-{start:09}.parquet" for start in starts]
    counts = [min(FILE_ROWS, rows - start) for start in starts]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(write_file, paths, starts, counts))
    print(f"{rows:,} images in {folder}: {time.monotonic() - began:.0f} s", flush=True)


def write_file(path: Path, start: int, count: int) -> None:
    if path.exists():
        return
    pixels = np.random.default_rng(start).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    columns = {"image": [bmp(image) for image in pixels], "label": np.arange(count) % 10}
    unfinished = path.with_suffix(".part")
    pq.write_table(pa.table(columns), unfinished, row_group_size=5_000, use_dictionary=False, compression="none")
    unfinished.rename(path)


def bmp(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "BMP")
    return file.getvalue()


def in_a_process(folder: Path, data: str, backend: str, workers: list[int], seconds: float) -> dict[str, Any]:
    words = [
        __file__,
        "--folder",
        folder,
        "--data",
        data,
        "--seconds",
        seconds,
        "--one",
        backend,
        "--workers",
        *workers,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    print(done.stdout.splitlines()[-1], flush=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measured(folder: Path, data: str, backend: str, workers: list[int], seconds: float) -> dict[str, Any]:
    """What a run is like, in this process and in so many workers."""
    import torch  # noqa: PLC0415 - the parent needs neither

    from ray_mentor.data import prepare  # noqa: PLC0415

    torch.set_num_threads(1)
    before = memory()
    began, cpu = time.monotonic(), time.process_time()
    config = DataConfig(data=data, data_backend=backend, data_cache=str(folder / "cache"))
    splits = prepare(config, 0)
    start = {"start": time.monotonic() - began, "start_cpu": time.process_time() - cpu}
    driver = {**grown(before), "peak": peak() - sum(before.values())}
    read = [[read_here(splits, 0, 1, seconds)]] if 0 in workers else []
    if any(workers):
        read += on_ray(splits, [count for count in workers if count], seconds)
    return {"backend": backend, "rows": len(splits.train), **start, "driver": driver, "readers": read}


def on_ray(splits: Any, workers: list[int], seconds: float) -> list[list[dict[str, float]]]:
    """What each worker measured, for each number of workers."""
    import ray  # noqa: PLC0415

    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False, object_store_memory=10 * 2**30)
    stored = ray.put(splits)
    found = []
    for count in workers:
        actors = [ray.remote(Reader).options(num_cpus=0).remote(rank, count) for rank in range(count)]
        ray.get([actor.ready.remote() for actor in actors])
        found.append(ray.get([actor.read.remote([stored], seconds) for actor in actors]))
        for actor in actors:
            ray.kill(actor)
    return found


class Reader:
    """A worker that reads its share of each batch and does nothing with it."""

    def __init__(self, rank: int, workers: int) -> None:
        self.rank = rank
        self.workers = workers

    def ready(self) -> None:
        import torch  # noqa: PLC0415

        import ray_mentor.data  # noqa: F401, PLC0415

        torch.set_num_threads(1)
        self.before = memory()

    def read(self, stored: list[Any], seconds: float) -> dict[str, float]:
        import ray  # noqa: PLC0415

        return {**read_here(ray.get(stored[0]), self.rank, self.workers, seconds), **grown(self.before)}


def read_here(splits: Any, rank: int, workers: int, seconds: float) -> dict[str, float]:
    """Reads a rank's share of each batch for so many seconds."""
    import ray  # noqa: PLC0415

    from ray_mentor.data.plan.batches import Plan, rank_slice  # noqa: PLC0415
    from ray_mentor.data.storage.spread import in_threads  # noqa: PLC0415
    from ray_mentor.data.storage.stored import in_plan_order, order_of  # noqa: PLC0415
    from ray_mentor.on_ray.train.stream import RayDataSpread  # noqa: PLC0415

    splits.open()
    rows, before = 0, memory()
    plan = Plan(order_of(splits.train), BATCH, 0, 10_000)
    spread = RayDataSpread.beside(workers) if ray.is_initialized() else in_threads
    asked = time.monotonic()
    with in_plan_order(splits.train, plan, 0, rank, workers, spread) as train:
        parts = (rank_slice(batch, rank, workers) for _, batch, _ in plan.steps())
        train.inputs.take(next(parts))
        began, cpu = time.monotonic(), time.process_time()
        for part in parts:
            train.inputs.take(part)
            rows += len(part)
            if time.monotonic() - began > seconds:
                break
    took = {"first": began - asked, "seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}
    return {"rows": rows, **took, **grown(before)}


def memory() -> dict[str, int]:
    """MiB in memory: of this process alone, and files and Ray's object store that it has mapped."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) // 1024 for line in lines}
    return {"own": sizes["Anonymous"], "mapped": sizes["Rss"] - sizes["Anonymous"]}


def grown(before: dict[str, int]) -> dict[str, int]:
    return {name: size - before[name] for name, size in memory().items()}


def peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def table(runs: list[dict[str, Any]]) -> Table:
    start = ("start s", "CPU s", "again s", "CPU s")
    names = ("backend", *start, "driver: own MiB", "mapped", "peak", "workers", "own MiB", "mapped")
    names += ("first batch s", "rows/s", "/CPU s")
    shown = Table(*names, title=f"{runs[0]['rows']:,} training samples")
    for run in runs:
        seconds = [f"{run[name]:.1f}" for name in ("start", "start_cpu", "again", "again_cpu")]
        first = [run["backend"], *seconds, *(f"{run['driver'][name]:,}" for name in ("own", "mapped", "peak"))]
        for readers in run["readers"]:
            rates = [sum(reader["rows"] / reader[clock] for reader in readers) for clock in ("seconds", "cpu")]
            most = [max(reader[name] for reader in readers) for name in ("own", "mapped")]
            wait = f"{max(reader['first'] for reader in readers):.1f}"
            sizes, speeds = ([f"{figure:,.0f}" for figure in figures] for figures in (most, rates))
            shown.add_row(*first, str(len(readers)), *sizes, wait, *speeds)
            first = [""] * len(first)
    return shown


if __name__ == "__main__":
    main()
