"""Runs on photographs of any size, cropped at random: the same bits from memory and from a file, and after a stop."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_data import image_bytes, write
from small_runs import assert_same_run, interrupted, trainer_for

from ray_mentor.config import DataConfig
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.data import Splits, prepare
from ray_mentor.on_ray.train.trainer import CurriculumTrainer
from ray_mentor.run.outcome import Outcome
from ray_mentor.students import CNN

pytestmark = pytest.mark.long  # runs that are stopped and go on


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 images of 60 sizes, one of them broken."""
    place = tmp_path_factory.mktemp("pictures")
    sizes = np.random.default_rng(0).integers(12, 40, (60, 2))
    encoded = [image_bytes(i, size=tuple(sizes[i % 60])) for i in range(120)]
    encoded[7] = encoded[7][:80]
    labels = ["abc"[i % 3] for i in range(120)]
    write(place / "data/train.parquet", {"image": encoded, "label": labels, "true": labels})
    return place


def splits(folder: Path, backend: str = "memory") -> Splits:
    config = DataConfig(
        data=str(folder / "data"),
        image_size=14,
        skip_broken=True,
        true_label_column="true",
        meta_size=24,
        data_backend=backend,
        data_cache=str(folder / "cache"),
    )
    return prepare(config, 0)


def run(held: Splits, folder: Path, name: str, **changes: Any) -> CurriculumTrainer:
    settings = {"epochs": 2, "augment": "flip-crop", **changes}
    return trainer_for(held, folder, name, student=functools.partial(CNN, 3, 3), **settings)


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run(splits(folder), tmp_path_factory.mktemp("runs"), "finished").fit()


def test_from_a_file_as_from_memory(folder: Path, finished: Outcome, tmp_path: Path) -> None:
    assert_same_run(run(splits(folder, "arrow"), tmp_path, "run").fit(), finished)


def test_a_run_stopped_in_an_epoch_goes_on_as_if_it_had_never_stopped(
    folder: Path, finished: Outcome, tmp_path: Path
) -> None:
    held = splits(folder)
    with pytest.raises(KeyboardInterrupt):
        run(held, tmp_path, "run", checkpoint_steps=1, optimizer=interrupted(4)).fit()
    assert_same_run(run(held, tmp_path, "run", checkpoint_steps=1, resume=True).fit(), finished)


def test_trained_ones_are_cropped_and_measured_ones_are_not(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trusted samples beside a batch, which are trained on, too."""
    held = splits(folder)
    seen: list[Any] = []
    step = Curriculum.step

    def noted(curriculum: Curriculum, batch: Any) -> Any:
        seen.append((batch.ids.clone(), batch.inputs.clone()))
        return step(curriculum, batch)

    monkeypatch.setattr(Curriculum, "step", noted)
    run(held, tmp_path, "run").fit()
    fed = {int(each): x for part in (held.train, held.meta) for each, x in zip(part.ids, inputs_of(part), strict=True)}
    shown: dict[int, list[torch.Tensor]] = {}
    for ids, inputs in seen:
        assert inputs.shape[1:] == (3, 14, 14)
        for each, image in zip(ids.tolist(), inputs, strict=True):
            assert not torch.equal(image, fed[each])
            shown.setdefault(each, []).append(image)
    assert set(held.train.ids.tolist()) < set(shown), "the training samples, and trusted ones"
    assert all(not torch.equal(a, b) for a, b in shown.values()), "another crop in each epoch"


def inputs_of(samples: Any) -> torch.Tensor:
    taken: torch.Tensor = samples.inputs.take(np.arange(len(samples)))
    return taken


def test_a_stream_is_cropped_from_what_is_stored(folder: Path, tmp_path: Path) -> None:
    outcome = run(splits(folder, "ray"), tmp_path, "run").fit()
    assert outcome.result["steps"] > 0
    assert outcome.ledger().num_rows > 0


def test_a_function_of_the_users_own(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file travels with the run."""
    (tmp_path / "mine.py").write_text("def black(image):\n    return image * 0\n")
    monkeypatch.chdir(tmp_path)
    trainer = run(splits(folder), tmp_path, "run", augment="mine.py:black")
    (tmp_path / "mine.py").unlink()
    losses = trainer.fit().ledger()["loss"].to_numpy()
    assert len(np.unique(losses[:20].round(5))) <= 3, "one image in black for each of three labels"
