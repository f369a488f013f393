"""Three lines in a loop of one's own: digits with 40 % wrong labels, trained uniformly and with a mentor.

python examples/plain_loop.py
torchrun --nproc-per-node 2 --standalone examples/plain_loop.py
"""

from __future__ import annotations

import argparse
import os

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from ray_mentor import LearnedCurriculum

Digits = dict[str, tuple[Tensor, Tensor]]


def digits() -> Digits:
    """1,200 training samples, 40 % of whose labels are wrong, 100 trusted ones and 497 to test with."""
    images, truth = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
    draw = torch.Generator().manual_seed(0)
    order = torch.randperm(len(truth), generator=draw)
    images, truth = images[order].float() / 16, truth[order]
    wrong = torch.rand(1200, generator=draw) < 0.4
    given = torch.where(wrong, (truth[:1200] + torch.randint(1, 10, (1200,), generator=draw)) % 10, truth[:1200])
    return {
        "train": (images[:1200], given),
        "trusted": (images[1200:1300], truth[1200:1300]),
        "test": (images[1300:], truth[1300:]),
    }


def train(data: Digits, epochs: int, *, with_mentor: bool) -> float:
    """The test accuracy."""
    torch.manual_seed(0)
    student: nn.Module = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    if dist.is_initialized():
        student = DistributedDataParallel(student)
    train_set, ranks = TensorDataset(*data["train"]), dist.get_world_size() if dist.is_initialized() else 1
    sampler = DistributedSampler(train_set, ranks, dist.get_rank() if dist.is_initialized() else 0)
    loader = DataLoader(train_set, batch_size=120 // ranks, sampler=sampler)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
    if with_mentor:
        curriculum = LearnedCurriculum(  # 1
            student,
            optimizer,
            data["trusted"],
            total_steps=epochs * len(loader),
            epochs=epochs,
            update_interval=2,
        )
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for inputs, labels in loader:
            losses = F.cross_entropy(student(inputs), labels, reduction="none")
            loss = curriculum.weigh(losses, labels=labels) if with_mentor else losses.mean()  # 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if with_mentor:
                curriculum.after_step()  # 3
            schedule.step()
    inputs, labels = data["test"]
    with torch.no_grad():
        return float((student(inputs).argmax(1) == labels).double().mean())


def main() -> None:
    """Trains and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=40)
    epochs = parser.parse_args().epochs
    if "RANK" in os.environ:  # torchrun
        dist.init_process_group("gloo")
    for name in ("uniform", "mentor"):
        accuracy = train(digits(), epochs, with_mentor=name == "mentor")
        if os.environ.get("RANK", "0") == "0":
            print(f"{name:8} test accuracy {accuracy:.3f}")
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
