"""A sweep of two trials that was interrupted, as its folder looks: one trial has ended, and one has not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from ray_mentor.config import TrainConfig
from ray_mentor.config.file import to_toml
from ray_mentor.config.sweep import SweepSettings
from ray_mentor.on_ray.tune.spaces import config_of

NAME = "mine"
SETTINGS = SweepSettings(trials=2, scheduler="none", confirm_seeds=0)
QUICK = {"train_size": 300, "test_size": 100, "epochs": 3}
ENDED, RUNS = "a1b2c3d4", "e5f60718"
SAMPLES = {
    ENDED: {"update_interval": 10, "mentor_learning_rate": 0.0004},
    RUNS: {"update_interval": 5, "mentor_learning_rate": 0.0011},
}


def words(*more: str) -> tuple[str, ...]:
    """The command that began it."""
    sweep = ("--trials", "2", "--scheduler", "none", "--confirm-seeds", "0", "--run-name", NAME)
    quick = (word for name, value in QUICK.items() for word in (f"--{name.replace('_', '-')}", str(value)))
    return ("tune", "smoke", *sweep, *quick, *more)


def base() -> TrainConfig:
    return TrainConfig().changed(workers=0, run_name=NAME, **QUICK)


def leave_sweep(storage: Path) -> Path:
    """Its folder, made by hand: of the trial that has not ended there is the record alone."""
    sweep = storage / NAME
    (sweep / "runs" / ENDED).mkdir(parents=True)
    record = {"space": "smoke", **dataclasses.asdict(SETTINGS), **base().flat()}
    (sweep / "config.toml").write_text(to_toml(record))
    write_lines(sweep, lines())
    (sweep / "runs" / ENDED / "config.toml").write_text(to_toml(config_of(base(), SAMPLES[ENDED]).flat()))
    (sweep / "runs" / ENDED / "result.json").write_text(json.dumps({"test_accuracy": None}))
    return sweep


def lines() -> list[dict[str, Any]]:
    """What its record holds."""
    figures = {"accuracy": 0.5, "objective": 0.5, "seconds": 1.0, "equal_share": 0.0}
    trial = {"kind": "trial", "trial": ENDED, **figures, "settings": SAMPLES[ENDED]}
    return [
        *({"kind": "begun", "trial": name, "settings": sample} for name, sample in SAMPLES.items()),
        *({**trial, "epoch": epoch} for epoch in range(1, QUICK["epochs"] + 1)),
        {"kind": "ended", "trial": ENDED, "state": "finished", "objective": 0.5, "error": None},
    ]


def write_lines(sweep: Path, rows: list[dict[str, Any]]) -> None:
    (sweep / "progress.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
