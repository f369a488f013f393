"""Data sets whose transforms draw: a run that goes on draws what it would have drawn, and leaves generators alone."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import EPOCHS, STEPS, assert_same_run, trainer_for
from test_local_runs import interrupted
from torch import Tensor
from torch.utils.data import Dataset

from ray_mentor.data import Splits
from ray_mentor.data.samples.dataset_inputs import DatasetInputs
from ray_mentor.data.samples.draws import drawn_from
from ray_mentor.data.samples.inputs import FeatureInputs


class Shaken(Dataset[tuple[Tensor, int]]):
    """Samples of a split, each time with noise of all three generators."""

    def __init__(self, samples: Any) -> None:
        self.inputs = samples.inputs.take(np.arange(len(samples)))
        self.labels = samples.labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        noise = torch.randn(8) + random.gauss(0, 1) + torch.from_numpy(np.random.normal(size=8)).float()  # noqa: NPY002
        return self.inputs[index] + 0.2 * noise, int(self.labels[index])


def shaken(splits: Splits) -> dict[str, Any]:
    """All of a run's data, each of which draws."""
    parts = {"data": splits.train, "meta": splits.meta, "test": splits.test, "validation": splits.validation}
    return {name: Shaken(samples) for name, samples in parts.items()}


def generators() -> tuple[Any, ...]:
    numbers: Any = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), numbers[1].tolist(), numbers[2], random.getstate()


@pytest.mark.long
@pytest.mark.parametrize("step", [4, 8, 13])
def test_a_run_goes_on_with_the_same_bits(small_splits: Splits, tmp_path: Path, step: int) -> None:
    """In the middle of an epoch, and whatever was drawn before."""
    whole = trainer_for(small_splits, tmp_path, "whole", **shaken(small_splits)).fit()
    random.seed(step), np.random.seed(step), torch.manual_seed(step)  # noqa: NPY002
    cut = trainer_for(
        small_splits, tmp_path, "cut", checkpoint_steps=1, optimizer=interrupted(step), **shaken(small_splits)
    )
    with pytest.raises(KeyboardInterrupt):
        cut.fit()
    random.seed(99), np.random.seed(99), torch.manual_seed(99)  # noqa: NPY002
    again = trainer_for(small_splits, tmp_path, "cut", checkpoint_steps=1, resume=True, **shaken(small_splits))
    assert_same_run(again.fit(), whole)


def test_each_epoch_draws_anew(small_splits: Splits, tmp_path: Path) -> None:
    seen: dict[int, list[list[float]]] = {}

    class Noted(Shaken):
        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            item = super().__getitem__(index)
            seen.setdefault(index, []).append(item[0].tolist())
            return item

    trainer = trainer_for(
        small_splits, tmp_path, "noted", **{**shaken(small_splits), "data": Noted(small_splits.train)}
    )
    seen.clear()
    trainer.fit()
    assert set(map(len, seen.values())) <= {EPOCHS, EPOCHS + 1}, "the first one is looked at for its shape"
    assert all(len(set(map(tuple, values))) == len(values) for values in seen.values())
    assert STEPS == EPOCHS * 5


def test_the_generators_of_the_process_are_as_they_were(small_splits: Splits, tmp_path: Path) -> None:
    """Python's and NumPy's; torch's, with which the student is built and drops out, is at what the last step left."""
    trainer = trainer_for(small_splits, tmp_path, "run", epochs=1, **shaken(small_splits))
    before = generators()
    trainer.fit()
    assert generators()[1:] == before[1:]


def test_what_is_drawn_inside_depends_on_the_seed_alone() -> None:
    def draw() -> tuple[float, ...]:
        return torch.rand(()).item(), float(np.random.rand()), random.random()  # noqa: NPY002

    found = []
    draws = DatasetInputs([])
    for before in (1, 2):
        random.seed(before), np.random.seed(before), torch.manual_seed(before)  # noqa: NPY002
        state = generators()
        with drawn_from((7, 1), draws):
            found.append(draw())
        assert generators() == state
        with pytest.raises(ZeroDivisionError), drawn_from((2**64 - 1,), draws):
            _ = draw()[0] / 0
        assert generators() == state
    assert found[0] == found[1]
    with drawn_from((7, 2), draws):
        assert not set(draw()) & set(found[0])
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    state = generators()
    with drawn_from((7, 1), FeatureInputs(np.zeros((2, 2), np.float32))):
        assert generators() == state
