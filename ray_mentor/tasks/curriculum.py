"""Which task comes next, for a training loop of one's own, without Ray."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from ray_mentor.core.influence.taken_step import Before
from ray_mentor.core.own_loop.arguments import check_whole
from ray_mentor.errors import UserError, one_of
from ray_mentor.tasks.base import AbstractWeighting, Seen, TaskInfluences
from ray_mentor.tasks.draws import drawn
from ray_mentor.tasks.probe import LogProb, TaskProbe, categorical
from ray_mentor.tasks.rollouts import PolicyRows, Rollouts
from ray_mentor.tasks.settings import TaskSettings
from ray_mentor.tasks.state import FORMAT_VERSION, plain_rollouts, read_state, rollouts_of
from ray_mentor.tasks.task_set import PerTask, TaskSet
from ray_mentor.tasks.trusted import TrustedDraws
from ray_mentor.tasks.weightings import WEIGHTINGS


class TaskCurriculum:
    """Says which tasks an agent practises next, and learns from what they do for the trusted ones.

        >>> curriculum = TaskCurriculum(tasks, trusted=trusted, policy=policy, optimizer=optimizer)
        >>> for iteration in range(400):
        ...     for task in curriculum.sample(8):
        ...         played = play(policy, task)
        ...         rows = played.rows
        ...         curriculum.report(task, played.successes, rows.advantages, version=iteration, rows=rows)
        ...     trusted = [Rollouts(task, play(policy, task).rows) for task in curriculum.trusted_tasks()]
        ...     curriculum.before_step()
        ...     ...  # the loss of the rollouts, zero_grad, backward, optimizer.step()
        ...     curriculum.learn(trusted)

    Every ``trusted_interval`` iterations ``trusted_tasks`` asks for episodes of trusted tasks: these cost steps of the
    environment, and may be trained on like any other. ``learn`` then looks back on the step just taken: one backward
    pass over the trusted episodes, one forward-mode pass over all that was reported since the last update
    (:class:`~ray_mentor.tasks.probe.TaskProbe`).

    Args:
        tasks: that can be drawn.
        method: a name of :data:`~ray_mentor.tasks.weightings.WEIGHTINGS`, or a weighting of one's own.
        trusted: the tasks that training is for. Those with an id of ``tasks`` can be drawn as well. Needed by
            influence, mentor and trusted-only.
        policy: what is trained, on its device; needed by influence and mentor.
        optimizer: over its params; likewise.
        settings: how tasks are chosen.
        seed: of what is drawn.
        log_prob: (what the policy returns, actions (rows, d)) -> log-probabilities; by default of logits.

    Attributes:
        version: updates so far.
        skipped: of these, the ones whose influences were not finite, which change nothing.
        without_signal: of these, the ones in which no trusted episode had an advantage: with these alone the mentor
            stays SEC.

    Raises:
        UserError: naming the argument, the rule and the fix.
    """

    def __init__(
        self,
        tasks: TaskSet,
        method: str | type[AbstractWeighting] = "mentor",
        *,
        trusted: TaskSet | None = None,
        policy: nn.Module | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        settings: TaskSettings | None = None,
        seed: int = 0,
        log_prob: LogProb = categorical,
    ) -> None:
        check_whole("seed", seed, 0)
        self.tasks = tasks
        self._settings = settings or TaskSettings()
        self._seed = seed
        kind = WEIGHTINGS[one_of(method, WEIGHTINGS, "method")] if isinstance(method, str) else method
        own = [] if trusted is None else [task for task in trusted.ids if task in set(tasks.ids)]
        self.weighting = kind(tasks, self._settings, tasks.places(own))
        self._method = method if isinstance(method, str) else method.__name__
        self._draws: TrustedDraws | None = None
        self._probe: TaskProbe | None = None
        if kind.learns:
            missing = [
                name
                for name, value in (("trusted", trusted), ("policy", policy), ("optimizer", optimizer))
                if value is None
            ]
            if trusted is None or policy is None or optimizer is None:
                raise UserError(f"{self._method} learns from trusted rollouts; give {', '.join(missing)}, too")
            self._draws = TrustedDraws(trusted, self._settings, seed)
            self._probe = TaskProbe(policy, optimizer, self._settings.gradient_decay, log_prob)
        self.iteration = self.version = self.skipped = self.without_signal = 0
        self._episodes = 0
        self._pending: list[Rollouts] = []
        self._before: Before | None = None

    @property
    def probabilities(self) -> PerTask:
        """π: of each task, to be drawn next."""
        shares = self.weighting.shares()
        explored = self._settings.exploration if self.weighting.explores else 0.0
        return np.asarray((1 - explored) * shares + explored / len(shares))

    def sample(self, n: int) -> list[str]:
        """Ids of the next iteration's tasks; each draw depends on the seed, on its number, and on what was learnt."""
        check_whole("n", n, 1)
        found = drawn(self.probabilities, self._seed, 0, self._episodes, n)
        self._episodes += n
        self.iteration += 1
        return [self.tasks.ids[place] for place in found]

    def report(
        self,
        task: str,
        successes: ArrayLike,
        advantages: ArrayLike | torch.Tensor,
        *,
        version: int = 0,
        rows: PolicyRows | None = None,
    ) -> None:
        """Takes in some episodes of one task.

        Args:
            task: its id.
            successes: of each episode, whether it succeeded, or how far, in [0, 1].
            advantages: of the episodes, or of their steps, as the training has them.
            version: of the policy that played, rising.
            rows: what was done in them; without, they teach influence and mentor nothing.

        Raises:
            UserError: no such task, a success outside [0, 1], or advantages that are not finite.
        """
        place = self.tasks.place(task)
        success, advantage = (np.asarray(values, np.float64).ravel() for values in (successes, advantages))
        if not len(success) or not ((success >= 0) & (success <= 1)).all():
            raise UserError(f"successes of {task} are {success}, but each must lie in [0, 1]; give one an episode")
        if not len(advantage) or not np.isfinite(advantage).all():
            raise UserError(f"advantages of {task} are {advantage}, but they must be finite numbers")
        self.weighting.report(place, Seen(float(success.mean()), float(np.abs(advantage).mean()), version))
        if self._probe is not None and rows is not None:
            self._pending.append(Rollouts(task, rows))

    def trusted_tasks(self) -> list[str]:
        """Trusted tasks to be played before this iteration's step, some more than once; none where no update is due."""
        due = self.iteration > 0 and self.iteration % self._settings.trusted_interval == 0
        return self._draws.asked(self.iteration) if self._draws is not None and due else []

    def before_step(self) -> None:
        """Takes down what the step is about to change, where an update is due; call it before the training forward."""
        if self._probe is not None and self.trusted_tasks():
            self._before = self._probe.before_step()

    def learn(self, trusted: Sequence[Rollouts]) -> TaskInfluences | None:
        """An update where one is due; call it after ``optimizer.step()``, before the gradients are cleared.

        Args:
            trusted: rollouts of the tasks that :meth:`trusted_tasks` names, played by the policy before the step.

        Returns:
            What it found; None where none was due, or where nothing could be learnt.

        Raises:
            UserError: a call out of turn, other tasks, or gradients that were cleared.
        """
        asked = self.trusted_tasks()
        if self._probe is None or self._draws is None or not asked:
            return None
        before, self._before = self._before, None
        if before is None:
            raise UserError("learn was called without before_step; call it before the training forward")
        weights = self._draws.weights(trusted, asked)
        self._draws.take_in(trusted)
        groups, self._pending = self._pending, []
        self.version += 1
        if not groups:
            return None
        found = self._probe(before, groups, trusted, weights)
        if not (np.isfinite(found.influence).all() and np.isfinite(found.length)):
            self.skipped += 1
            return None
        if found.length == 0:
            self.without_signal += 1
            return None
        update = TaskInfluences(self.tasks.places(one.task for one in groups), found.influence / found.length)
        self.weighting.learn(update)
        return update

    def state_dict(self) -> dict[str, Any]:
        """Everything but policy and optimizer, in types that ``torch.load(weights_only=True)`` reads.

        Take it between iterations.
        """
        probe = self._probe
        return {
            "format_version": FORMAT_VERSION,
            **self._own(),
            "iteration": self.iteration,
            "version": self.version,
            "skipped": self.skipped,
            "without_signal": self.without_signal,
            "episodes": self._episodes,
            "weighting": self.weighting.table(),
            "trusted": None if self._draws is None else self._draws.table(),
            "gradient": {} if probe is None else {name: part.clone() for name, part in probe.average.items()},
            "gradient_weight": 0.0 if probe is None else probe.weight,
            "pending": plain_rollouts(self._pending),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where :meth:`state_dict` was taken.

        Raises:
            UserError: a state of other tasks, of another method, seed or version, or one that is none.
        """
        read_state(state, self._own())
        self.weighting.load(state["weighting"])
        if self._draws is not None and self._probe is not None:
            self._draws.load(state["trusted"])
            self._probe.average = {name: part.clone() for name, part in state["gradient"].items()}
            self._probe.weight = state["gradient_weight"]
        self.iteration, self.version = state["iteration"], state["version"]
        self.skipped, self.without_signal = state["skipped"], state["without_signal"]
        self._episodes = state["episodes"]
        self._pending = rollouts_of(state["pending"])
        self._before = None

    def _own(self) -> dict[str, Any]:
        """What must be the same in a state."""
        return {
            "ids": list(self.tasks.ids),
            "trusted_ids": [] if self._draws is None else list(self._draws.tasks.ids),
            "method": self._method,
            "seed": self._seed,
            "settings": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in dataclasses.asdict(self._settings).items()
            },
        }
