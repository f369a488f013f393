"""Rows of a comparison's runs, as its folder would give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

LEVEL = {"noise": "symmetric:0.4", "meta_size": 100}


def run(method: str, seed: int, accuracy: float | None, **changes: Any) -> dict[str, Any]:
    """A finished run; the kept student is a tenth of a point better than the last."""
    figures = {
        **LEVEL,
        "method": method,
        "seed": seed,
        "test_accuracy": None if accuracy is None else accuracy - 0.001,
        "trusted_accuracy": 0.8,
        "test_accuracy_selected": accuracy,
        "trusted_accuracy_selected": 0.9,
        "kept_epoch": 3,
        "noise_auroc": 0.75,
        "train_seconds": 10.0,
        "peak_memory_mb": 500.0,
        "params": 1234,
        "trusted_held_out": 30,
        "notes": [],
        "path": f"/runs/{method}{seed}",
        "error": None,
    }
    return {**figures, **changes}


def runs(accuracies: Mapping[str, Sequence[float]], seconds: Mapping[str, float] | None = None) -> list[dict[str, Any]]:
    """A run a method and seed."""
    return [
        run(method, seed, value, train_seconds=(seconds or {}).get(method, 10.0))
        for method, values in accuracies.items()
        for seed, value in enumerate(values)
    ]


def failed(method: str, seed: int, error: str) -> dict[str, Any]:
    """A run that failed."""
    nothing = dict.fromkeys(name for name in run(method, seed, 0.5) if name not in (*LEVEL, "method", "seed"))
    return {**LEVEL, "method": method, "seed": seed, **nothing, "error": error}
