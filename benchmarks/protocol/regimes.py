"""Where methods are compared, and what is chosen on and reported on.

A, memorising: 4,000 CIFAR-10 images, 500 trusted, 40 epochs, no augmentation. B, mild: 10,000 images, 1,000 trusted,
25 epochs, flip and shift. Both: 40 % symmetric noise, `cnn`, SGD 0.1, momentum 0.9, weight decay 5e-4, cosine, batch
128. Settings are chosen on seeds 0 to 9 and the first 4,000 test images of CIFAR-10, and reported on seeds from 100 on
and the other 6,000. Digits: the defaults of `ray-mentor train`; a seed draws its own test split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocol.methods import METHODS
from protocol.rows import Cell
from protocol.running import FIGURES, run_method
from ray_mentor import DataConfig, RunSettings, StudentConfig, TrainConfig

CIFAR = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10"
"""CIFAR-10 as Parquet, beside the project; `--cifar` names another place."""

KEY = ("method", "learning_rate", "seed")
SELECTION_TEST, FINAL_TEST = range(4_000), range(4_000, 10_000)
"""Rows of CIFAR-10's test split."""


@dataclass(frozen=True)
class Regime:
    """Data, student and schedule.

    Attributes:
        base: settings of every run, but for method, rate and seed.
        rates: the learning rates that each method is tried at.
        selection_seeds: what rates are chosen on, of 0 to 9.
        final_seeds: what is reported on, from 100 on.
        selection_test: rows of the stored test split for selection; None: all of the one that is drawn by seed.
        final_test: the other rows.
    """

    base: TrainConfig
    rates: tuple[float, ...]
    selection_seeds: Sequence[int] = range(3)
    final_seeds: Sequence[int] = range(100, 105)
    selection_test: Sequence[int] | None = None
    final_test: Sequence[int] | None = None

    def cells(self, methods: Sequence[str]) -> list[Cell]:
        """Of selection: every method at every rate."""
        return [
            {"method": method, "learning_rate": rate, "seed": seed}
            for seed in self.selection_seeds
            for method in methods
            for rate in self.rates
        ]

    def final_cells(self, rates: dict[str, float]) -> list[Cell]:
        """Of the report: every method at its own rate."""
        return [
            {"method": method, "learning_rate": rate, "seed": seed}
            for seed in self.final_seeds
            for method, rate in rates.items()
        ]


@dataclass(frozen=True)
class RunCell:
    """Runs a cell of a regime; picklable."""

    regime: Regime
    test: Sequence[int] | None

    def __call__(self, cell: Cell) -> dict[str, Any]:
        config = METHODS[cell["method"]].config(
            self.regime.base, learning_rate=cell["learning_rate"], seed=cell["seed"]
        )
        found = run_method(cell["method"], config, self.test)
        return {name: found[name] for name in FIGURES}


def regimes(cifar: Path = CIFAR) -> dict[str, Regime]:
    """By name."""
    return {
        # 30 held-out trusted samples a run say little of a rate; 100 to 104 were looked at with another choice of rates
        "digits": Regime(
            TrainConfig(), rates=(0.02, 0.04, 0.08), selection_seeds=range(7), final_seeds=range(105, 110)
        ),
        "A": _photographs(cifar, mild=False),
        "B": _photographs(cifar, mild=True),
    }


def _photographs(cifar: Path, *, mild: bool) -> Regime:
    data = DataConfig(
        data=str(cifar),
        noise="symmetric:0.4",
        train_size=10_000 if mild else 4_000,
        meta_size=1_000 if mild else 500,
        validation_share=0.02,
        augment="flip-shift" if mild else "none",
    )
    student = StudentConfig(student="cnn", learning_rate=0.1, nesterov=False)
    run = RunSettings(epochs=25 if mild else 40, batch_size=128)
    base = TrainConfig(data=data, student=student, run=run)
    rates = (0.025, 0.05, 0.1)
    return Regime(base, rates, selection_test=SELECTION_TEST, final_test=FINAL_TEST)
