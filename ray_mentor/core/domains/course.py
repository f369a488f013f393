"""The course of a mixture: what each step draws from its sources, and what shares an update makes of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ray_mentor.config.groups.mixture import MixtureConfig
from ray_mentor.core.batch import Batch, Inputs
from ray_mentor.core.domains.influences import DomainProbe, Target
from ray_mentor.core.domains.measures import Alignment, Domains, Excess, Measure, domain_means
from ray_mentor.core.domains.rules import shares_of
from ray_mentor.core.domains.shares import DomainInfluence, Shares, bounded
from ray_mentor.core.domains.state import (
    FORMAT_VERSION,
    MixtureUpdate,
    check_batches,
    check_mixture_state,
    check_probes,
)
from ray_mentor.core.domains.windows import Drawn, Windows
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.influence.step_jacobian import is_closed_form
from ray_mentor.core.influence.taken_step import Before, TakenStep, dense_gradient_of, remember
from ray_mentor.core.losses import PerSampleLoss
from ray_mentor.core.student.random_state import RandomState, seed_generators, untouched
from ray_mentor.errors import UserError

Fetch = Callable[[Drawn], tuple[Inputs, Tensor]]
"""Inputs and labels of what was drawn, on the student's device."""


class Course:
    """Which samples each step is shown, and when and how that changes; whoever trains asks, step by step.

    Args:
        names: of the sources.
        sizes: samples of each.
        total_steps: planned steps.
        seed: of what is drawn.
        loss: per-sample, of the training and of the target.
        target: this rank's shares of the target batches of an update.
        fetch: this rank's probes.
        reference: of the mixture doremi alone: a model that was trained on the prior's shares.
        own: what a state that it goes on from must have been made with, by name; beside names, settings and seed.

    Attributes:
        names: of the sources.
        sizes: samples of each.
        settings: how shares are learnt.
        updates: what each update found, in order.

    Raises:
        UserError: a floor, or probes, that don't go with the sources.
    """

    def __init__(
        self,
        names: Sequence[str],
        sizes: Sequence[int],
        settings: MixtureConfig,
        exchange: AbstractExchange,
        *,
        total_steps: int,
        seed: int,
        loss: PerSampleLoss,
        target: Callable[[int], list[Target]],
        fetch: Fetch,
        reference: nn.Module | None = None,
        own: dict[str, Any] | None = None,
    ) -> None:
        self.names, self.sizes, self.settings = tuple(names), tuple(sizes), settings
        check_probes(settings.probes, sizes, exchange.world_size)
        self._exchange, self._total_steps, self._seed = exchange, total_steps, seed
        self._loss, self._target, self._fetch = loss, target, fetch
        self._learned = shares_of(names, sizes, settings)
        self._measure = self._measured_by(reference)
        self._of_losses: DomainInfluence | None = None
        self._windows: Windows | None = None
        self._own = {"names": list(names), **(own or {}), "settings": dataclasses.asdict(settings), "seed": seed}
        self.updates: list[MixtureUpdate] = []

    @property
    def learns(self) -> bool:
        """Whether there are updates."""
        return self._learned.needs != "nothing"

    @property
    def shares(self) -> dict[str, float]:
        """Of each source, from the next window on."""
        return self._named(self._learned.shares)

    @property
    def drawn(self) -> dict[str, int]:
        """Samples of each source in the windows that are decided."""
        counts = np.zeros(len(self.names), np.int64) if self._windows is None else self._windows.drawn
        return dict(zip(self.names, counts.tolist(), strict=True))

    @property
    def batch_size(self) -> int:
        """Samples of a step, over all ranks; 0 before it is known."""
        return 0 if self._windows is None else self._windows.batch_size

    def begin(self, batch_size: int) -> None:
        """Says how many samples a step has, over all ranks.

        Raises:
            UserError: fewer samples than ranks, more steps than ``max_repeats`` allows, or another batch size than
                before.
        """
        if self._windows is None:
            repeats, ranks = self.settings.max_repeats, self._exchange.world_size
            check_batches(batch_size, self._total_steps, self.sizes, repeats, ranks)
            self._windows = self._made(batch_size)
        elif self._windows.batch_size != batch_size:
            raise UserError(
                f"batch_size is {batch_size}, but the mixture goes on from batches of {self._windows.batch_size}; "
                "give the same"
            )

    def drawn_at(self, step: int) -> Drawn:
        """The global batch of a step, whose window is decided if it is not yet."""
        windows = self._begun
        while len(windows.counts) <= step // self.settings.shares_interval:
            shares, most = self._learned.shares, self._most
            windows.decide(shares if most is None else bounded(shares, np.zeros(len(shares)), most))
        return windows(step)

    def is_due(self, step: int) -> bool:
        """Whether an update looks back on this step: the first of a window, past burn-in."""
        begun = step >= self.settings.shares_burn_in * self._total_steps
        return self.learns and begun and step % self.settings.shares_interval == 0

    def before_step(self, step: int, student: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> Before | None:
        """What an update will need of the student as it is, before the training forward; None where none is due."""
        if not self.is_due(step):
            return None
        return remember(student, optimizers, whole_optimizer=not all(map(is_closed_form, optimizers)))

    def saw(self, step: int, losses: Float[Tensor, " own"], domains: Domains) -> None:
        """The losses of this rank's part of a step's batch, which odm goes by. A collective call under odm.

        Args:
            domains: of which source each sample is.
        """
        if self._learned.needs == "losses" and self.is_due(step):
            self._of_losses = domain_means(losses, domains, len(self.names), self._exchange)

    def after_step(
        self, step: int, before: Before, student: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
    ) -> MixtureUpdate:
        """An update that looks back on the step just taken, whose gradient is there still. A collective call.

        Args:
            before: as :meth:`before_step` has it.
            student: bare.

        Raises:
            UserError: gradients that were cleared.
        """
        if self._learned.needs == "losses":
            assert self._of_losses is not None, "saw() says what the losses were"
            found, target_loss = self._of_losses, math.nan
        else:
            found, target_loss = self._looked_back(step, before, student, optimizers)
        gap = self._learned.update(found, self._most)
        influence, error = self._named(found.mean), self._named(found.error)
        update = MixtureUpdate(step, target_loss, influence, error, gap, self.shares)
        self.updates.append(update)
        return update

    def _looked_back(
        self, step: int, before: Before, student: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
    ) -> tuple[DomainInfluence, float]:
        """What probes say of each source, and M."""
        assert self._measure is not None
        number, rank = step // self.settings.shares_interval, self._exchange.rank
        applied = dense_gradient_of(student)
        if not applied:
            raise UserError("the gradients are gone; call after_step before they are cleared")
        own = self._begun.probes(number, self.settings.probes).of_rank(rank, self._exchange.world_size)
        inputs, labels = self._fetch(own)
        device, rows = labels.device, torch.from_numpy(own.rows)
        batch = Batch(rows, rows, inputs, labels)
        weights = torch.zeros(len(batch), device=device)
        with untouched(device):
            words = [self._seed, 4, number, rank]
            seed_generators(int(np.random.SeedSequence(words).generate_state(1)[0]), device)
            before = dataclasses.replace(before, random_state=RandomState.now(device))
            made_of = student, tuple(optimizers), self._loss, self._loss, batch, weights, before, applied
            return self._measure(TakenStep(*made_of), self._target(number), own.domains, self._learned.shares)

    def _measured_by(self, reference: nn.Module | None) -> Measure | None:
        """What looks at probes; None where nothing does."""
        needs = self._learned.needs
        if (needs == "excess") != (reference is not None):
            raise UserError(
                f"mixture is {self.settings.policy!r}, and reference was {'not ' if reference is None else ''}given; "
                "give it to doremi, and to nothing else: a model that was trained on the prior's shares"
            )
        if reference is not None:
            return Excess(reference, self._loss, self._exchange)
        if needs == "alignments":
            return Alignment(self._loss, self._exchange)
        return DomainProbe(self._loss, self._exchange, self.settings.horizon) if needs == "influences" else None

    def state(self, step: int) -> dict[str, Any]:
        """Everything that it carries to the next step, in plain types."""
        return {
            "format_version": FORMAT_VERSION,
            **self._own,
            "step": step,
            "windows": None if self._windows is None else self._windows.table(),
            "shares": self._learned.table(),
            "updates": [dataclasses.asdict(update) for update in self.updates],
        }

    def load(self, state: Any) -> int:
        """Goes on where :meth:`state` was taken; its step.

        Raises:
            UserError: a state of other sources, of another seed or version, or one that is none.
        """
        check_mixture_state(state, self._own)
        table, windows = state["windows"], None
        if table is not None:
            windows = self._made(table["batch_size"])
            windows.load(table)
        self._learned.load(state["shares"])
        self._windows, self._of_losses = windows, None
        self.updates = [MixtureUpdate(**update) for update in state["updates"]]
        return int(state["step"])

    def _made(self, batch_size: int) -> Windows:
        return Windows(self.sizes, batch_size, self.settings.shares_interval, self._total_steps, self._seed)

    @property
    def _begun(self) -> Windows:
        assert self._windows is not None, "begin() says how many samples a step has"
        return self._windows

    @property
    def _most(self) -> Shares | None:
        """Of what is left to be drawn, what ``max_repeats`` leaves of each source; None: all."""
        repeats, left = self.settings.max_repeats, self._begun.left
        if repeats == 0 or left == 0:
            return None
        return np.maximum(repeats * np.array(self.sizes) - self._begun.drawn, 0.0) / left

    def _named(self, values: Shares) -> dict[str, float]:
        return dict(zip(self.names, map(float, values), strict=True))
