"""Three sources of text and one target: how much of each the student should be shown, learnt while it trains.

python examples/learned_mixture.py

The target is Python code, the modules of `json` and `email`; the sources are other modules of the standard library,
its help pages, and random bytes. The student predicts a byte from the sixteen before it.
"""

from __future__ import annotations

import argparse
import email
import http
import json
import pydoc_data
import unittest
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_mentor import LearnedMixture, MixtureConfig

CONTEXT = 16
Samples = tuple[Tensor, Tensor]


def text_of(*packages: ModuleType) -> bytes:
    """The source files of packages, one after the other."""
    folders = [Path(package.__path__[0]) for package in packages]
    return b"".join(file.read_bytes() for folder in folders for file in sorted(folder.glob("*.py")))


def samples_of(text: bytes) -> Samples:
    """Each byte that has sixteen before it: these, and it."""
    windows = torch.frombuffer(bytearray(text), dtype=torch.uint8).unfold(0, CONTEXT + 1, 1)
    return windows[:, :CONTEXT], windows[:, CONTEXT].long()


class NextByte(nn.Module):
    """An embedding of each byte, and a hidden layer over all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, 16)
        self.layers = nn.Sequential(nn.Linear(16 * CONTEXT, 256), nn.ReLU(), nn.Linear(256, 256))

    def forward(self, bytes_before: Tensor) -> Tensor:
        logits: Tensor = self.layers(self.embedding(bytes_before.long()).flatten(1))
        return logits


def train(sources: dict[str, Samples], target: Samples, test: Samples, steps: int, mixture: str) -> None:
    """Prints shares, and the loss on what nobody trained on."""
    torch.manual_seed(0)
    student = NextByte()
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-3)
    settings = MixtureConfig(mixture=mixture, prior="uniform", probes=64, target_batch=512)
    mixed = LearnedMixture(student, optimizer, sources, target=target, total_steps=steps, settings=settings)
    for batch in mixed.batches(256):
        losses = F.cross_entropy(student(batch.inputs), batch.labels, reduction="none")
        loss = mixed.weigh(losses, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        mixed.after_step()
    with torch.no_grad():
        bits = float(F.cross_entropy(student(test[0]), test[1])) / 0.6931
    shares = "  ".join(f"{name} {share:.2f}" for name, share in mixed.shares.items())
    print(f"{mixture:8} {bits:.3f} bits a byte of the target   {shares}")


def main() -> None:
    """With equal shares, and with learned ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000, help="(default %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(0)
    sources = {
        "code": samples_of(text_of(unittest, http)),
        "help": samples_of(text_of(pydoc_data)),
        "junk": samples_of(bytes(torch.randint(256, (200_000,), generator=draw).tolist())),
    }
    inputs, labels = samples_of(text_of(json, email))
    order = torch.randperm(len(labels), generator=draw)
    target, test = ((inputs[rows], labels[rows]) for rows in (order[:4000], order[4000:24000]))
    for mixture in ("uniform", "learned"):
        train(sources, target, test, options.steps, mixture)


if __name__ == "__main__":
    main()
