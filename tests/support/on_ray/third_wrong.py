"""Runs in this process on samples of which every third is wrong, and how far a mentor believed them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray.train
import torch

from ray_mentor.run.outcome import Outcome


def in_this_process(storage: Path, name: str) -> dict[str, Any]:
    """Arguments of a trainer, small and slow enough for a mentor to learn in."""
    return {
        "optimizer": lambda params: torch.optim.SGD(params, 0.02, momentum=0.9),
        "batch_size": 20,
        "scaling_config": ray.train.ScalingConfig(num_workers=0),
        "run_config": ray.train.RunConfig(name=name, storage_path=str(storage)),
    }


def mean_weights(outcome: Outcome) -> tuple[float, float]:
    """In the last epoch, of right and of wrong samples."""
    ledger = outcome.ledger().to_pandas()
    last = ledger[ledger["epoch"] == ledger["epoch"].max()]
    wrong = last["sample_id"] % 3 == 0
    return float(last["sample_weight"][~wrong].mean()), float(last["sample_weight"][wrong].mean())
