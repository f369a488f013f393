"""Small runs that a test puts into a state and takes it from."""

from __future__ import annotations

from typing import Any

import torch
from tiny_run import batch_of, curriculum_of, student_of

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.mentor.access import LocalMentor
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.run.checkpoint.state import LogState, RunState, capture
from ray_mentor.run.ledger.files import NO_ROWS
from ray_mentor.run.meta_set.said import NOTHING_SAID
from ray_mentor.run.tally import TallyState


def started(seed: int = 0) -> tuple[Curriculum, torch.optim.lr_scheduler.LRScheduler]:
    config = MentorConfig(update_interval=2, history_length=2, mentor_features=("loss", "history"), influence_samples=3)
    student = student_of()
    optimizer = torch.optim.AdamW(student.parameters(), lr=0.05)
    access = LocalMentor(MentorLearner(config, 3, seed=seed))
    schedule = CurriculumConfig(example_dropout="0.3:1")
    made = curriculum_of(student, optimizer, mentor=access, config=config, schedule=schedule, total_steps=9)
    return made, torch.optim.lr_scheduler.StepLR(optimizer, 2)


def go_on(curriculum: Curriculum, schedule: torch.optim.lr_scheduler.LRScheduler, steps: range) -> list[Any]:
    records = []
    for step in steps:
        records.append(curriculum.step(batch_of(seed=step)))
        schedule.step()
    return records


def state_of(curriculum: Curriculum, schedule: torch.optim.lr_scheduler.LRScheduler) -> RunState:
    tally = TallyState(torch.tensor([[3.0, 1.5, 0.25]], dtype=torch.float64), [0.5], {"momentum": [-0.25]})
    noted = LogState([{"loss": 1.5, "meta_loss": None}], tally, 2.5, 0.5, NO_ROWS, NOTHING_SAID)
    state = capture(curriculum, schedule, noted, {"training samples": "a"})
    return state.with_history(curriculum.history.table.clone())
