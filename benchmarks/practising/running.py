"""One run on the skill chain: what came of so many episodes, those of trusted tasks among them.

A change ``advantages`` says which ones influences go by: ``grpo`` as the training does, ``centred`` r − mean, or
``rewards`` r itself, without anything that lowers their variance.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from practising.chain import ADVANTAGES, LADDER, LEVELS, SIX, Advantages, Chain, Played, Policy, grpo, probabilities
from ray_mentor.tasks import PolicyRows, Rollouts, TaskCurriculum, TaskSettings
from ray_mentor.tasks.base import AbstractWeighting, equal
from ray_mentor.tasks.probe import Surrogate

STEPS, GROUPS, EPISODES, RATE = 400, 8, 16, 4.7
"""Of every run: 400·8 groups of 16 episodes, trusted ones among them; SGD."""

FIGURES = ("area", "last", "trusted_share", "cpu_share", "ladder_share")

EXACT = "exact"
METHODS = (
    "uniform", "manual", "trusted-only",
    "plr", "learnability", "learning-progress", "sec",
    "influence", "mentor", EXACT,
)  # fmt: skip

SETTINGS = {"ladder": (False, ()), "junk": (True, ()), "junk-six": (True, SIX)}
"""Whether there is junk, and which of the target tasks are trusted (none named: all)."""


def exact(chain: Chain, policy: Policy) -> type[AbstractWeighting]:
    """The oracle: ∝ max(s, 0)², s the exact influences of the policy as it is."""

    class Exact(AbstractWeighting):
        def shares(self) -> Float[NDArray[np.float64], " tasks"]:
            found = np.maximum(chain.influences(probabilities(policy)), 0) ** 2
            return found / found.sum() if found.sum() > 0 else equal(len(found))

    return Exact


def manual_order() -> tuple[str, ...]:
    """The target tasks, level by level."""
    return tuple(f"{LADDER}-{chain}-{level}" for level in range(1, LEVELS + 1) for chain in range(3))


class RunCell:
    """Runs a cell: setting, method, changes to its settings, seed."""

    def __call__(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        junk, trusted = SETTINGS[cell["setting"]]
        return run(cell["method"], _changes(cell["changes"]), cell["seed"], junk=junk, trusted=trusted)


def run(method: str, changes: Mapping[str, Any], seed: int, *, junk: bool, trusted: tuple[str, ...]) -> dict[str, Any]:
    """The figures of a run; the areas and rates are exact, not of episodes."""
    told = ADVANTAGES[changes.get("advantages", "grpo")]
    changes = {name: value for name, value in changes.items() if name != "advantages"}
    chain = Chain(junk=junk, seed=seed)
    policy = Policy(chain.states)
    optimizer = torch.optim.SGD(policy.parameters(), RATE)
    curriculum = TaskCurriculum(
        chain.tasks,
        exact(chain, policy) if method == EXACT else method,
        trusted=chain.trusted(trusted),
        policy=policy,
        optimizer=optimizer,
        settings=TaskSettings(order=manual_order() if method == "manual" else (), **changes),
        seed=seed,
    )
    draw = np.random.default_rng([seed, 1])
    used = trusted_steps = steps = on_ladder = 0
    curve: list[tuple[int, float]] = []
    begun, own = time.process_time(), 0.0
    while used < STEPS * GROUPS:
        pi = probabilities(policy)
        now = time.process_time()
        tasks = curriculum.sample(GROUPS)
        own += time.process_time() - now
        played = [chain.play(pi, chain.tasks.place(task), EPISODES, draw) for task in tasks]
        now = time.process_time()
        for task, one in zip(tasks, played, strict=True):
            advantages = one.rows.advantages.numpy()
            curriculum.report(task, one.successes, advantages, version=curriculum.iteration, rows=_rows(one, told))
        asked = curriculum.trusted_tasks()
        own += time.process_time() - now
        beside = [chain.play(pi, chain.tasks.place(task), EPISODES, draw) for task in asked]
        now = time.process_time()
        curriculum.before_step()
        own += time.process_time() - now
        _step(policy, optimizer, played + beside)
        now = time.process_time()
        curriculum.learn([Rollouts(task, _rows(one, told)) for task, one in zip(asked, beside, strict=True)])
        own += time.process_time() - now
        used += len(tasks) + len(asked)
        steps += sum(len(one.rows) for one in played + beside)
        trusted_steps += sum(len(one.rows) for one in beside)
        on_ladder += sum(task.startswith(LADDER) for task in tasks)
        curve.append((used, chain.target_success(probabilities(policy))))
    whole = time.process_time() - begun
    at, rate = np.array(curve).T
    sampled = np.interp(np.arange(1, STEPS + 1) * GROUPS, at, rate)
    return {
        "area": float(sampled.mean()),
        "last": float(sampled[-1]),
        "trusted_share": trusted_steps / steps,
        "cpu_share": own / whole,
        "ladder_share": on_ladder / (GROUPS * len(curve)),
    }


def _rows(played: Played, told: Advantages) -> PolicyRows:
    """What influences go by."""
    if told is grpo:
        return played.rows
    by_episode = np.repeat(told(played.successes), len(played.rows) // played.rows.episodes)
    return dataclasses.replace(played.rows, advantages=torch.from_numpy(by_episode))


def _step(policy: Policy, optimizer: torch.optim.Optimizer, played: list[Played]) -> None:
    """One step of gradient ascent on the mean over groups, trusted ones among them."""
    rows = [one.rows for one in played]
    states, labels = torch.cat([each.observations for each in rows]), torch.cat([each.labels for each in rows])
    weights = [torch.full((len(each),), 1 / (each.episodes * len(rows)), dtype=torch.float64) for each in rows]
    loss = (torch.cat(weights) * Surrogate()(policy(states), labels)).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _changes(text: str) -> dict[str, Any]:
    """sharpness=3 pooling="none" → a table."""
    return {name: json.loads(value) for name, value in (pair.split("=") for pair in text.split())}
