"""The trained student in a run's folder: the same numbers come out, and nothing else is let in."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow.fs
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import TensorDataset
from trained_students import CLASSES, feature_samples, image_samples, images, left_by, named, seeded

from ray_mentor import Student
from ray_mentor.core.student.pair import pair_of
from ray_mentor.errors import UserError
from ray_mentor.run.checkpoint.kept import KeptState
from ray_mentor.students import MLP, make_student

PIXELS = images()
SAMPLES = image_samples(PIXELS)
FEATURES = np.random.default_rng(1).normal(5, 3, (9, 4)).astype(np.float32)


def by_hand(module: nn.Module, pixels: np.ndarray) -> torch.Tensor:
    """softmax(f((pixel/255 − mean)/std)), mean and std of the training pixels in float64."""
    fed = torch.from_numpy(pixels.astype(np.float64) / 255).permute(0, 3, 1, 2)
    every = torch.from_numpy(PIXELS.astype(np.float64) / 255).permute(0, 3, 1, 2)
    mean, std = every.mean((0, 2, 3), keepdim=True), every.std((0, 2, 3), keepdim=True, correction=0)
    with torch.no_grad():
        return torch.softmax(module.double()((fed - mean) / std), dim=1)


@pytest.mark.parametrize("name", ["cnn", "mlp"])
def test_it_says_of_raw_images_what_the_student_says_of_normalised_ones(tmp_path: Path, name: str) -> None:
    build = named(SAMPLES, name)
    module = seeded(build)
    student = Student.from_run(left_by(tmp_path / "run", SAMPLES, build, module))
    expected = by_hand(module, PIXELS).numpy()
    assert student.classes == CLASSES
    assert not student.module.training
    assert student.predict(PIXELS) == pytest.approx(expected, abs=1e-5)
    assert student.predict(PIXELS, batch_size=2) == pytest.approx(expected, abs=1e-5)
    assert torch.equal(student.predict(torch.from_numpy(PIXELS)), torch.from_numpy(student.predict(PIXELS)))
    assert np.ptp(expected, axis=0).max() > 1e-3, "a student that says the same of all shows nothing"


def test_features_are_scaled_and_not_written_to(tmp_path: Path) -> None:
    samples = feature_samples(FEATURES)
    build = named(samples, "mlp")
    module = seeded(build)
    student = Student.from_run(left_by(tmp_path / "run", samples, build, module, names=("a", "b", "c", "d")))
    before = FEATURES.copy()
    with torch.no_grad():
        fed = torch.from_numpy((before - before.mean(0)) / before.std(0))
        expected = torch.softmax(module(fed), dim=1).numpy()
    assert student.predict(FEATURES) == pytest.approx(expected, abs=1e-5)
    assert np.array_equal(FEATURES, before)
    assert student.about.input.names == ("a", "b", "c", "d")


def test_a_data_frame_has_features_by_name(tmp_path: Path) -> None:
    samples = feature_samples(FEATURES)
    build = named(samples, "mlp")
    student = Student.from_run(left_by(tmp_path / "run", samples, build, seeded(build), names=("a", "b", "c", "d")))
    frame = pd.DataFrame({"remark": "x", **{name: FEATURES[:, place] for place, name in enumerate("abcd")}})
    assert np.array_equal(student.predict(frame[["d", "remark", "b", "a", "c"]]), student.predict(FEATURES))
    with pytest.raises(
        UserError, match=r"the data frame lacks a, d \(2\); its columns are remark, b, c: the student was"
    ):
        student.predict(frame[["remark", "b", "c"]])


def test_two_students_say_the_mean_of_their_probabilities(tmp_path: Path) -> None:
    build = named(SAMPLES)
    pair = seeded(functools.partial(pair_of, build))
    student = Student.from_run(left_by(tmp_path / "run", SAMPLES, build, pair, students=2))
    expected = (by_hand(pair.first, PIXELS) + by_hand(pair.second, PIXELS)) / 2
    assert student.predict(PIXELS) == pytest.approx(expected.numpy(), abs=1e-5)
    assert "both" in json.loads((tmp_path / "run/student/student.json").read_text())["says"]


def test_the_kept_epochs_student_and_the_last_ones(tmp_path: Path) -> None:
    build = named(SAMPLES)
    earlier, last = seeded(build, 1), seeded(build, 2)
    right = torch.tensor([True] * 29 + [False])
    kept = KeptState(1, right, 3, ~right, dict(earlier.state_dict()))
    run = left_by(tmp_path / "run", SAMPLES, build, last, kept=kept)
    of_kept, of_last = Student.from_run(run), Student.from_run(run, which="last")
    assert of_kept.predict(PIXELS) == pytest.approx(by_hand(earlier, PIXELS).numpy(), abs=1e-5)
    assert of_last.predict(PIXELS) == pytest.approx(by_hand(last, PIXELS).numpy(), abs=1e-5)
    assert [of_kept.figures[name] for name in ("epoch", "test_accuracy", "trusted_accuracy")] == [
        2, pytest.approx(0.1), pytest.approx(29 / 30),
    ]  # fmt: skip
    assert [of_last.figures[name] for name in ("epoch", "test_accuracy", "trusted_accuracy")] == [
        4, pytest.approx(0.3), pytest.approx(1 / 30),
    ]  # fmt: skip
    left_by(tmp_path / "run", SAMPLES, build, last)  # a run that went on, and kept its last
    assert not (tmp_path / "run/student/last.safetensors").exists()
    assert Student.from_run(run, which="last").predict(PIXELS) == pytest.approx(by_hand(last, PIXELS).numpy(), abs=1e-5)


class Tied(nn.Module):
    """Two layers of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.second(torch.relu(self.first(x))))


def test_tied_params_are_written_once_and_stay_tied(tmp_path: Path) -> None:
    samples = feature_samples(FEATURES)
    module = seeded(Tied)
    run = left_by(tmp_path / "run", samples, Tied, module)
    student = Student.from_run(run, Tied)
    assert torch.equal(student.module.second.weight, module.first.weight)
    assert student.module.second.weight is student.module.first.weight
    plain = Tied()
    safetensors.torch.load_model(plain, f"{run}/student/model.safetensors")
    for name, value in module.state_dict().items():
        assert torch.equal(plain.state_dict()[name], value), name


def test_buffers_that_are_parts_of_one_another(tmp_path: Path) -> None:
    class Parted(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 3)
            whole = torch.arange(6.0)
            self.register_buffer("whole", whole)
            self.register_buffer("part", whole[2:4])

    run = left_by(tmp_path / "run", feature_samples(FEATURES), Parted, Parted())
    assert Student.from_run(run, Parted).module.part.tolist() == [2, 3]


def test_a_folder_never_says_which_code_is_run(tmp_path: Path) -> None:
    samples = feature_samples(FEATURES)
    build = functools.partial(MLP, 4, 3, (16,))
    run = left_by(tmp_path / "run", samples, build, seeded(build))
    with pytest.raises(UserError, match="built by code of your own; say by what: --student module:function"):
        Student.from_run(run)
    assert Student.from_run(run, build).predict(FEATURES).shape == (9, 3)
    build = named(samples, "mlp")
    run = left_by(tmp_path / "other", samples, build, seeded(build))
    file = tmp_path / "other/student/student.json"
    file.write_text(file.read_text().replace('"mlp"', '"os:getcwd"'))
    with pytest.raises(UserError, match="is 'os:getcwd', code that may be anybody's; if it is yours, say so"):
        Student.from_run(run)


def test_params_of_another_student_are_named(tmp_path: Path) -> None:
    samples = feature_samples(FEATURES)
    build, other = functools.partial(MLP, 4, 3, (16,)), functools.partial(nn.Linear, 4, 3)
    run = left_by(tmp_path / "run", samples, build, seeded(build))
    with pytest.raises(UserError) as refused:
        Student.from_run(run, other)
    assert re.search(r"is of another student: it lacks bias, weight \(2\); left over are body\.", str(refused.value))
    with pytest.raises(UserError, match=r"of another shape are body\S+ \(16,\) for \(5,\), "):
        Student.from_run(run, functools.partial(MLP, 4, 3, (5,)))


@pytest.fixture
def run(tmp_path: Path) -> str:
    build = named(SAMPLES)
    return left_by(tmp_path / "run", SAMPLES, build, seeded(build))


def test_a_damaged_file_is_refused(run: str) -> None:
    file = Path(run, "student/model.safetensors")
    whole = bytearray(file.read_bytes())
    whole[-5] ^= 1
    file.write_bytes(whole)
    with pytest.raises(
        UserError, match=r"model.safetensors is not the file that student/student.json was written with"
    ):
        Student.from_run(run)
    file.unlink()
    with pytest.raises(UserError, match=r"model.safetensors is not there; put it back"):
        Student.from_run(run)


def test_no_student_yet_and_no_run(run: str, tmp_path: Path) -> None:
    Path(run, "student/student.json").unlink()
    with pytest.raises(UserError, match=r"has no trained student \(student/student.json\), which a run writes when it"):
        Student.from_run(run)
    with pytest.raises(UserError, match=r"nowhere is not a run: it has no config.toml; give the folder of a finished"):
        Student.from_run(str(tmp_path / "nowhere"))


def test_a_choice_that_there_is_not(run: str) -> None:
    with pytest.raises(UserError, match=r"unknown choice of a trained student 'best'; valid: kept, last, average"):
        Student.from_run(run, which="best")
    with pytest.raises(UserError, match=r"kept no average of its student; leave it out"):
        Student.from_run(run, which="average")


def test_a_run_on_another_file_system(run: str, tmp_path: Path) -> None:
    files = pyarrow.fs.SubTreeFileSystem(str(tmp_path), pyarrow.fs.LocalFileSystem())
    assert np.array_equal(Student.from_run("run", files=files).predict(PIXELS), Student.from_run(run).predict(PIXELS))
    assert np.array_equal(Student.from_run(f"file://{run}").predict(PIXELS), Student.from_run(run).predict(PIXELS))


def test_data_in_whatever_form_training_takes_them(tmp_path: Path) -> None:
    samples = feature_samples(FEATURES)
    build = named(samples, "mlp")
    run = left_by(tmp_path / "run", samples, build, seeded(build), names=tuple("abcd"))
    student = Student.from_run(run)
    expected = student.predict(FEATURES)
    frame = pd.DataFrame(FEATURES, columns=list("abcd"))[["d", "b", "a", "c"]].assign(label="x")
    pairs = TensorDataset(torch.from_numpy(FEATURES), torch.zeros(len(FEATURES)))
    for data in (frame, datasets.Dataset.from_pandas(frame), pairs, FEATURES.tolist()):
        assert student.predict(data, batch_size=4) == pytest.approx(expected, abs=1e-6)
    for wrong, said in (
        ((FEATURES, [0] * len(FEATURES)), "the inputs are a tuple that is no array of numbers ("),
        ("new.csv", "the inputs are a str that is no array of numbers ("),
        (frame.assign(a="x"), "the data frame's features are not all numbers ("),
        (TensorDataset(torch.ones(2, 3), torch.ones(2)), "the inputs have shape (2, 3), but the student takes feat"),
    ):
        with pytest.raises(UserError) as refused:
            student.predict(wrong)
        assert said in str(refused.value)


def test_grey_images_may_lack_their_axis_of_channels(tmp_path: Path) -> None:
    """As training takes arrays of them."""
    pixels = images((8, 8, 1))
    samples = image_samples(pixels)
    build = named(samples)
    student = Student.from_run(left_by(tmp_path / "run", samples, build, seeded(build)))
    assert np.array_equal(student.predict(pixels[..., 0]), student.predict(pixels))
    with pytest.raises(UserError, match=r"the inputs are a table, but the student takes uint8 images .*prepare\(image"):
        student.predict(pd.DataFrame({"a": [1.0]}))


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (images((9, 8, 3)), "the inputs have shape (7, 9, 8, 3), but the student takes uint8 images of shape (N, 8, 8"),
        (images((8, 8, 1)), "the inputs have shape (7, 8, 8, 1), but"),
        (PIXELS[0], "the inputs have shape (8, 8, 3), but the student takes uint8 images"),
        (PIXELS / 255, "the images are float64, but the student takes pixels as uint8, 0 to 255; convert them"),
    ],
)
def test_inputs_of_another_kind(run: str, inputs: np.ndarray, said: str) -> None:
    with pytest.raises(UserError) as refused:
        Student.from_run(run).predict(inputs)
    assert said in str(refused.value)


def test_outputs_that_are_no_logits(tmp_path: Path) -> None:
    samples, build = feature_samples(FEATURES), functools.partial(nn.Linear, 4, 1)
    run = left_by(tmp_path / "run", samples, build, build())
    with pytest.raises(
        UserError, match=r"the student returns \(9, 1\), but probabilities are of logits, of shape \(9, 3"
    ):
        Student.from_run(run, build).predict(FEATURES)


WORDS: Any = st.sampled_from(
    [None, True, -1, 0, 3.5, "", "x", [], {}, [1], {"a": 1}, 10**30, [[[]]], "mlp", "cnn", [10**6] * 3, float("inf")]
)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(place=st.integers(0, 100), value=WORDS)
def test_whatever_student_json_says_is_a_student_or_an_error_of_the_users(run: str, place: int, value: Any) -> None:
    file = Path(run, "student/student.json")
    before = file.read_text()
    table = json.loads(before)
    places = [(table, name) for name in table]
    places += [(table[inner], name) for inner in ("build", "input", "files") for name in table[inner]]
    holder, name = places[place % len(places)]
    holder[name] = value
    file.write_text(json.dumps(table))
    try:
        Student.from_run(run)
    except UserError as error:
        assert len(str(error)) < 600  # noqa: PT017
    finally:
        file.write_text(before)


def test_other_code_than_it_was_trained_with_is_said(tmp_path: Path) -> None:
    """Its params fit, so that nothing else tells."""
    code = (
        "from torch import nn\n"
        "def student(shape, classes): return nn.Sequential(nn.Linear(shape[0], 8), nn.ReLU(), nn.Linear(8, classes))\n"
    )
    file = tmp_path / "own.py"
    file.write_text(code)
    name = f"{file}:student"
    samples = feature_samples(np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32))
    build = functools.partial(make_student, name, (4,), 3, source=code.encode())
    run = left_by(tmp_path / "run", samples, build, seeded(build))
    assert Student.from_run(run, name).notes == ()
    file.write_text(code.replace("ReLU", "Tanh"))
    (said,) = Student.from_run(run, name).notes
    assert said.startswith(f"warning: the file of '{name}' holds other code than when {run} was trained: is it the s")
