"""A student that ends in a softmax is spoken of after its first epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_runs import trainer_for
from torch import nn

from ray_mentor.data import Splits

SAID = (
    "warning: the student's outputs are probabilities (each sample's sum to 1), but cross-entropy takes logits, and "
    "learns slowly from anything else; leave the softmax out"
)


def with_softmax() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 3), nn.Softmax(1))


def own_loss(outputs: Any, labels: Any) -> Any:
    return -outputs.gather(1, labels[:, None])[:, 0].clamp(min=1e-6).log()


@pytest.mark.parametrize(("changes", "times"), [({}, 1), ({"loss": own_loss, "meta_loss": "loss"}, 0)])
def test_it_is_said_once(small_splits: Splits, tmp_path: Path, changes: dict[str, Any], times: int) -> None:
    rows: list[dict[str, Any]] = []
    trainer_for(small_splits, tmp_path, "run", student=with_softmax, epochs=2, **changes).fit(rows.append)
    notes = [row["text"] for row in rows if row["kind"] == "note"]
    assert notes == [SAID] * times
