"""A run that may not go on as it is asked to stays as it was."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from small_data import image_samples
from small_runs import MENTOR, make_small_splits, trainer_for

from ray_mentor.config import CurriculumConfig
from ray_mentor.core.mentor.mentor_file import MENTOR_FILE
from ray_mentor.data import FeatureInputs, Samples, Splits
from ray_mentor.data.samples.identity import identity
from ray_mentor.errors import UserError
from ray_mentor.students import MLP, make_student


@pytest.fixture(scope="module")
def splits() -> Splits:
    return make_small_splits()


@pytest.fixture
def finished(splits: Splits, tmp_path: Path) -> Path:
    """A run of two epochs, at its end."""
    trainer_for(splits, tmp_path, "run", epochs=2).fit()
    return tmp_path / "run"


def resumed(splits: Splits, run: Path, **changes: Any) -> None:
    trainer_for(splits, run.parent, run.name, resume=True, **changes).fit()


def told(run: Path) -> list[bytes]:
    return [(run / name).read_bytes() for name in ("result.json", "config.toml", "metrics.csv")]


def test_a_finished_run_keeps_its_result_when_another_student_is_refused(splits: Splits, finished: Path) -> None:
    before = told(finished)
    with pytest.raises(UserError, match="student"):
        resumed(splits, finished, epochs=3, student=functools.partial(MLP, 8, 3, (17,)))
    assert told(finished) == before
    resumed(splits, finished, epochs=2)
    assert told(finished) != before, "it may go on as it was"


def test_a_finished_run_keeps_its_result_when_its_checkpoints_are_damaged(splits: Splits, finished: Path) -> None:
    before = told(finished)
    for path in (finished / "checkpoints").glob("*.pt"):
        path.write_bytes(b"junk")
    with pytest.raises(UserError, match="there is no other checkpoint to go on from"):
        resumed(splits, finished, epochs=3)
    assert told(finished) == before


def named(splits: Splits, classes: tuple[str, ...], ids: str) -> Splits:
    names = pa.array([f"{ids}-{number}" for number in range(len(splits.train))], pa.large_string())
    samples = {
        name: dataclasses.replace(getattr(splits, name), classes=classes)
        for name in ("train", "meta", "test", "validation")
    }
    samples["train"] = dataclasses.replace(samples["train"], names=names)
    return dataclasses.replace(splits, **samples)


def test_a_run_that_is_refused_keeps_the_names_of_its_classes_and_samples(splits: Splits, tmp_path: Path) -> None:
    """Its ledger holds numbers: under other names it would speak of other samples."""
    mine, others = named(splits, ("ant", "bee", "cat"), "photo"), named(splits, ("x", "y", "z"), "scan")
    trainer_for(mine, tmp_path, "run", epochs=2).fit()
    run = tmp_path / "run"
    before = {name: (run / name).read_bytes() for name in ("classes.json", "ids.parquet")}
    for other in (others, splits):
        with pytest.raises(UserError, match="the training samples"):
            resumed(other, run, epochs=3)
        assert {name: (run / name).read_bytes() for name in before} == before
    resumed(mine, run, epochs=3)


def of_other_labels(samples: Samples) -> Samples:
    labels = samples.labels.copy()
    labels[-1] = (labels[-1] + 1) % 3
    return samples.with_labels(labels, samples.true_labels)


def of_another_truth(samples: Samples) -> Samples:
    return samples.with_labels(samples.labels, None)


def of_other_inputs(samples: Samples) -> Samples:
    return samples.with_inputs(FeatureInputs(samples.inputs.values + 1))  # type: ignore[attr-defined]


def in_another_order(samples: Samples) -> Samples:
    return samples.select(np.arange(len(samples))[::-1].copy())


CHANGES = [of_other_labels, of_another_truth, of_other_inputs, in_another_order]


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_does_not_go_on_with_other_data(splits: Splits, finished: Path, change: Any) -> None:
    before = told(finished)
    with pytest.raises(UserError) as raised:
        resumed(dataclasses.replace(splits, train=change(splits.train)), finished, epochs=3)
    assert str(raised.value) == (
        f"the training samples of the checkpoints in {finished} are others than now (their ids, labels, classes or "
        "inputs differ); go on with the data as they were, or start another run"
    )
    assert told(finished) == before


def test_a_run_does_not_go_on_with_other_trusted_samples(splits: Splits, finished: Path) -> None:
    others = dataclasses.replace(splits, meta=splits.meta.select(np.arange(29)))
    with pytest.raises(UserError, match=r"the trusted samples of the checkpoints in .* are others than now"):
        resumed(others, finished, epochs=3)
    resumed(splits, finished, epochs=3)


def test_a_run_does_not_go_on_with_another_test_split_but_with_one_or_none(splits: Splits, finished: Path) -> None:
    assert splits.test is not None
    fewer = dataclasses.replace(splits, test=splits.test.select(np.arange(29)))
    with pytest.raises(UserError, match=r"the test samples of the checkpoints in .* are others than now"):
        resumed(fewer, finished, epochs=3)
    resumed(dataclasses.replace(splits, test=None), finished, epochs=3)
    resumed(fewer, finished, epochs=4)


def test_a_run_does_not_go_on_with_another_mentor_than_it_was_given(splits: Splits, tmp_path: Path) -> None:
    """A frozen one is read whenever a run goes on, so that it would change in the middle."""
    for name, epochs in (("first", 2), ("other", 3)):
        trainer_for(splits, tmp_path, name, epochs=epochs).fit()
    file = tmp_path / "first" / MENTOR_FILE
    changes: dict[str, Any] = {
        "curriculum": CurriculumConfig("mentornet-frozen", burn_in=0.0),
        "mentor": dataclasses.replace(MENTOR, mentor_from=str(tmp_path / "first")),
    }
    trainer_for(splits, tmp_path, "run", epochs=1, **changes).fit()
    resumed(splits, tmp_path / "run", epochs=2, **changes)
    file.write_bytes((tmp_path / "other" / MENTOR_FILE).read_bytes())
    with pytest.raises(
        UserError, match=r"the file of the mentor that was given to run .*run holds another one now; put"
    ):
        resumed(splits, tmp_path / "run", epochs=3, **changes)


def test_a_run_does_not_go_on_with_other_code_of_its_student(splits: Splits, tmp_path: Path) -> None:
    """Its params fit, so that nothing else would tell."""
    name = f"{tmp_path}/own.py:student"
    code = (
        "from torch import nn\n"
        "def student(shape, classes): return nn.Sequential(nn.Linear(shape[0], 8), nn.ReLU(), nn.Linear(8, classes))\n"
    )

    def own(code: str) -> dict[str, Any]:
        return {"student": functools.partial(make_student, name, (8,), 3, source=code.encode())}

    trainer_for(splits, tmp_path, "run", epochs=1, **own(code)).fit()
    before = told(tmp_path / "run")
    said = r"the file that student of run .*run names holds other code than when the run was started; put back what"
    with pytest.raises(UserError, match=said):
        resumed(splits, tmp_path / "run", epochs=2, **own(code.replace("ReLU", "Tanh")))
    assert told(tmp_path / "run") == before
    resumed(splits, tmp_path / "run", epochs=2, **own(code))


def test_a_run_does_not_go_on_with_other_random_changes(tmp_path: Path) -> None:
    """The name of the file is the same, so that its settings tell nothing."""
    images, file = image_samples(60), tmp_path / "own.py"
    splits = Splits(images.select(np.arange(40)), None, images.select(np.arange(40, 60)), None, ())
    own: dict[str, Any] = {"augment": f"{file}:change", "student": functools.partial(make_student, "cnn", (3, 8, 8), 3)}
    code = "def change(image): return image.flip(2)\n"
    file.write_text(code)
    trainer_for(splits, tmp_path, "run", epochs=1, **own).fit()
    before = told(tmp_path / "run")
    file.write_text(code.replace("2", "1"))
    said = r"the file that augment of run .*run names holds other code than when the run was started; put back what"
    with pytest.raises(UserError, match=said):
        resumed(splits, tmp_path / "run", epochs=2, **own)
    assert told(tmp_path / "run") == before
    file.write_text(code)
    resumed(splits, tmp_path / "run", epochs=2, **own)


@pytest.mark.parametrize("size", [1, 150])
def test_the_identity_of_samples_tells_what_a_run_depends_on(splits: Splits, size: int) -> None:
    samples = splits.train.select(np.arange(size))
    names = dataclasses.replace(samples, classes=("a", "b", "x"))
    ids = dataclasses.replace(samples, ids=samples.ids + 1)
    changed = [change(samples) for change in CHANGES[: 4 if size > 1 else 3]]
    assert len({identity(each) for each in (samples, names, ids, *changed)}) == 3 + len(changed)
    assert identity(samples.select(np.arange(size))) == identity(samples)


def test_a_run_whose_classes_were_counted_otherwise_is_told_so(splits: Splits, finished: Path) -> None:
    """Of labels 1 to 3 four classes were made, of which 0 was empty."""
    (finished / "classes.json").write_text(json.dumps(["0", "1", "2", "3"]))
    now = named(splits, ("1", "2", "3"), "id")
    with pytest.raises(UserError) as raised:
        resumed(now, finished, epochs=3)
    assert str(raised.value) == (
        f"run {finished} is of a version of ray_mentor that counted labels from 1 to 3 as 4 classes, of which 0 was "
        "empty; they are 3 classes by now, so that it can't go on: start another run"
    )
    (finished / "classes.json").write_text(json.dumps(["0", "1", "2"]))
    with pytest.raises(UserError, match="are others than now"):
        resumed(now, finished, epochs=3)
