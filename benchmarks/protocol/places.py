"""Where the defaults are tried: data of many kinds, and one factor at a time around a centre of each.

Breast cancer and wine (tables of scikit-learn's, 569 and 178 rows), digits with either student, CIFAR-10 at 1,000,
4,000 and 10,000 images. A centre has the defaults of `ray-mentor train`, or the schedule of A and B
(:mod:`~protocol.regimes`), and 40 % symmetric noise (30 % where there are two classes).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from sklearn import datasets

from protocol.methods import ORACLE
from protocol.people import labelled_by_people, told_by_people, write
from protocol.regimes import regimes
from protocol.rows import Cell
from ray_mentor import DataConfig, StudentConfig, TrainConfig

PLACES = (
    "wine", "breast-cancer", "digits-mlp", "digits-cnn", "cifar-1000", "cifar-4000", "cifar-10000", "cifar-50000",
)  # fmt: skip
KEY = ("place", "factor", "value", "method", "seed")
CENTRE = ("centre", "")
_TEN_CLASSES = frozenset({"10"})
"""One trusted sample a class leaves none to hold out, by which mixing could tell how much a student memorises: the
baseline and the oracle would lack what the mentor has. The table of trusted samples (trusted.py) has 10 of them."""

FACTORS: dict[str, tuple[str, ...]] = {
    "epochs": ("0.25", "2", "5"),
    "batch": ("16", "64", "512"),
    "rate": ("0.25", "4"),
    "noise": ("none", "symmetric:0.1", "symmetric:0.2", "symmetric:0.6", "asymmetric:0.4", "instance:0.4"),
    "human": ("aggregate", "random1"),
    "trusted": ("10", "30", "100", "500"),
}
"""What is changed, and to what: `epochs` and `rate` times the centre's, `batch` and `trusted` as numbers of samples."""


@dataclass(frozen=True)
class Place:
    """One kind of data with a student.

    Attributes:
        base: the run at its centre.
        stored_test: whether the data has a test split of its own.
        limits: values that make no sense here: more trusted samples than there are, no majority of right labels, a
            batch of all samples, as the centre's is.
        people: makes a folder with labels that people gave, by name; None where there are none.
    """

    base: TrainConfig
    stored_test: bool = False
    limits: frozenset[str] = frozenset()
    people: Callable[[str], Path] | None = None

    def cells(self, factors: Sequence[str]) -> list[tuple[str, str]]:
        """(factor, value) around the centre, which comes first, and is not run a second time."""
        beside = [
            (factor, value)
            for factor in factors
            for value in FACTORS[factor]
            if value not in self.limits and (factor != "human" or self.people is not None)
        ]
        return [CENTRE, *(cell for cell in beside if self.config(*cell) != self.base)]

    def config(self, factor: str, value: str) -> TrainConfig:
        """The run of a cell, but for its method and seed."""
        run, student = self.base.run, self.base.student
        match factor:
            case "centre":
                return self.base
            case "epochs":
                return self.base.changed(epochs=max(1, round(run.epochs * float(value))))
            case "batch":
                return self.base.changed(batch_size=int(value))
            case "rate":
                return self.base.changed(learning_rate=student.learning_rate * float(value))
            case "noise":
                return self.base.changed(noise=value)
            case "trusted":
                return self.base.changed(meta_size=int(value))
            case "human":
                assert self.people is not None
                return told_by_people(self.base, self.people(value))
        raise ValueError(f"there is no factor {factor!r}")


def places(work: Path, cifar: Path, people: Path) -> dict[str, Place]:
    """By name.

    Args:
        work: folder for what is made of other files.
        cifar: CIFAR-10 as Parquet.
        people: Parquet of the labels that people gave (CIFAR-N).
    """
    photographs = regimes(cifar)
    memorising, mild = (photographs[name].base.changed(data_backend="arrow") for name in "AB")

    labelled = functools.partial(labelled_by_people, work=work, cifar=cifar, people=people)
    images = functools.partial(Place, stored_test=True, people=labelled, limits=_TEN_CLASSES)
    found = {
        "wine": Place(_table("wine", 30, "symmetric:0.4", work), limits=frozenset({"100", "500", "512"})),
        "breast-cancer": Place(
            _table("breast_cancer", 50, "symmetric:0.3", work),
            limits=frozenset({"500", "symmetric:0.6", "asymmetric:0.4", "instance:0.4"}),
        ),
        "digits-mlp": Place(TrainConfig(), limits=_TEN_CLASSES),
        "digits-cnn": Place(TrainConfig(student=StudentConfig(student="cnn")), limits=_TEN_CLASSES),
        "cifar-1000": images(memorising.changed(train_size=1_000, meta_size=100)),
        "cifar-4000": images(memorising),
        "cifar-10000": images(mild),
        "cifar-50000": images(mild.changed(train_size=None)),
    }
    assert tuple(found) == PLACES
    return found


def cells_of(
    place: Place, name: str, factors: Sequence[str], methods: Sequence[str], seeds: Sequence[int]
) -> list[Cell]:
    """What is run of one place; where no label is wrong there is nothing that an oracle knows."""
    return [
        {"place": name, "factor": factor, "value": value, "method": method, "seed": seed}
        for seed in seeds
        for factor, value in place.cells(factors)
        for method in methods
        if (method, value) != (ORACLE, "none")
    ]


def _table(name: str, trusted: int, noise: str, work: Path) -> TrainConfig:
    path = work / f"{name}.parquet"
    if not path.exists():
        found = getattr(datasets, f"load_{name}")()
        columns = {f"feature_{i}": column for i, column in enumerate(found.data.T)}
        write(pa.table({**columns, "label": found.target}), path)
    data = DataConfig(data=str(path), meta_size=trusted, noise=noise, test_share=0.4)
    return TrainConfig(data=data)
