"""Evaluation leaves no trace: each module's mode, the buffers and the random state stay."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_mentor.core.step.evaluation import evaluating, gives_probabilities, hits, total_loss


def student() -> nn.Module:
    """One whose first batch norm is frozen, as in fine-tuning."""
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    made[1].eval()
    return made


def batches() -> list[tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(1)
    return [(torch.randn(n, 4, generator=draw), torch.randint(3, (n,), generator=draw)) for n in (7, 1, 4)]


def per_sample(outputs: Tensor, labels: Tensor) -> Tensor:
    torch.rand(1)  # a loss may draw
    return F.cross_entropy(outputs, labels, reduction="none")


def test_a_sum_over_all_batches_in_evaluation_mode() -> None:
    made = student()
    found, right = total_loss(made, per_sample, batches()), hits(made, batches())
    made.eval()
    inputs, labels = (torch.cat(parts) for parts in zip(*batches(), strict=True))
    outputs = made(inputs)
    assert found == pytest.approx(F.cross_entropy(outputs, labels, reduction="sum").item())
    assert right is not None
    assert right.tolist() == (outputs.argmax(dim=1) == labels).tolist()


def test_no_trace() -> None:
    made = student()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    draws = torch.get_rng_state()
    total_loss(made, per_sample, batches())
    hits(made, batches())
    assert [module.training for module in made] == [True, False, True, True, True]
    assert made.training
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    assert torch.equal(torch.get_rng_state(), draws)


def test_the_modes_come_back_after_an_error() -> None:
    made = student()
    seen = []
    with suppress(ZeroDivisionError), evaluating(made):
        seen = [module.training for module in made.modules()]
        raise ZeroDivisionError
    assert seen == [False] * 6
    assert [module.training for module in made] == [True, False, True, True, True]


@pytest.mark.parametrize(
    "last",
    [
        nn.Linear(4, 1),
        nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)),
        nn.Sequential(nn.Linear(4, 12), nn.Unflatten(1, (2, 6))),
    ],
)
def test_outputs_that_are_no_logits_hit_nothing(last: nn.Module) -> None:
    assert hits(last, batches()) is None


@pytest.mark.parametrize(
    ("last", "probabilities"), [(nn.Softmax(1), True), (nn.Identity(), False), (nn.LogSoftmax(1), False),
                                (nn.Sigmoid(), False)]
)  # fmt: skip
def test_outputs_of_a_softmax_are_known(last: nn.Module, probabilities: bool) -> None:
    made = nn.Sequential(student(), last)
    draws = torch.get_rng_state()
    assert gives_probabilities(made, torch.randn(9, 4, generator=torch.Generator())) is probabilities
    assert made.training
    assert torch.equal(torch.get_rng_state(), draws)
