"""One run: a byte GPT, a mixture, and bits per byte of what nobody trained on."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mixing.pools import CONTEXT, JUNK, Pool, Text, pool_of
from ray_mentor import LearnedMixture, MixtureConfig
from ray_mentor.core.losses.cross_entropy import sequence_cross_entropy
from ray_mentor.data.readers.texts.windows import bits_per_byte
from ray_mentor.students.byte_gpt import ByteGPT

STEPS, BATCH, RATE, WARM_UP = 480, 16, 1e-2, 20
"""of every run: 480 · 16 windows of 64 bytes, 0.49 MB."""

FIGURES = ("bits", "cpu_seconds", "plain_seconds", "junk_share", "mean_shares", "last_shares")

UPDATES = {"prior": "uniform", "shares_interval": 32, "shares_burn_in": 0.0, "probes": 4, "target_batch": 16}
"""Settings of every mixture that learns."""


@dataclass(frozen=True)
class Run:
    """What came of a run.

    Attributes:
        student: trained.
        mixture: at its end.
        cpu_seconds: of the loop, updates and all.
        update_seconds: of these, updates'.
    """

    student: nn.Module
    mixture: LearnedMixture
    cpu_seconds: float
    update_seconds: float

    @property
    def mean_shares(self) -> dict[str, float]:
        """Of all samples that it drew."""
        drawn = self.mixture.drawn
        return {name: count / sum(drawn.values()) for name, count in drawn.items()}


def train(pool: Pool, settings: MixtureConfig, seed: int, reference: nn.Module | None = None) -> Run:
    """A run on a pool, with AdamW, a warm-up and a cosine."""
    torch.manual_seed(seed)
    student = ByteGPT(context=CONTEXT, width=48, depth=2, heads=2)
    optimizer = torch.optim.AdamW(student.parameters(), RATE, betas=(0.9, 0.98), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _of_peak)
    mixture = LearnedMixture(
        student, optimizer, pool.sources, target=pool.targets, total_steps=STEPS, settings=settings, seed=seed,
        reference=reference,
    )  # fmt: skip
    begun, updates = time.process_time(), 0.0
    for batch in mixture.batches(BATCH):
        losses = sequence_cross_entropy(student(batch.inputs), batch.labels)
        loss = mixture.weigh(losses, batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        stepped = time.process_time()
        if mixture.after_step() is not None:
            updates += time.process_time() - stepped
        schedule.step()
    return Run(student, mixture, time.process_time() - begun, updates)


def _of_peak(step: int) -> float:
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    return 0.05 + 0.475 * (1 + math.cos(math.pi * (step - WARM_UP) / (STEPS - WARM_UP)))


def bits(student: nn.Module, text: Text) -> float:
    """Bits per byte of a text."""
    inputs, labels = text
    with torch.no_grad():
        found = [
            sequence_cross_entropy(student(inputs[rows]), labels[rows]) for rows in torch.arange(len(inputs)).split(128)
        ]
    return bits_per_byte(float(torch.cat(found).mean()))


@dataclass(frozen=True)
class RunCell:
    """Runs a cell: setting, method, changes to its settings, seed.

    Args:
        final: whether it is what is reported.
    """

    final: bool

    def __call__(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        setting, seed = cell["setting"], cell["seed"]
        pool = pool_of(setting, seed, final=self.final)
        settings = MixtureConfig(mixture=cell["method"], **{**UPDATES, **_changes(cell["changes"])})
        if settings.policy == "doremi":
            run, seconds = _doremi(pool, settings, seed)
        else:
            run = train(pool, settings, seed)
            seconds = run.cpu_seconds
        shares = run.mean_shares
        return {
            "bits": statistics.fmean(bits(run.student, text) for text in pool.tests.values()),
            "cpu_seconds": round(seconds, 2),
            "plain_seconds": round(run.cpu_seconds - run.update_seconds, 2),
            "junk_share": sum(shares[name] for name in JUNK),
            "mean_shares": _said(shares),
            "last_shares": _said(run.mixture.shares),
        }


def _doremi(pool: Pool, settings: MixtureConfig, seed: int) -> tuple[Run, float]:
    """Its three runs: a reference on the prior's shares, the proxy, and one on the proxy's mean shares."""
    reference = train(pool, dataclasses.replace(settings, mixture=settings.prior), seed)
    proxy = train(pool, settings, seed, copy.deepcopy(reference.student).eval())
    updates = proxy.mixture.updates
    mean = {name: statistics.fmean(update.shares[name] for update in updates) for name in updates[0].shares}
    fixed = ",".join(f"{name}={share:.6f}" for name, share in mean.items())
    run = train(pool, MixtureConfig(mixture=f"fixed:{fixed}"), seed)
    return run, reference.cpu_seconds + proxy.cpu_seconds + run.cpu_seconds


def _changes(text: str) -> dict[str, Any]:
    """shares_rate=2 prior_pull=0.1 → a table."""
    pairs = (pair.split("=") for pair in text.split())
    return {name: json.loads(value) for name, value in pairs}


def _said(shares: Mapping[str, float]) -> str:
    return " ".join(f"{name}={share:.3f}" for name, share in shares.items())
