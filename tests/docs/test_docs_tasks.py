"""The loop of the page of tasks, as it stands there, on tasks of one action each."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from docs_files import DOCS, python_blocks
from torch import Tensor, nn

from ray_mentor.tasks import PolicyRows

RIGHT = {"easy": 0, "same": 0, "against": 1}


def play(policy: nn.Module, task: str) -> tuple[Tensor, PolicyRows]:
    observations = torch.ones(16, 2)
    log_probs = policy(observations).detach().log_softmax(1)
    actions = torch.distributions.Categorical(logits=log_probs).sample()
    successes = (actions == RIGHT[task]).float()
    chosen = log_probs.gather(1, actions[:, None])[:, 0]
    return successes, PolicyRows(observations, actions, chosen, successes - successes.mean(), 16)


def loss_of(policy: nn.Module, groups: list[PolicyRows]) -> Tensor:
    losses = [
        -(rows.advantages * policy(rows.observations).log_softmax(1).gather(1, rows.actions[:, None])[:, 0]).mean()
        for rows in groups
    ]
    return torch.stack(losses).mean()


def test_the_loop_of_the_page_runs_and_leaves_out_what_goes_against_the_target() -> None:
    (code,) = python_blocks(DOCS / "tasks.md")
    torch.manual_seed(0)
    policy = nn.Linear(2, 4)
    names: dict[str, Any] = {
        "ids": list(RIGHT), "sources": ["a", "a", "b"], "parameters": np.zeros((3, 1)), "trusted_ids": ["easy"],
        "policy": policy, "optimizer": torch.optim.SGD(policy.parameters(), 0.1), "play": play, "loss_of": loss_of,
    }  # fmt: skip
    exec(code, names)  # noqa: S102 - our own pages
    curriculum = names["curriculum"]
    assert curriculum.version == 12
    assert curriculum.probabilities[2] < 0.1
    assert float(policy(torch.ones(1, 2)).softmax(1)[0, 0].detach()) > 0.6
