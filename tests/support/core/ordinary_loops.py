"""Loops of one's own whose ordinary steps are looked at: how a mentor, or a method without, weighs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from own_loop import blobs, noisy, per_sample, student
from torch import Tensor, nn

from ray_mentor import CurriculumConfig, LearnedCurriculum, MentorConfig
from ray_mentor.core.step.record import StepRecord

NEVER = 10**6
"""Steps between two meta updates."""

LOOPS: dict[str, dict[str, Any]] = {
    "a mentor": {},
    "a mentor that sees history and label": {
        "mentor": MentorConfig(update_interval=NEVER, mentor_features=("loss", "history", "label"), history_length=2),
        "n_samples": 60,
    },
    "divided by the batch size": {"mentor": MentorConfig(update_interval=NEVER, normalisation="batch")},
    "over past losses": {
        "mentor": MentorConfig(update_interval=NEVER, mentor="lstm", history_length=2),
        "n_samples": 60,
    },
    "a loss in units of its own": {"loss": lambda outputs, labels: 3 * per_sample(outputs, labels)},
    "example dropout": {"curriculum": CurriculumConfig(burn_in=0.0, example_dropout="0.3:1")},
    **{
        name: {"curriculum": CurriculumConfig(method=name, burn_in=0.0)}
        for name in ("uniform", "self-paced", "spcl", "predefined", "focal", "hard-mining", "mentornet-pd")
    },
}


@dataclass(frozen=True)
class Steps:
    """What became of them."""

    records: list[StepRecord]
    params: dict[str, Tensor]
    curriculum: LearnedCurriculum

    def known(self) -> str:
        """What is carried from one step to the next, to the last digit; NaN reads the same."""
        inside = self.curriculum.curriculum
        return repr((inside.percentile.value, inside.units and inside.units.value, inside.guards.state))


def _drawn(network: nn.Module) -> None:
    draw = torch.Generator().manual_seed(1)
    for param in network.parameters():
        nn.init.normal_(param, generator=draw)


def ordinary_steps(name: str, device: torch.device, *, trusted: bool, count: int = 4) -> Steps:
    """So many of a loop of one's own; no meta update is due, and none is tried."""
    changes: dict[str, Any] = {
        "mentor": MentorConfig(update_interval=NEVER),
        "curriculum": CurriculumConfig(burn_in=0.0),
        **LOOPS[name],
    }
    model = student().to(device)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    meta = tuple(part.to(device) for part in blobs(30, 1))
    curriculum = LearnedCurriculum(model, optimizer, meta, n_classes=3, total_steps=NEVER, **changes)
    curriculum.curriculum.step_number = 1  # at step 0 a meta update is due
    curriculum.curriculum.meta._tried = True
    if curriculum.mentor is not None:
        curriculum.mentor._learner.move(_drawn)  # a fresh one gives all samples the same weight
    factor = 3.0 if "loss" in changes else 1.0
    records = []
    for inputs, labels, ids in noisy(count):
        given = labels.to(device)
        outputs = model(inputs.to(device))
        losses = factor * per_sample(outputs, given)
        mask = (ids % 4 == 1).to(device) if trusted else None
        loss = curriculum.weigh(losses, labels=given, sample_ids=ids, outputs=outputs, trusted=mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        record = curriculum.after_step()
        assert record is not None
        records.append(record)
    return Steps(records, dict(model.named_parameters()), curriculum)
