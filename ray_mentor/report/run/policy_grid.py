"""What a run's mentor, as it ended, would say on a grid of losses and loss differences."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.mentor.mentor_file import MENTOR_FILE, frozen_from
from ray_mentor.core.step.features import Features
from ray_mentor.report.run.differences import Floats
from ray_mentor.report.run.ledger_facts import DIFFERENCES, LOSSES, LedgerFacts
from ray_mentor.run.directory import RunDirectory

_MOST_CLASSES = 20
_LATE = 0.999


@dataclass(frozen=True)
class Grid:
    """Weights at the middle of each cell.

    Attributes:
        weights: (LOSSES, DIFFERENCES).
        sees: what the mentor is shown besides, and what that is taken to be, in words; empty if nothing.
    """

    weights: Floats
    sees: str


def policy_grid(directory: RunDirectory, facts: LedgerFacts, *, by_class: bool) -> Grid | None:
    """At the end of training; over the given labels the mean, and as if a sample's past losses were its present one.

    None where the run's folder has no mentor.

    Args:
        by_class: whether it also went by given and predicted class, which its file knows nothing of.

    Raises:
        UserError: the mentor's file is damaged.
    """
    written = directory.read(MENTOR_FILE)
    if written is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / MENTOR_FILE  # the run may lie where only its file system can read
        copy.write_bytes(written)
        mentor = frozen_from(str(copy))
    config, classes, _ = mentor.made_with
    labels = range(min(classes, _MOST_CLASSES) if config.sees_label else 1)
    weights = np.mean([_weights(mentor, facts, label) for label in labels], axis=0)
    besides = [
        *(["the given label (the mean over all)"] if len(labels) > 1 else []),
        *(["past losses (taken to be as the present one)"] if config.history_length else []),
        *(["the predicted class, with the given one (the mean over all)"] if by_class else []),
        *(["progress (at its end)"] if "progress" in config.mentor_features else []),
    ]
    return Grid(weights, ", ".join(besides))


def _weights(mentor: MentorLearner, facts: LedgerFacts, label: int) -> Floats:
    loss = (np.arange(LOSSES) + 0.5) * facts.highest / LOSSES
    difference = ((np.arange(DIFFERENCES) + 0.5) * 2 / DIFFERENCES - 1) * facts.highest
    both = np.stack(np.meshgrid(loss, difference, indexing="ij")).reshape(2, -1)
    losses, differences = torch.from_numpy(both).float()
    history = losses[:, None].expand(-1, mentor.made_with[0].history_length)
    labels = torch.full_like(losses, label, dtype=torch.long)
    said = mentor.score(Features(losses, differences, labels, torch.full_like(losses, _LATE), history))
    weights: Floats = said.double().numpy().reshape(LOSSES, DIFFERENCES)
    return weights
