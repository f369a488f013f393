"""Where methods are compared, and what is chosen on and reported on.

A, memorising: 4,000 CIFAR-10 images, 500 trusted, 40 epochs, no augmentation. B, mild: 10,000 images, 1,000 trusted, 25
epochs, flip and shift. Both: `cnn` in bf16 (half the time of float32 on a CPU that knows it), SGD 0.1, momentum 0.9,
weight decay 5e-4, cosine, batch 128. Settings are chosen on seeds 0 to 9 and the first 4,000 test images of CIFAR-10,
and reported on seeds from 100 on and the other 6,000. Digits: the defaults of `ray-mentor train`; a seed draws its own
test split. Four kinds of noise: 40 % symmetric, asymmetric, instance-dependent, and, on photographs, labels that people
gave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocol.methods import METHODS
from protocol.people import CIFAR, told_by_people
from protocol.rows import Cell
from protocol.running import FIGURES, run_method
from ray_mentor import DataConfig, RunSettings, StudentConfig, TrainConfig

KEY = ("noise", "method", "learning_rate", "seed")
SELECTION_TEST, FINAL_TEST = range(4_000), range(4_000, 10_000)
"""Rows of CIFAR-10's test split."""

SYMMETRIC, HUMAN = "symmetric:0.4", "human:random1"
NOISES = (SYMMETRIC, "asymmetric:0.4", "instance:0.4", HUMAN)
"""As `--noise` has them, and labels of the person called so."""


@dataclass(frozen=True)
class Regime:
    """Data, student and schedule.

    Attributes:
        base: settings of every run, but for noise, method, rate and seed.
        rates: the learning rates that each method is tried at.
        selection_seeds: what rates are chosen on, of 0 to 9.
        final_seeds: what is reported on, from 100 on.
        selection_test: rows of the stored test split for selection; None: all of the one that is drawn by seed.
        final_test: the other rows.
        people: makes a folder with labels that people gave, by name; None where there are none.
        beside: methods that these data can't have.
    """

    base: TrainConfig
    rates: tuple[float, ...]
    selection_seeds: Sequence[int] = range(3)
    final_seeds: Sequence[int] = range(100, 105)
    selection_test: Sequence[int] | None = None
    final_test: Sequence[int] | None = None
    people: Callable[[str], Path] | None = None
    beside: frozenset[str] = frozenset()

    @property
    def noises(self) -> tuple[str, ...]:
        """Those that there are here."""
        return tuple(noise for noise in NOISES if noise != HUMAN or self.people is not None)

    @property
    def methods(self) -> tuple[str, ...]:
        """Those that can be run here."""
        return tuple(name for name in METHODS if name not in self.beside)

    def at(self, noise: str) -> TrainConfig:
        """Settings of every run at this noise."""
        if noise != HUMAN:
            return self.base.changed(noise=noise)
        assert self.people is not None
        return told_by_people(self.base, self.people(noise.partition(":")[2]))

    def cells(self, noise: str, methods: Sequence[str]) -> list[Cell]:
        """Of selection: every method at every rate."""
        return [
            {"noise": noise, "method": method, "learning_rate": rate, "seed": seed}
            for seed in self.selection_seeds
            for method in methods
            for rate in self.rates
        ]

    def final_cells(self, noise: str, rates: dict[str, float]) -> list[Cell]:
        """Of the report: every method at its own rate."""
        return [
            {"noise": noise, "method": method, "learning_rate": rate, "seed": seed}
            for seed in self.final_seeds
            for method, rate in rates.items()
        ]


@dataclass(frozen=True)
class RunCell:
    """Runs a cell of a regime; picklable."""

    regime: Regime
    test: Sequence[int] | None

    def __call__(self, cell: Cell) -> dict[str, Any]:
        base = self.regime.at(cell["noise"])
        config = METHODS[cell["method"]].config(base, learning_rate=cell["learning_rate"], seed=cell["seed"])
        found = run_method(cell["method"], config, self.test)
        return {name: found[name] for name in FIGURES}


def regimes(cifar: Path = CIFAR, people: Callable[[str], Path] | None = None) -> dict[str, Regime]:
    """By name.

    Args:
        cifar: CIFAR-10 as Parquet.
        people: makes a folder with labels that people gave CIFAR-10, by name.
    """
    return {
        # 30 held-out trusted samples a run say little of a rate; 100 to 104 were looked at with another choice of rates
        "digits": Regime(
            TrainConfig(),
            rates=(0.02, 0.04, 0.08),
            selection_seeds=range(7),
            final_seeds=range(105, 110),
            beside=frozenset({"randaugment", "trivialaugment"}),
        ),
        "A": _photographs(cifar, people, mild=False),
        "B": _photographs(cifar, people, mild=True),
    }


def _photographs(cifar: Path, people: Callable[[str], Path] | None, *, mild: bool) -> Regime:
    data = DataConfig(
        data=str(cifar),
        noise=SYMMETRIC,
        train_size=10_000 if mild else 4_000,
        meta_size=1_000 if mild else 500,
        validation_share=0.02,
        augment="flip-shift" if mild else "none",
    )
    student = StudentConfig(student="cnn", learning_rate=0.1, nesterov=False, precision="bf16")
    run = RunSettings(epochs=25 if mild else 40, batch_size=128)
    base = TrainConfig(data=data, student=student, run=run)
    rates = (0.025, 0.05, 0.1)
    return Regime(base, rates, selection_test=SELECTION_TEST, final_test=FINAL_TEST, people=people)
