"""What the audit of a ledger larger than memory costs: seconds and the most memory that its process had.

    python benchmarks/auditing/large_ledger.py
    python benchmarks/auditing/large_ledger.py --samples 50000 --epochs 60

A ledger of 100 million rows is generated (1,000,000 samples, 100 epochs, 10 classes, a file of a million rows an epoch,
samples in another order each time) and audited in a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from ray_mentor import Audit
from ray_mentor.run.ledger.rows import SCHEMA

CLASSES, WRONG, FILE = 10, 0.2, 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1_000_000, help="(default %(default)s)")
    parser.add_argument("--epochs", type=int, default=100, help="(default %(default)s)")
    parser.add_argument("--storage", help="folder for the ledger, some 40 bytes a row (default a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.storage) as folder:
        write(Path(folder), options.samples, options.epochs)
        size = sum(file.stat().st_size for file in Path(folder).rglob("*.parquet"))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            base, peak, seconds, cpu, said = pool.apply(audited, (folder,))
    rows = options.samples * options.epochs
    print(f"{rows:,} rows of {options.samples:,} samples, {size / 2**30:.2f} GiB: {said}")
    print(f"{seconds:.1f} s, {cpu:.1f} CPU s; peak {peak / 2**20:.2f} GiB, {base / 2**20:.2f} GiB before it began")


def audited(folder: str) -> tuple[int, int, float, float, str]:
    """KiB before and at most, seconds, CPU seconds, what is said."""
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, cpu = time.monotonic(), time.process_time()
    audit = Audit.from_run(folder)
    took = time.monotonic() - began, time.process_time() - cpu
    return base, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, *took, str(audit.rate)


def write(folder: Path, samples: int, epochs: int) -> None:
    """A run's folder with such a ledger."""
    draw = np.random.default_rng(0)
    (folder / "ledger").mkdir()
    (folder / "config.toml").write_text(f"epochs = {epochs}\n")
    given = draw.integers(0, CLASSES, samples)
    wrong = draw.random(samples) < WRONG
    other = (given + draw.integers(1, CLASSES, samples)) % CLASSES
    for epoch in range(epochs):
        order = draw.permutation(samples)
        for start in range(0, samples, FILE):
            ids = order[start : start + FILE]
            part = _rows(draw, ids, epoch, given[ids], wrong[ids], other[ids])
            pyarrow.parquet.write_table(part, folder / f"ledger/{epoch:04d}-{start}.parquet")


def _rows(draw: np.random.Generator, ids: np.ndarray, epoch: int, *of_samples: np.ndarray) -> pa.Table:
    given, wrong, other = of_samples
    n = len(ids)
    margin = (draw.standard_normal(n, np.float32) * 1.5 + np.where(wrong, -3, 3)).astype(np.float32)
    columns = {
        "sample_id": ids,
        "epoch": np.full(n, epoch, np.int32),
        "step": np.arange(n) // 128,
        "loss": np.log1p(np.exp(-margin)),
        "scored_weight": 1 / (1 + np.exp(-margin)),
        "sample_weight": 1 / (1 + np.exp(-margin)),
        "influence": draw.standard_normal(n, np.float32),
        "given_label": given,
        "true_label": np.where(wrong, other, given),
        "predicted_label": np.where(margin < 0, other, given).astype(np.int32),
        "margin": margin,
        "class_factor": np.ones(n, np.float32),
        "domain": np.full(n, -1, np.int32),
        "group": np.full(n, -1, np.int32),
    }
    return pa.table(columns, schema=SCHEMA)


if __name__ == "__main__":
    main()
