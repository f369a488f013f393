"""Sweeps as the engine hands them over, made up: what was found in them is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

STATES = ("finished", "stopped", "stopped", "hopeless", "failed", "unfinished")
FEATURES = ("loss", "loss+loss_difference", "loss+loss_difference+label+progress")


def made_trials(count: int, epochs: int = 20, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Trials whose objective depends on ``mentor_learning_rate`` above all, and their curves."""
    random = np.random.default_rng(seed)
    rows, curves = [], []
    for number in range(count):
        sample = _sample(random)
        state = "finished" if number == 0 else str(random.choice(STATES, p=[0.34, 0.25, 0.25, 0.06, 0.05, 0.05]))
        done = epochs if state == "finished" else int(random.integers(1, epochs))
        done = 0 if state == "failed" and number % 2 else done
        own = _curve(random, f"{number:05d}", sample, done, epochs)
        curves += own
        rows.append(_row(f"{number:05d}", state, own, sample))
    columns = ["trial", "epoch", "accuracy", "objective", "seconds"]
    return pd.DataFrame(rows), pd.DataFrame(curves, columns=columns)


def made_sweep(trials: pd.DataFrame, **changes: Any) -> dict[str, Any]:
    """``sweep.json`` of these trials."""
    able = trials[np.isfinite(trials["objective"]) & (trials["state"] == "finished")]
    best = None
    if not able.empty:
        row = able.sort_values("objective", ascending=False).iloc[0]
        settings = {name.removeprefix("setting."): row[name] for name in trials if name.startswith("setting.")}
        best = {"trial": row["trial"], "objective": float(row["objective"]), "settings": settings}
    return {
        "space": "joint",
        "objective": "accuracy",
        "scheduler": "asha",
        "search": "random",
        "trials": len(trials),
        "seed": 0,
        "epochs": 20,
        "seconds": 754.0,
        "concurrent": 4,
        "best": best,
        "baseline": {"accuracy": 0.522, "seconds": 61.0},
        "confirm": CONFIRMED,
        "versions": {"python": "3.11.7", "torch": "2.11.0", "ray": "2.60.0"},
        **changes,
    }


CONFIRMED: dict[str, Any] = {
    "seeds": [1, 2, 3],
    "on": "test_accuracy",
    "best": {"test_accuracy": [0.9680, 0.9700, 0.9660]},
    "default": {"test_accuracy": [0.9610, 0.9640, 0.9580]},
    "difference": {"mean": 0.0070, "low": 0.0045, "high": 0.0095},
    "verdict": "better",
}


def _sample(random: np.random.Generator) -> dict[str, Any]:
    learned = bool(random.random() < 0.8)
    return {
        "method": "mentornet" if learned else "self-paced",
        "mentor_learning_rate": float(10 ** random.uniform(-4, -2)) if learned else None,
        "update_interval": int(random.choice([1, 2, 5, 10, 20, 50])) if learned else None,
        "burn_in": round(float(random.choice(np.arange(0, 0.41, 0.05))), 2),
        "mentor_features": str(random.choice(FEATURES)) if learned else None,
        "nesterov": bool(random.random() < 0.5),
    }


def _curve(
    random: np.random.Generator, trial: str, sample: dict[str, Any], done: int, epochs: int
) -> list[dict[str, Any]]:
    rate = sample["mentor_learning_rate"] or 1e-4
    top = 0.575 - 0.02 * abs(math.log10(rate) + 2.8) ** 2 + random.normal(0, 0.004)
    cost = 60.0 + 60.0 / (sample["update_interval"] or 1000)
    seconds = cost * random.uniform(0.97, 1.03)
    return [
        {
            "trial": trial,
            "epoch": epoch,
            "accuracy": float(top * (1 - math.exp(-epoch / 4)) + random.normal(0, 0.004)),
            "objective": float(top * (1 - math.exp(-epoch / 4))),
            "seconds": float(seconds * epoch / epochs),
        }
        for epoch in range(1, done + 1)
    ]


def _row(trial: str, state: str, own: list[dict[str, Any]], sample: dict[str, Any]) -> dict[str, Any]:
    last = own[-1] if own else {"accuracy": math.nan, "objective": math.nan, "seconds": math.nan}
    return {
        "trial": trial,
        "state": state,
        "epochs_done": len(own),
        "objective": last["objective"],
        "accuracy": last["accuracy"],
        "seconds": last["seconds"] / len(own) * 20 if own else math.nan,
        "error": "ValueError: loss is nan\nat <step> 12" if state == "failed" else None,
        "path": f"/data/runs/sweep-joint/runs/{trial}",
        **{f"setting.{name}": value for name, value in sample.items()},
    }
