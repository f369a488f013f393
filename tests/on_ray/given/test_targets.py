"""Runs on targets that aren't one class each: amounts, several classes at once, a class a token."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest
import torch
from same_values import assert_same_values
from third_wrong import in_this_process, mean_weights
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from ray_mentor.config import MentorConfig
from ray_mentor.errors import UserError
from ray_mentor.on_ray.train.given.samples import WITHOUT_CLASSES
from ray_mentor.on_ray.train.trainer import CurriculumTrainer

pytestmark = pytest.mark.long  # a dozen runs

N, N_META = 120, 40
TRUTH = torch.randn(4, 3, generator=torch.Generator().manual_seed(9))


def said_by(inputs: Tensor) -> Tensor:
    return inputs @ TRUTH


def of_amounts(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs[:, 0] - targets) ** 2


def of_labels(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs, targets, reduction="none").mean(1)


def of_tokens(outputs: Tensor, targets: Tensor) -> Tensor:
    """Two tokens of three classes each."""
    return F.cross_entropy(outputs.view(len(outputs), 2, 3).transpose(1, 2), targets, reduction="none").mean(1)


KINDS: dict[str, tuple[int, Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "amounts": (1, of_amounts, lambda inputs: said_by(inputs)[:, 0]),
    "several classes": (3, of_labels, lambda inputs: (said_by(inputs) > 0).float()),
    "tokens": (6, of_tokens, lambda inputs: torch.stack([said_by(inputs).argmax(1), inputs[:, :3].argmax(1)], dim=1)),
}


def samples(kind: str, n: int, seed: int, *, wrong: bool = False) -> tuple[Tensor, Tensor]:
    """Inputs and targets, of which, if so asked, every third is that of another input."""
    inputs = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))
    targets = KINDS[kind][2](inputs)
    third = torch.arange(n) % 3 == 0
    targets[third] = targets[third].roll(1, 0) if wrong else targets[third]
    return inputs, targets


def trainer(storage: Path, kind: str, name: str = "run", **changes: Any) -> CurriculumTrainer:
    outputs, loss, _ = KINDS[kind]
    arguments: dict[str, Any] = {
        "student": lambda: nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, outputs)),
        "data": TensorDataset(*samples(kind, N, 1, wrong=True)),
        "meta": TensorDataset(*samples(kind, N_META, 2)),
        "test": TensorDataset(*samples(kind, N_META, 3)),
        "loss": loss,
        "mentor": MentorConfig(update_interval=2),
        "epochs": 30,
        **in_this_process(storage, name),
    }
    return CurriculumTrainer(**{**arguments, **changes})


@pytest.mark.parametrize("kind", KINDS)
def test_a_mentor_learns_which_targets_are_wrong(kind: str, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    outcome = trainer(tmp_path, kind).fit(lambda row: rows.append(dict(row)))
    right, wrong = mean_weights(outcome)
    assert right > wrong + 0.2, (right, wrong)
    assert {"kind": "note", "text": WITHOUT_CLASSES} in rows
    assert outcome.result["meta_updates"] > 50
    for name in ("test_accuracy", "test_agreement", "trusted_accuracy", "wrong_labels", "noise_auroc"):
        assert outcome.result.get(name) is None, name
    assert outcome.metrics[-1]["meta_holdout_loss"] < outcome.metrics[0]["meta_holdout_loss"] / 2
    assert outcome.result["test_loss"] < outcome.metrics[0]["test_loss"] / 2
    assert (tmp_path / "run/report.html").exists()
    assert (tmp_path / "run/audit.csv").exists()
    ledger = outcome.ledger()
    assert set(ledger["given_label"].to_pylist()) == {0}
    assert set(ledger["predicted_label"].to_pylist()) == {-1}
    assert json.loads((tmp_path / "run/classes.json").read_text()) == ["any target"]
    assert not (tmp_path / "run/predictions.parquet").exists()


def test_a_run_goes_on_with_the_same_bits_and_refuses_other_targets(tmp_path: Path) -> None:
    whole = trainer(tmp_path, "amounts", "whole", epochs=4).fit()
    again = trainer(tmp_path, "amounts", "again", epochs=4).fit()
    assert_same_values(whole.student_state, again.student_state)
    inputs, targets = samples("amounts", N, 1, wrong=True)
    other = TensorDataset(inputs, targets + 1)
    with pytest.raises(UserError, match="training samples"):
        trainer(tmp_path, "amounts", "whole", epochs=4, data=other, resume=True).fit()


def frame(inputs: Tensor, targets: Tensor) -> pd.DataFrame:
    return pd.DataFrame({**{f"x{place}": inputs[:, place].numpy() for place in range(4)}, "price": targets.numpy()})


def table(inputs: Tensor, targets: Tensor) -> datasets.Dataset:
    columns = {f"x{place}": inputs[:, place].tolist() for place in range(4)}
    return datasets.Dataset.from_dict({**columns, "price": targets.tolist()})


def arrays(inputs: Tensor, targets: Tensor) -> tuple[Any, Any]:
    return inputs.numpy(), targets.numpy()


@pytest.mark.parametrize(
    ("kind", "make"),
    [("amounts", frame), ("amounts", arrays), ("several classes", table), ("tokens", arrays)],
)
def test_tables_and_arrays_have_such_targets_too(kind: str, make: Callable[..., Any], tmp_path: Path) -> None:
    given = {name: make(*samples(kind, *how, wrong=name == "data"))
             for name, how in {"data": (N, 1), "meta": (N_META, 2), "test": (N_META, 3)}.items()}  # fmt: skip
    ours = trainer(tmp_path, kind, "ours", epochs=3, label_column="price", **given).fit()
    torchs = trainer(tmp_path, kind, "torchs", epochs=3).fit()
    assert_same_values(ours.student_state, torchs.student_state)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"loss": None}, "labels: row 0 is "),
        ({"method": "mentornet-dd"}, "method is 'mentornet-dd', which goes by classes, but the targets aren't one "
         "class each (targets of float32 and shape ()); leave it out"),
        ({"mentor": MentorConfig(mentor_features=("loss", "label"))}, "mentor_features is ('loss', 'label'), which"),
        ({"meta": TensorDataset(torch.zeros(9, 4), torch.zeros(9, 2))},
         "meta has targets of float32 and shape (2,), but data targets of float32 and shape (); give targets of one"),
        ({"meta": TensorDataset(torch.zeros(9, 4), torch.zeros(9).long())}, "meta has classes, but data targets of"),
        ({"meta_from": "pseudo-clean"}, "meta_from is 'pseudo-clean', which goes by classes"),
    ],
)  # fmt: skip
def test_what_is_refused(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        trainer(tmp_path, "amounts", **changes)
    assert says in str(raised.value)
