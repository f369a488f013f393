"""Inputs that hold several views of each sample: influences of some samples are those that they have among all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from own_loop import CLASSES, Loop, blobs, noisy, per_sample, student
from torch import Tensor

from ray_mentor.config import MentorConfig
from ray_mentor.core.batch import Arguments, Batch
from ray_mentor.errors import UserError


def of_two_views(outputs: Tensor, labels: Tensor) -> Tensor:
    """Of the mean of both; of other than 2·B rows it makes something else, without a word."""
    return per_sample(outputs.reshape(2, len(labels), -1).mean(0)[:, :CLASSES], labels)


def two_views(inputs: Tensor) -> Tensor:
    return torch.cat([inputs, inputs + 0.1]).double()


class MetaLoader:
    def __iter__(self) -> Iterator[tuple[tuple[Tensor], Tensor]]:
        inputs, labels = blobs(16, 1)
        yield (two_views(inputs),), labels


def influences(estimator: str, some: int) -> Tensor:
    """Of one step, of ``some`` of its samples; 0: of all."""
    settings = MentorConfig(
        update_interval=1, meta_batch_size=16, meta_loss="loss", estimator=estimator, influence_samples=some
    )
    loop = Loop(lambda: student().double(), meta_loader=MetaLoader(), mentor=settings, loss=of_two_views)
    inputs, labels, _ = next(noisy(1))
    losses = of_two_views(loop.student(two_views(inputs)), labels)
    return loop.finish(loop.curriculum.weigh(losses, labels=labels)).influence


@pytest.mark.parametrize("estimator", ["jvp", "finite_difference", "unrolled"])
def test_some_samples_are_as_among_all(estimator: str) -> None:
    some, everyone = influences(estimator, 6), influences(estimator, 0)
    known = ~some.isnan()
    assert int(known.sum()) == 6
    torch.testing.assert_close(some[known], everyone[known], rtol=1e-6, atol=0)


def test_the_last_layer_is_refused() -> None:
    with pytest.raises(UserError, match=r"^estimator is 'last_layer', but the student returns 40 rows for 20 samples;"):
        influences("last_layer", 0)


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (torch.zeros(4, 3), True),
        (torch.zeros(8, 3), False),
        (torch.zeros(5, 3), False),
        (Arguments((torch.zeros(4, 7), torch.zeros(7, 7)), {"scale": torch.tensor(2.0)}), True),
        (Arguments((torch.zeros(4, 7),), {"pair": [torch.zeros(8, 7)]}), False),
        (Arguments((), {"packed": torch.zeros(13), "ends": torch.zeros(5)}), False),
    ],
)
def test_who_is_by_rows(inputs: Tensor | Arguments, expected: bool) -> None:
    rows = torch.arange(4)
    assert Batch(rows, rows, inputs, rows).is_by_rows is expected
