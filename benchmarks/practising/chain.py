"""A chain of skills, in closed form: exact success rates, gradients and influences, with junk beside it.

A chain has 12 levels; a task of level l takes one action of ten in each of the chain's states 1 to l, and succeeds if
all are right, so that p = 10^−l at first. The policy is a table of logits, one row a state. Junk: tasks whose reward is
a coin flip, tasks that want another action in the same states, and tasks of chains that nobody asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from ray_mentor.tasks import PolicyRows, TaskSet

CHAINS, LEVELS, ACTIONS = 3, 12, 10
OTHER_CHAINS, CONFLICTS = 2, 6
LADDER, COIN, CONFLICT, ELSEWHERE = "ladder", "coin", "conflict", "elsewhere"
SIX = tuple(f"{LADDER}-{chain}-{level}" for chain in range(CHAINS) for level in (1, 4))
"""Of the 36 target tasks, those that are trusted where few are."""

Table = Float[NDArray[np.float64], "states actions"]


Advantages = Callable[[Float[NDArray[np.float64], " episodes"]], Float[NDArray[np.float64], " episodes"]]
"""Rewards of some episodes of one task -> advantages."""


def grpo(rewards: Float[NDArray[np.float64], " episodes"]) -> Float[NDArray[np.float64], " episodes"]:
    """(r − mean)/std; 0 where all are alike (Shao et al. 2024)."""
    spread = rewards.std()
    return (rewards - rewards.mean()) / spread if spread > 0 else np.zeros_like(rewards)


ADVANTAGES: Mapping[str, Advantages] = {
    "grpo": grpo,
    "centred": lambda rewards: rewards - rewards.mean(),
    "rewards": lambda rewards: rewards,
}


class Policy(nn.Module):
    """Logits of each state's actions, all 0 at first."""

    def __init__(self, states: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(states, ACTIONS, dtype=torch.float64))

    def forward(self, states: Int[Tensor, " rows"]) -> Float[Tensor, "rows actions"]:
        return self.table[states]


@dataclass(frozen=True)
class Played:
    """Episodes of one task.

    Attributes:
        successes: (episodes,) 0 or 1.
        rows: their steps, with advantages.
    """

    successes: Float[NDArray[np.float64], " episodes"]
    rows: PolicyRows


class Chain:
    """The tasks, and what is known of them in closed form.

    Args:
        junk: whether there is any.
        seed: of which action is right in each state.
    """

    def __init__(self, *, junk: bool, seed: int) -> None:
        kinds = [(LADDER, chain, level) for chain in range(CHAINS) for level in range(1, LEVELS + 1)]
        if junk:
            kinds += [(COIN, chain, level) for _, chain, level in kinds]
            kinds += [(CONFLICT, chain, level) for chain in range(CHAINS) for level in range(1, CONFLICTS + 1)]
            others = range(CHAINS, CHAINS + OTHER_CHAINS)
            kinds += [(ELSEWHERE, chain, level) for chain in others for level in range(1, LEVELS + 1)]
        self._kinds = kinds
        self.states = (CHAINS + OTHER_CHAINS) * LEVELS
        self.right = np.random.default_rng([seed, 0]).integers(ACTIONS, size=self.states)
        places = np.array([[level / 2, *np.eye(CHAINS + OTHER_CHAINS)[chain] / 2**0.5] for _, chain, level in kinds])
        self.tasks = TaskSet(
            [f"{kind}-{chain}-{level}" for kind, chain, level in kinds], [kind for kind, _, _ in kinds], places
        )
        self.targets = np.arange(CHAINS * LEVELS)

    def trusted(self, ids: tuple[str, ...] = ()) -> TaskSet:
        """Target tasks: these, or all."""
        return TaskSet(ids or [self.tasks.ids[place] for place in self.targets])

    def _way(self, task: int) -> tuple[Int[NDArray[np.int64], " level"], Int[NDArray[np.int64], " level"]]:
        """States of a task, and the action that it wants in each."""
        kind, chain, level = self._kinds[task]
        states = chain * LEVELS + np.arange(level)
        return states, (self.right[states] + (kind == CONFLICT)) % ACTIONS

    def success(self, pi: Table, task: int) -> float:
        """J_k = Π_j π_j(wanted); ½ of a coin flip."""
        states, wanted = self._way(task)
        return 0.5 if self._kinds[task][0] == COIN else float(pi[states, wanted].prod())

    def gradient(self, pi: Table, task: int) -> Table:
        """∇J_k with respect to the logits: J_k·(1[a = wanted] − π(a)) in its states; 0 of a coin flip."""
        found = np.zeros_like(pi)
        if self._kinds[task][0] != COIN:
            states, wanted = self._way(task)
            found[states] = self.success(pi, task) * (np.eye(ACTIONS)[wanted] - pi[states])
        return found

    def target_success(self, pi: Table) -> float:
        """Mean over the target tasks."""
        rates = np.cumprod(pi[np.arange(self.states), self.right].reshape(-1, LEVELS), axis=1)
        return float(rates[:CHAINS].mean())

    def influences(self, pi: Table) -> Float[NDArray[np.float64], " tasks"]:
        """⟨∇J_T, ∇J_k⟩ of each task: ∂J_T/∂w_k of a small step of gradient ascent, in units of the rate."""
        wanted = np.mean([self.gradient(pi, task) for task in self.targets], axis=0)
        return np.array([float((wanted * self.gradient(pi, task)).sum()) for task in range(len(self.tasks))])

    def play(
        self, pi: Table, task: int, episodes: int, draw: np.random.Generator, advantages: Advantages = grpo
    ) -> Played:
        """Plays a task, all its steps whether they go right or wrong.

        Args:
            advantages: (rewards) -> of each episode.
        """
        states, wanted = self._way(task)
        up_to = pi[states].cumsum(axis=1)
        chosen = (draw.random((episodes, len(states), 1)) > up_to[None] / up_to[None, :, -1:]).sum(axis=-1)
        successes = (chosen == wanted).all(axis=1).astype(np.float64)
        if self._kinds[task][0] == COIN:
            successes = draw.integers(2, size=episodes).astype(np.float64)
        own = advantages(successes)
        where = np.tile(states, episodes)
        actions = torch.from_numpy(chosen.ravel())
        log_probs = torch.from_numpy(np.log(pi[where, chosen.ravel()]))
        repeated = torch.from_numpy(np.repeat(own, len(states)))
        return Played(successes, PolicyRows(torch.from_numpy(where), actions, log_probs, repeated, episodes))


def probabilities(policy: Policy) -> Table:
    """π of each state."""
    return np.asarray(policy.table.detach().softmax(dim=1).numpy())
