"""Predicted labels and margins: what they are of, and where there are none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from stand_in_device import DEVICE, OnDevice, StandInDevice
from tiny_run import batch_of, curriculum_of, student_of
from torch import nn

from ray_mentor.core.losses import OfBoth, cross_entropy
from ray_mentor.core.methods.mixing import make_mixing
from ray_mentor.core.methods.weightings import AbstractWeighting
from ray_mentor.core.step.said import said_of
from ray_mentor.core.student.pair import Pair

LABELS = torch.tensor([0, 2, 1])
LOGITS = torch.tensor([[3.0, 1.0, 2.5], [4.0, 1.0, -1.0], [0.0, 0.25, 0.0]])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_by_hand(dtype: torch.dtype) -> None:
    said = said_of(LOGITS.to(dtype), LABELS)
    assert said is not None
    assert said.tolist() == [[0, 0.5], [0, -5.0], [1, 0.25]]


def test_a_constant_changes_nothing_and_another_label_only_the_margin() -> None:
    said = said_of(LOGITS + 2, LABELS + 1)
    assert said is not None
    assert said[:, 0].tolist() == [0, 0, 1]
    assert said[0, 1] == -2.0
    assert said[1, 1].isnan(), "3 is no class of these outputs"


def test_two_students_are_the_mean_of_their_probabilities() -> None:
    both = torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(1)) * 3
    labels = torch.arange(6) % 3
    p = torch.softmax(both, dim=2).mean(dim=1)
    said = said_of(both, labels, is_pair=True)
    assert said is not None
    assert said[:, 0].tolist() == p.argmax(dim=1).tolist()
    log_p = p.log()
    for row, label in enumerate(labels.tolist()):
        others = [log_p[row, k] for k in range(3) if k != label]
        assert said[row, 1].item() == pytest.approx((log_p[row, label] - max(others)).item(), abs=1e-5)


@pytest.mark.parametrize("is_pair", [False, True])
def test_views_of_a_sample_are_averaged_too(is_pair: bool) -> None:
    shape = (8, 2, 3) if is_pair else (8, 3)
    outputs = torch.randn(*shape, generator=torch.Generator().manual_seed(2)) * 3
    p = torch.softmax(outputs, dim=-1)
    p = (p.mean(dim=1) if is_pair else p).reshape(2, 4, 3).mean(dim=0)
    said = said_of(outputs, torch.zeros(4, dtype=torch.long), is_pair=is_pair)
    assert said is not None
    assert said[:, 0].tolist() == p.argmax(dim=1).tolist()
    assert said[:, 1].tolist() == pytest.approx((p[:, 0] / p[:, 1:].amax(dim=1)).log().tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("outputs", "labels", "n_classes"),
    [
        ({"logits": LOGITS}, LABELS, 3),
        (LOGITS[:, 0], LABELS, 3),
        (LOGITS[:, :1], LABELS, 0),
        (LOGITS, LABELS, 4),
        (LOGITS.long(), LABELS, 3),
        (LOGITS[:, :, None], LABELS, 3),
        (LOGITS, LABELS[:, None], 3),
        (LOGITS, LABELS.float(), 3),
        (LOGITS[:2], LABELS, 3),
        (LOGITS[:0], LABELS[:0], 3),
    ],
)
def test_what_is_no_class_logits_says_nothing(outputs: Any, labels: torch.Tensor, n_classes: int) -> None:
    assert said_of(outputs, labels, n_classes) is None


# In a step


def test_a_record_says_what_the_student_said_before_the_step() -> None:
    student, batch = student_of(), batch_of()
    with torch.no_grad():
        logits = student(batch.inputs)
    record = curriculum_of(student).step(batch)
    expected = said_of(logits, batch.labels)
    assert expected is not None
    assert record.predicted_label.tolist() == expected[:, 0].int().tolist()
    assert record.predicted_label.dtype == torch.int32
    assert record.margin.tolist() == expected[:, 1].float().tolist()
    assert record.margin.dtype == torch.float32


@pytest.mark.parametrize("name", ["mixup", "mentormix-published"])
def test_a_batch_that_was_mixed_by_weight_is_spoken_of_unmixed(name: str) -> None:
    student, batch = student_of(), batch_of()
    with torch.no_grad():
        expected = said_of(student(batch.inputs), batch.labels)
    assert expected is not None
    unmixed = expected[:, 1].float().tolist()
    mixing = make_mixing(name, 1.0)
    record = curriculum_of(student, mixing=mixing).step(batch)
    assert (record.margin.tolist() == pytest.approx(unmixed)) == mixing.by_weight


class TwoNumbers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"mean": self.linear(inputs)}


def test_a_student_of_something_else_leaves_them_open() -> None:
    """−1 and NaN; a loss of one's own knows what its outputs are."""

    def loss(outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        return (outputs["mean"].sum(dim=1) - labels).square()

    record = curriculum_of(TwoNumbers(), loss=loss, meta_loss=loss).step(batch_of())
    assert record.predicted_label.tolist() == [-1] * 5
    assert record.margin.isnan().all()


def test_two_students_in_a_step() -> None:
    pair, batch = Pair(student_of(), nn.Linear(4, 3)), batch_of()
    with torch.no_grad():
        expected = said_of(pair(batch.inputs), batch.labels, is_pair=True)
    assert expected is not None

    class EqualOfBoth(AbstractWeighting):
        def __call__(self, seen: Any) -> torch.Tensor:
            return torch.ones(len(seen.features.loss), 2)

    loss = OfBoth(cross_entropy)
    record = curriculum_of(pair, loss=loss, weighting=EqualOfBoth()).step(batch)
    assert record.predicted_label.tolist() == expected[:, 0].int().tolist()
    assert record.margin.tolist() == pytest.approx(expected[:, 1].float().tolist())


@pytest.mark.parametrize("is_pair", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_device_says_the_same_to_the_bit_and_is_not_waited_for(is_pair: bool, dtype: torch.dtype) -> None:
    """Ties, labels that are no class, and logits that are not finite among them."""
    logits = torch.randn(12, 5, generator=torch.Generator().manual_seed(3)).to(dtype)
    logits[0], logits[1, :3] = 0.0, 2.0
    logits[2, 1], logits[3, 2], logits[4] = torch.nan, torch.inf, torch.inf
    logits[5, 3] = -torch.inf
    outputs = torch.stack([logits, logits.flip(0)], dim=1) if is_pair else logits
    labels = torch.tensor([0, 2, 1, 2, 3, 3, -1, 5, 4, 0, 1, -100])
    here = said_of(outputs, labels, 5, is_pair=is_pair)
    with StandInDevice():
        there = said_of(outputs.to(DEVICE), labels.to(DEVICE), 5, is_pair=is_pair)
    assert here is not None
    assert isinstance(there, OnDevice)
    assert torch.equal(here.nan_to_num(-7), there.inner.nan_to_num(-7))
    assert torch.equal(here.isnan(), there.inner.isnan())
