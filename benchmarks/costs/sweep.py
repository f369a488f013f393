"""What a sweep costs beside its trainings: ``ray-mentor tune smoke`` against the same runs, one after the other.

    python benchmarks/costs/sweep.py --trials 16 --epochs 30

Both in processes of their own, imports and all; the runs of the sweep are repeated in one process from the settings
that its trials' run directories hold. The goal is a ratio of at most 1.6 on two cores, start-up of Ray included.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ALONE = """
import dataclasses, sys, tempfile
from pathlib import Path
import torch
from rich.console import Console
from ray_mentor import TrainConfig, train
from ray_mentor.config.file import read_config
torch.set_num_threads(1)
for path in sorted(Path(sys.argv[1]).glob("runs/*/config.toml")):
    config = TrainConfig.from_flat({**read_config(str(path)), "resume": False, "storage_path": tempfile.mkdtemp()})
    train(config, console=Console(quiet=True))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    for _ in range(options.rounds):
        folder = tempfile.mkdtemp()
        words = ["tune", "smoke", "--trials", options.trials, "--epochs", options.epochs, "--scheduler", "none"]
        place = ["--confirm-seeds", 0, "--storage-path", folder, "--run-name", "sweep"]
        sweep = seconds([sys.executable, "-m", "ray_mentor", *map(str, [*words, *place])])
        alone = seconds([sys.executable, "-c", ALONE, str(Path(folder) / "sweep")])
        print(
            f"{options.trials} trials of {options.epochs} epochs: sweep {sweep:.1f} s, "
            f"the trainings alone {alone:.1f} s, ratio {sweep / alone:.2f}"
        )


def seconds(command: list[str]) -> float:
    began = time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
