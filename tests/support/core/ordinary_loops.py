"""Loops of one's own whose ordinary steps are looked at: how a mentor, or a method without, weighs."""

from __future__ import annotations

from typing import Any

from own_loop import per_sample

from ray_mentor import CurriculumConfig, MentorConfig

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
