"""The curriculum in a Lightning Trainer: one callback, and per-sample losses from training_step.

pip install 'ray-mentor[lightning]'
python examples/lightning_digits.py
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from plain_loop import digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from ray_mentor import MentorConfig
from ray_mentor.lightning import LearnedCurriculumCallback


class Student(LightningModule):
    """As any other, but for the losses: one a sample."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        inputs, labels = batch
        return F.cross_entropy(self.net(inputs), labels, reduction="none")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        inputs, labels = batch
        self.log("test accuracy", (self.net(inputs).argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def main() -> None:
    """Trains and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=40)
    epochs = parser.parse_args().epochs
    torch.manual_seed(0)
    train, trusted, test = (TensorDataset(*part) for part in digits().values())
    mentor = MentorConfig(
        update_interval=2, meta_loss="error"
    )  # the losses are cross-entropies, so the error is 1 − p_y
    curriculum = LearnedCurriculumCallback(DataLoader(trusted, batch_size=100), mentor=mentor)
    trainer = Trainer(
        max_epochs=epochs,
        callbacks=[curriculum],
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
    )
    student = Student()
    trainer.fit(student, DataLoader(train, batch_size=120, shuffle=True))
    trainer.test(student, DataLoader(test, batch_size=497))


if __name__ == "__main__":
    main()
