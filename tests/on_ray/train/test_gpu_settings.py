"""Settings made for GPUs, which mean the same on a CPU: bf16, channels last, inputs in the device's memory."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from same_values import assert_same_values
from small_runs import assert_same_run, trainer_for
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call

from ray_mentor.core.student.precision import in_bf16
from ray_mentor.data import FeatureInputs, ImageInputs, Samples, Splits
from ray_mentor.data.storage.on_device import on_device
from ray_mentor.errors import RunStoppedError, UserError
from ray_mentor.on_ray.train.assemble import scores_here
from ray_mentor.students import CNN

pytestmark = pytest.mark.long  # whole runs

CPU = torch.device("cpu")
ALL = {"precision": "bf16", "channels_last": True, "hold_on_device": True}
EPOCHS = {"epochs": 6}


def images(n: int, first: int) -> Samples:
    """Dark and bright ones."""
    draw = np.random.default_rng(first)
    labels = np.arange(n) % 2
    pixels = draw.integers(0, 128, (n, 8, 8, 3)) + 128 * labels[:, None, None, None]
    return Samples(ImageInputs(pixels.astype(np.uint8)), first + np.arange(n), labels, labels, ("dark", "bright"))


@pytest.fixture(scope="module")
def image_splits() -> Splits:
    scale = images(64, 0).inputs.statistics()  # type: ignore[attr-defined]

    def scaled(n: int, first: int) -> Samples:
        made = images(n, first)
        return made.with_inputs(made.inputs.scaled(scale))  # type: ignore[attr-defined]

    return Splits(scaled(64, 0), None, scaled(16, 100), scaled(16, 200), ())


def fit(splits: Splits, storage: Path, name: str, **changes: Any) -> Any:
    student = functools.partial(CNN, 3, 2)
    return trainer_for(splits, storage, name, student=student, **{**EPOCHS, **changes}).fit()


def test_bf16_is_autocasts_and_gives_float32() -> None:
    torch.manual_seed(0)
    student, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(5, 4)
    with torch.autocast("cpu", torch.bfloat16):
        expected = student(x)
    assert expected.dtype == torch.bfloat16
    found = in_bf16(student)(x)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected.float())
    assert all(param.dtype == torch.float32 for param in student.parameters())


@pytest.mark.filterwarnings("ignore:`torch.jit.script:FutureWarning", "ignore:`torch.jit.script:DeprecationWarning")
def test_bf16_with_other_params_and_in_forward_mode() -> None:
    """As the meta step calls a student; the tangent against differences in float64."""
    torch.manual_seed(0)
    student, x = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)), torch.randn(5, 4)
    params = {name: param.detach() for name, param in student.named_parameters()}
    direction = {name: torch.randn_like(param) for name, param in params.items()}

    def wide(tensors: dict[str, Any]) -> Any:
        return functional_call(student, tensors, (x.double(),))

    def along(far: float) -> dict[str, Any]:
        return {name: param.double() + far * direction[name].double() for name, param in params.items()}

    exact = (wide(along(1e-4)) - wide(along(-1e-4))) / 2e-4
    narrow = in_bf16(student)
    with forward_ad.dual_level():
        duals = {name: forward_ad.make_dual(param, direction[name]) for name, param in params.items()}
        tangent = forward_ad.unpack_dual(functional_call(narrow, duals, (x,))).tangent
    assert tangent.dtype == torch.float32
    assert 0 < (tangent - exact).norm() / exact.norm() < 0.03
    moved = {name: param + 1 for name, param in params.items()}
    assert not torch.equal(functional_call(narrow, moved, (x,)), narrow(x))


def test_all_outputs_become_wide() -> None:
    class Two(nn.Linear):
        def forward(self, x: Any) -> Any:
            return {"logits": super().forward(x), "count": torch.tensor(3), "name": "two"}

    found = in_bf16(Two(4, 2))(torch.randn(3, 4))
    assert (found["logits"].dtype, found["count"].dtype, found["name"]) == (torch.float32, torch.int64, "two")


@pytest.mark.parametrize("kind", ["images", "features"])
def test_what_lies_on_the_device_is_fed_with_the_same_bits(kind: str) -> None:
    samples = images(20, 0)
    if kind == "features":
        values = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32)
        samples = samples.with_inputs(FeatureInputs(values))
    inputs = samples.inputs.scaled(samples.inputs.statistics())  # type: ignore[attr-defined]
    held = on_device(samples.with_inputs(inputs), CPU).inputs
    rows = np.array([3, 3, 19, 0])
    for _ in range(2):  # to take rows changes nothing
        found, expected = held.take(rows), inputs.take(rows)
        assert torch.equal(found, expected)
        assert found.stride() == expected.stride()
    assert (len(held), held.shape) == (20, inputs.shape)
    assert torch.equal(held.select(rows).take(np.array([2])), inputs.take(np.array([19])))
    assert (held.content_hashes() == inputs.content_hashes()).all()


def test_a_run_with_its_inputs_on_the_device_is_the_same(image_splits: Splits, tmp_path: Path) -> None:
    assert_same_run(
        fit(image_splits, tmp_path, "held", hold_on_device=True, augment="randaugment"),
        fit(image_splits, tmp_path, "plain", augment="randaugment"),
    )


def test_a_run_with_all_of_them_learns_and_goes_on_exactly(image_splits: Splits, tmp_path: Path) -> None:
    class Stop:
        def __call__(self, row: dict[str, Any]) -> None:
            if row["kind"] == "epoch":
                raise KeyboardInterrupt

    whole = fit(image_splits, tmp_path, "whole", **ALL)
    assert whole.result["test_accuracy"] > 0.9
    student = functools.partial(CNN, 3, 2)
    with pytest.raises((KeyboardInterrupt, RunStoppedError)):
        trainer_for(image_splits, tmp_path, "cut", student=student, **EPOCHS, **ALL).fit(Stop())
    assert_same_run(fit(image_splits, tmp_path, "cut", resume=True, **ALL), whole)
    plain = fit(image_splits, tmp_path, "plain")
    with pytest.raises(AssertionError):  # bf16 shows
        assert_same_values(whole.student_state, plain.student_state)


@pytest.mark.parametrize(
    ("scoring", "device", "here"),
    [
        ("auto", "cpu", False),
        ("auto", "cuda:1", True),
        ("actor", "cuda:1", False),
        ("replica", "cpu", True),
        ("replica", "cuda:1", True),
    ],
)
def test_who_scores_follows_from_the_students_device(scoring: str, device: str, here: bool) -> None:
    assert scores_here(scoring, torch.device(device)) is here


def test_a_data_set_of_ones_own_is_not_at_hand(tmp_path: Path) -> None:
    data = [(torch.randn(8), label % 3) for label in range(30)]
    splits = Splits(*(None,) * 4, ())  # type: ignore[arg-type]
    with pytest.raises(UserError, match="hold_on_device is on, but the training inputs are not at hand"):
        trainer_for(splits, tmp_path, "run", data=data, meta=data, hold_on_device=True)
