"""Runs in this process on a user's own: losses of any size and sign, and inputs that are ids."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from third_wrong import in_this_process, mean_weights
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.config.file import read_config
from ray_mentor.errors import UserError
from ray_mentor.on_ray.train.trainer import CurriculumTrainer

N, N_META = 60, 30


def samples(n: int, seed: int, wrong: bool = False) -> tuple[Tensor, Tensor]:
    """Inputs, and classes of which, if so asked, every third is wrong."""
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, 4, generator=draw)
    labels = inputs.argmax(1)
    return inputs, torch.where(torch.arange(n) % 3 == 0, (labels + 1) % 4, labels) if wrong else labels


def trainer(storage: Path, name: str, **changes: Any) -> CurriculumTrainer:
    arguments: dict[str, Any] = {
        "student": lambda: nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 4)),
        "data": TensorDataset(*samples(N, 1, wrong=True)),
        "meta": TensorDataset(*samples(N_META, 2)),
        "mentor": MentorConfig(update_interval=2, meta_holdout=0.1),
        "epochs": 40,
        **in_this_process(storage, name),
    }
    return CurriculumTrainer(**{**arguments, **changes})


def of_many_tokens(logits: Tensor, labels: Tensor) -> Tensor:
    """As if each label were said 200 times."""
    return 200 * F.cross_entropy(logits, labels, reduction="none")


def of_many_labels(logits: Tensor, labels: Tensor) -> Tensor:
    targets = F.one_hot(labels, 4).float().repeat(1, 20)
    return F.binary_cross_entropy_with_logits(logits.repeat(1, 20), targets, reduction="none").sum(1)


def of_a_density(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, reduction="none") - 60


def of_a_regression(outputs: Tensor, labels: Tensor) -> Tensor:
    return (outputs - 30 * F.one_hot(labels, 4)).square().sum(1)


LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], float]] = {
    "200 tokens": (of_many_tokens, 1e-4),
    "80 labels": (of_many_labels, 2e-3),
    "a density": (of_a_density, 0.02),
    "a regression": (of_a_regression, 2e-3),
}


@pytest.mark.long
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_of_any_size_under_the_defaults(tmp_path: Path, name: str) -> None:
    loss, rate = LOSSES[name]
    optimizer = lambda params: torch.optim.SGD(params, rate, momentum=0.9)  # noqa: E731
    outcome = trainer(tmp_path, "own", loss=loss, optimizer=optimizer, epochs=80).fit()
    settings = read_config(f"{outcome.path}/config.toml")
    assert settings["meta_loss"] == "loss"
    right, wrong = mean_weights(outcome)
    assert right > wrong + 0.2
    last = outcome.metrics[-1]
    assert last["meta_loss"] is not None
    assert abs(last["meta_loss"]) > 1 or name == "a density"
    influence = outcome.ledger()["influence"].drop_null().to_numpy()
    assert (abs(influence) > 0).mean() > 0.99


@pytest.mark.parametrize("name", LOSSES)
def test_the_expected_error_of_such_a_loss_is_refused(tmp_path: Path, name: str) -> None:
    mentor = MentorConfig(update_interval=2, meta_loss="error", meta_holdout=0.1)
    reason = "is below 0, as no" if name == "a density" else "of the 27 samples of the first meta batch"
    with pytest.raises(UserError, match=f"^meta_loss is 'error', 1 − exp.*{reason}.* give meta_loss='loss'"):
        trainer(tmp_path, "refused", loss=LOSSES[name][0], mentor=mentor, burn_in=0.15).fit()


def test_a_methods_own_loss_keeps_the_expected_error(tmp_path: Path) -> None:
    outcome = trainer(tmp_path, "plain", epochs=2).fit()
    assert "meta_loss" not in read_config(f"{outcome.path}/config.toml")
    losses = [row["meta_loss"] for row in outcome.metrics if row["meta_loss"] is not None]
    assert losses
    assert all(0 < loss < 1 for loss in losses)


def test_a_run_does_not_go_on_with_a_loss_of_another_kind(tmp_path: Path) -> None:
    trainer(tmp_path, "run", epochs=2).fit()
    with pytest.raises(UserError, match=r"^meta_loss is 'loss', but run .*/run was started with None; go on with"):
        trainer(tmp_path, "run", epochs=3, resume=True, loss=of_many_tokens).fit()


# Inputs that are ids

FIRST = 2**24  # float32 merges 2**24 and 2**24 + 1


class Looks(nn.Module):
    """Looks ids up, as they come, and remembers which it has seen."""

    seen: set[int]
    types: set[torch.dtype]

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(400, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, ids: Tensor) -> Tensor:
        Looks.seen.update(ids.flatten().tolist())
        Looks.types.add(ids.dtype)
        return self.head(self.table(ids - FIRST).mean(1))


@pytest.fixture
def looks() -> type[Looks]:
    Looks.seen, Looks.types = set(), set()
    return Looks


def texts(n: int, seed: int, dtype: torch.dtype) -> TensorDataset:
    """Ids that are all even, or all one more than a multiple of four."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    ids = FIRST + 4 * torch.randint(100, (n, 5), generator=draw) + labels[:, None]
    return TensorDataset(ids.to(dtype), labels)


def of_ids(storage: Path, **changes: Any) -> CurriculumTrainer:
    data = {"data": texts(60, 1, torch.int64), "meta": texts(30, 2, torch.int64), "test": texts(20, 3, torch.int64)}
    return trainer(storage, "ids", **{**data, "student": Looks, "epochs": 6, **changes})


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_ids_reach_the_student_as_they_are(tmp_path: Path, looks: type[Looks], dtype: torch.dtype) -> None:
    data = {name: texts(n, seed, dtype) for name, n, seed in (("data", 60, 1), ("meta", 30, 2), ("test", 20, 3))}
    outcome = of_ids(tmp_path, **data).fit()
    assert looks.types == {dtype}
    # It is tried with ones before.
    assert looks.seen - {1} == {int(i) for part in data.values() for i in part.tensors[0].flatten()}
    assert outcome.result["meta_updates"] > 0
    assert outcome.student_state["table.weight"].isfinite().all()


@pytest.mark.parametrize("mixing", ["mixup", "mentormix"])
@pytest.mark.parametrize("method", ["uniform", "mentornet"])
def test_ids_are_not_mixed(tmp_path: Path, looks: type[Looks], mixing: str, method: str) -> None:
    with pytest.raises(
        UserError,
        match=f"^mixing is '{mixing}', which blends inputs, but these are integers, and between two ids or codes lies "
        "no third; give mixing='none', or inputs that are floats$",
    ):
        of_ids(tmp_path, curriculum=CurriculumConfig(mixing=mixing, method=method))


@pytest.mark.parametrize("name", ["meta", "test", "validation"])
def test_ids_beside_floats_are_refused(tmp_path: Path, looks: type[Looks], name: str) -> None:
    with pytest.raises(
        UserError, match=f"^{name} gives inputs of torch.int32, but data of torch.int64; convert one of them$"
    ):
        of_ids(tmp_path, **{name: texts(20, 4, torch.int32)})
