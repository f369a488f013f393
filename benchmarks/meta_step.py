"""What one iteration with a mentor costs, next to a plain one: ray_mentor and its peers on the same step.

    python benchmarks/meta_step.py                    # ResNet-32, batch 100, meta batch 100, SGD with momentum
    python benchmarks/meta_step.py --student cnn --device cuda --csv meta_step.csv

The peers come with ``pip install '.[bench]'``, Betty with ``pip install --no-deps --ignore-requires-python
betty-ml==0.2.1``: its metadata names no Python above 3.10, on which it works. One that can't be imported is left out,
with a message. ``--rounds 0`` measures errors and memory alone, which no other process disturbs.

    ms          median time of an iteration; with an update every k steps, of k iterations over k
    × plain     median over rounds of the ratio to plain steps that took turns with it
    memory      most bytes of tensors alive at a time, over plain steps' (on the CPU without what oneDNN sets aside)
    cosine, error   of ∂M/∂φ of one and the same first step, against double backward in float64 through the real step;
                error is ‖found − truth‖/‖truth‖, once with everything in float32 and once in float64
"""

from __future__ import annotations

import argparse
import csv
import gc
import importlib
import os
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # read by PyTorch's profiler when it is loaded

import torch
from peers.contender import Contender, Plain
from peers.ours import Defaults, ours
from peers.problem import Setting, true_hypergradient
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from ray_mentor.core.influence.estimators import ESTIMATORS

PEERS = {
    "double_backward": ("DoubleBackward",),
    "with_higher": ("Higher",),
    "with_torchopt": ("TorchOpt",),
    "with_betty": ("Betty", "Sama"),
}
"""Module in peers/ to the contenders in it."""

INTERVALS = (1, 20)
"""Steps from one mentor update to the next, of everyone."""


@dataclass
class Row:
    """A row of the table; NaN where there is nothing to say."""

    name: str
    ms: float = float("nan")
    ratio: float = float("nan")
    mib: float = float("nan")
    memory_ratio: float = float("nan")
    cosine: float = float("nan")
    error_float32: float = float("nan")
    error_float64: float = float("nan")
    note: str = ""


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")  # the peers' own
    console = Console(width=160)
    setting = Setting(options.student, options.batch, options.device)
    kinds = [Plain, *our_contenders(options.batch), Defaults, *their_contenders(console)]
    rows = measure(kinds, setting, options.rounds, console)
    console.print(as_table(rows, setting, options.threads))
    if options.csv:
        write(rows, options.csv)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", default="resnet32", help="resnet32, cnn, wrn-28-10 or mlp (default resnet32)")
    parser.add_argument(
        "--batch", type=int, default=100, help="samples of a batch, and of the meta batch (default 100)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="that medians are taken over; 0: no times (default 5)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default auto: cuda if there")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU (default: all)")
    parser.add_argument("--csv", type=Path, help="also write the table here")
    options = parser.parse_args()
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    return options


def our_contenders(batch: int) -> list[type[Contender]]:
    """Every estimator there is, at every step and amortised; the slow reference only at every step."""
    return [
        ours(name, interval, batch)
        for name in ESTIMATORS
        for interval in (INTERVALS[:1] if name == "unrolled" else INTERVALS)
    ]


def their_contenders(console: Console) -> list[type[Contender]]:
    """The peers that are installed, at every step and amortised."""
    found = []
    for module, names in PEERS.items():
        try:
            kinds = [getattr(importlib.import_module(f"peers.{module}"), name) for name in names]
        except Exception as error:  # a binary that doesn't fit raises anything
            console.print(f"{' and '.join(names)} left out, can't be imported: {type(error).__name__}: {error}")
            continue
        found += [kind.at(interval) for kind in kinds for interval in INTERVALS]
    return found


def measure(kinds: list[type[Contender]], setting: Setting, rounds: int, console: Console) -> list[Row]:
    """Errors, then memory, then time: each from contenders of its own, all from the same start."""
    truth = true_hypergradient(setting)
    rows = [Row(kind.name, note=kind.note) for kind in kinds]
    for kind, row in zip(kinds, rows, strict=True):
        console.print(f"error and memory: {kind.name}", style="dim")
        if kind.has_hypergradient:
            row.cosine, row.error_float32 = closeness(kind, setting, torch.float32, truth)
            _, row.error_float64 = closeness(kind, setting, torch.float64, truth)
        row.mib = peak_bytes(kind, setting) / 2**20
        row.memory_ratio = row.mib / rows[0].mib
    measured = times(kinds, setting, rounds, console) if rounds else []
    for row, (seconds, ratio) in zip(rows, measured, strict=bool(rounds)):
        row.ms, row.ratio = 1000 * seconds, ratio
    return rows


def closeness(kind: type[Contender], setting: Setting, dtype: torch.dtype, truth: torch.Tensor) -> tuple[float, float]:
    """(cosine, relative error) of its hypergradient of the first step."""
    found = kind.of(Setting(setting.student, setting.batch, setting.device, dtype)).hypergradient()
    cosine = torch.nn.functional.cosine_similarity(found, truth, dim=0)
    return float(cosine), float((found - truth).norm() / truth.norm())


def peak_bytes(kind: type[Contender], setting: Setting) -> int:
    """The most bytes of tensors alive at a time while it is made and takes two steps, or comes to an update."""

    def run() -> None:
        contender = kind.of(setting)
        for _ in range(max(2, kind.period)):
            contender.step()

    gc.collect()
    return peak_on_gpu(run) if setting.device == "cuda" else peak_on_cpu(run)


def peak_on_gpu(run: Callable[[], None]) -> int:
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated() - before


def peak_on_cpu(run: Callable[[], None]) -> int:
    """From the profiler's record of every allocation and release."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    alive = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    return peak


def times(kinds: list[type[Contender]], setting: Setting, rounds: int, console: Console) -> list[tuple[float, float]]:
    """(median seconds of an iteration, median ratio to plain steps) of each.

    Plain steps and a contender's take turns, so that whatever else the machine does slows both; a contender that
    updates its mentor every k steps is timed over k of them.
    """
    plain = Plain.of(setting)
    contenders = [kind.of(setting) for kind in kinds]
    seconds: list[list[float]] = [[] for _ in kinds]
    ratios: list[list[float]] = [[] for _ in kinds]
    for done in range(-1, rounds):  # one round to warm up
        console.print(f"round {done + 1} of {rounds}", style="dim")
        for i, contender in enumerate(contenders):
            pairs = [
                (timed(plain, setting), timed(contender, setting)) for _ in range(1 if done < 0 else contender.period)
            ]
            if done >= 0:
                own = sum(b for _, b in pairs)
                seconds[i].append(own / contender.period)
                ratios[i].append(own / sum(a for a, _ in pairs))
    return [(statistics.median(s), statistics.median(r)) for s, r in zip(seconds, ratios, strict=True)]


def timed(contender: Contender, setting: Setting) -> float:
    """Seconds of one step."""
    if setting.device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    contender.step()
    if setting.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def as_table(rows: list[Row], setting: Setting, threads: int) -> Table:
    where = torch.cuda.get_device_name() if setting.device == "cuda" else f"CPU, {threads} threads"
    title = f"{setting.student}, batch {setting.batch}, meta batch {setting.batch}, {where}, torch {torch.__version__}"
    table = Table(title=title)
    table.add_column("", no_wrap=True)
    for heading in ("ms", "× plain", "memory × plain", "cosine", "error, float32", "error, float64"):
        table.add_column(heading, justify="right")
    table.add_column("note")
    for row in rows:
        cells = (row.ms, ".1f"), (row.ratio, ".2f"), (row.memory_ratio, ".2f"), (row.cosine, ".4f")
        errors = (row.error_float32, ".0e"), (row.error_float64, ".0e")
        table.add_row(row.name, *(cell(*pair) for pair in (*cells, *errors)), row.note)
    return table


def cell(value: float, form: str) -> str:
    return "" if value != value else format(value, form)  # NaN


def write(rows: list[Row], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


if __name__ == "__main__":
    main()
