"""What a student returns that cross-entropy can't take: said in the user's words."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ray_mentor.core.losses import cross_entropy
from ray_mentor.errors import UserError

LABELS = torch.tensor([0, 2, 1])
OUTPUT = SimpleNamespace(logits=torch.zeros(3, 3))


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (OUTPUT, "the student returned a SimpleNamespace, but the loss needs a tensor of logits; return its .logits, "
         "or give a loss of your own"),
        ({"logits": torch.zeros(3, 3)}, "the student returned a dict, but the loss needs a tensor of logits; return "
         "its ['logits'], or give a loss of your own"),
        ((torch.zeros(3, 3),), "the student returned a tuple, but the loss needs a tensor of logits; return the "
         "logits, or give a loss of your own"),
        (torch.zeros(3, 2), "the student gives 2 logits a sample, but there is a label 2, so there are at least 3 "
         "classes; give it an output for each"),
    ],
)  # fmt: skip
def test_outputs_that_are_no_logits(outputs: Any, said: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(said)}$"):
        cross_entropy(outputs, LABELS)


def test_logits_are_taken() -> None:
    assert cross_entropy(torch.zeros(3, 3), LABELS) == pytest.approx(torch.full((3,), 3.0).log())
