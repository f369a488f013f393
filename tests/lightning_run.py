"""A module, its data and a trainer for the callback's tests; run as a script, the two processes of one."""

from __future__ import annotations

import dataclasses
import io
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.lightning import LearnedCurriculumCallback

CLASSES = 3
SETTINGS = {
    "mentor": MentorConfig(update_interval=2, mentor_learning_rate=0.005, meta_loss="error"),
    "curriculum": CurriculumConfig(burn_in=0.0),
}


def blobs(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Three classes, well apart."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (n,), generator=generator)
    return torch.eye(CLASSES)[labels] * 3 + torch.randn(n, CLASSES, generator=generator), labels


def noisy() -> TensorDataset:
    """60 samples, every third of whose labels is wrong, with their ids."""
    inputs, truth = blobs(60, 0)
    given = torch.where(torch.arange(60) % 3 == 0, (truth + 1) % CLASSES, truth)
    return TensorDataset(inputs, given, torch.arange(60))


def train_loader(batch_size: int = 10) -> DataLoader[Any]:
    return DataLoader(noisy(), batch_size=batch_size)


def meta_loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(*blobs(16, 1)), batch_size=8, shuffle=True)


class Module(LightningModule):
    """A small network with momentum and a schedule that moves at every step."""

    def __init__(self, net: nn.Module | None = None, *, schedule: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = net or nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, CLASSES))
        self._schedule = schedule

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        losses = F.cross_entropy(self.net(batch[0]), batch[1], reduction="none")
        self.log("loss", losses.mean(), on_step=False, on_epoch=True)
        return losses

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.net.parameters(), 0.02, eps=1e-3)
        if not self._schedule:
            return optimizer
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def make_callback(**changes: Any) -> LearnedCurriculumCallback:
    loader = changes.pop("meta_loader", None) or meta_loader()
    return LearnedCurriculumCallback(loader, **{**SETTINGS, **changes})


def make_trainer(**changes: Any) -> Trainer:
    quiet: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    return Trainer(**{"accelerator": "cpu", "devices": 1, "max_epochs": 2, **quiet, **changes})


def fit(**trainer: Any) -> tuple[Module, LearnedCurriculumCallback]:
    module, callback = Module(), make_callback()
    make_trainer(callbacks=[callback], **trainer).fit(module, train_loader())
    return module, callback


def mentor_bytes(callback: LearnedCurriculumCallback) -> bytes:
    assert callback.curriculum is not None
    assert callback.curriculum.mentor is not None
    return callback.curriculum.mentor.state.payload


SCENARIOS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulation": {"accumulate_grad_batches": 3},
    "clipping": {"gradient_clip_val": 0.1},
    "bf16-mixed": {"precision": "bf16-mixed"},
}


def facts(name: str, devices: int) -> dict[str, Any]:
    """A fit's outcome; with two devices each has half of every batch, and of the one meta batch."""
    strategy = {"strategy": "ddp", "devices": 2} if devices == 2 else {}
    data = TensorDataset(*blobs(16, 1))
    module = Module()
    trainer_options = {**SCENARIOS[name], **strategy}
    meta = [data[:]] if devices == 1 else _HalfOf(data)
    # under `sum` a fresh mentor's bias has a hypergradient of 0, and Adam makes a step of its rounding
    settings = dataclasses.replace(SETTINGS["mentor"], normalisation="batch")
    callback = make_callback(meta_loader=meta, mentor=settings)
    make_trainer(callbacks=[callback], **trainer_options).fit(module, _share_of_the_data(devices))
    assert callback.curriculum is not None
    mentor = torch.load(io.BytesIO(mentor_bytes(callback)), weights_only=True)["mentor"]
    steps = callback.curriculum.curriculum.step_number
    return {"params": {k: v.detach() for k, v in module.state_dict().items()}, "mentor": mentor, "steps": steps}


def _share_of_the_data(devices: int) -> DataLoader[Any]:
    """In order; the sampler that Lightning would put in shuffles."""
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    sampler = DistributedSampler(noisy(), num_replicas=devices, rank=rank, shuffle=False)
    return DataLoader(noisy(), batch_size=20 // devices, sampler=sampler)


class _HalfOf:
    """This rank's half of a meta set that is one batch."""

    def __init__(self, data: TensorDataset) -> None:
        self.data = data

    def __iter__(self) -> Any:
        rank = torch.distributed.get_rank()
        yield self.data[rank::2]


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    found = {scenario: facts(scenario, devices=2) for scenario in SCENARIOS}
    torch.save(found, Path(sys.argv[1]) / f"rank{torch.distributed.get_rank()}.pt")
