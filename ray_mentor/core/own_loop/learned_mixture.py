"""A learned mixture of sources for a training loop of one's own, without Ray."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ray_mentor.config.groups.mixture import MixtureConfig
from ray_mentor.core.batch import Inputs, on_device
from ray_mentor.core.domains.course import Course
from ray_mentor.core.domains.state import MixtureUpdate
from ray_mentor.core.domains.windows import Drawn
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.influence.meta_gradient import unwrapped
from ray_mentor.core.influence.step_jacobian import check_optimizer
from ray_mentor.core.influence.taken_step import Before
from ray_mentor.core.losses import PerSampleLoss
from ray_mentor.core.losses.cross_entropy import sequence_cross_entropy
from ray_mentor.core.own_loop.arguments import all_of, check_whole, ranks_of
from ray_mentor.core.own_loop.mixture_parts import MixtureBatch, Targets, target_weights_of
from ray_mentor.core.own_loop.sources import Source, check_apart, fetched, sources_of
from ray_mentor.errors import NonFiniteLossError, UserError


class LearnedMixture:
    """Draws each batch from several sources, and learns the share of each from what it does to a target.

        >>> mixture = LearnedMixture(student, optimizer, {"wiki": a, "code": b}, target=t, total_steps=10_000)
        >>> for batch in mixture.batches(64):
        ...     losses = F.cross_entropy(student(batch.inputs), batch.labels, reduction="none")
        ...     loss = mixture.weigh(losses, batch)
        ...     optimizer.zero_grad()
        ...     loss.backward()
        ...     optimizer.step()
        ...     mixture.after_step()

    Every ``shares_interval`` steps an update looks back on the step just taken: with M the target's loss after it, D
    the optimizer's real step and p the shares, S_d = ∂M/∂p_d = mean over d's probes of ⟨D∇M(θ'), ∇ℓ_i(θ)⟩, for all
    sources from one backward pass over the target's batch and one forward-mode pass over the probes. Then
    p ∝ p^(1−κ)·prior^κ·exp(−η·S̃) (:class:`~ray_mentor.core.domains.shares.LearnedShares`), from the next window on.

    What helps the average of the sources' own losses is close to uniform; shares are learnt where some sources are
    worth less for the target than others. The target must hold nothing that the sources hold: what the student knows by
    heart says nothing of what helps. An optimizer whose step is no diagonal map of its gradient is refused.

    Args:
        student: on its device; may be wrapped for data parallelism.
        optimizer: over the student's params; a list where there are several.
        sources: by name: (inputs, labels) tensors, or a data set that gives them by row.
        target: what training is for, likewise; or several by name.
        total_steps: planned steps.
        settings: how shares are learnt.
        target_weights: of several targets, by name; None: the same for all. They need not add up to 1.
        loss: (what the student returns, labels) -> per-sample losses, as the loop computes them. None: cross-entropy,
            of a sequence the mean over its places.
        exchange: how ranks talk. None: over all ranks if the student is wrapped for data parallelism.
        seed: of what is drawn.
        reference: of ``mixture="doremi"`` alone: a model that was trained on the prior's shares, with dropout off
            (``eval()``) where it has any.

    Attributes:
        names: of the sources.

    Raises:
        UserError: naming the argument, the rule and the fix.
    """

    def __init__(
        self,
        student: nn.Module,
        optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
        sources: Mapping[str, Source],
        *,
        target: Source | Mapping[str, Source],
        total_steps: int,
        settings: MixtureConfig | None = None,
        target_weights: Mapping[str, float] | None = None,
        loss: PerSampleLoss | None = None,
        exchange: AbstractExchange | None = None,
        seed: int = 0,
        reference: nn.Module | None = None,
    ) -> None:
        self._settings = settings or MixtureConfig()
        check_whole("total_steps", total_steps, 1)
        check_whole("seed", seed, 0)
        found = sources_of(sources, "sources")
        self.names = tuple(found)
        self._sources = tuple(found.values())
        targets = sources_of(target if isinstance(target, Mapping) else {"target": target}, "target")
        check_apart(found, targets)
        self._student, self._optimizers = unwrapped(student), all_of(optimizer)
        for one in self._optimizers:
            check_optimizer(one)
        self._device = next(student.parameters()).device
        self._exchange = exchange or ranks_of(student)
        drawn_with = self._settings.target_batch, seed, self._exchange, self._device
        weights = target_weights_of(targets, target_weights)
        self._total_steps = total_steps
        self._course = Course(
            self.names,
            [len(rows) for rows in self._sources],
            self._settings,
            self._exchange,
            total_steps=total_steps,
            seed=seed,
            loss=loss or sequence_cross_entropy,
            target=Targets(targets, weights, *drawn_with),
            fetch=self._fetched,
            reference=reference,
            own={
                "targets": {
                    name: [len(rows), weight] for (name, rows), weight in zip(targets.items(), weights, strict=True)
                }
            },
        )
        self._weighed: MixtureBatch | None = None
        self._before: Before | None = None
        self.step = 0

    @property
    def updates(self) -> list[MixtureUpdate]:
        """What each update found, in order."""
        return self._course.updates

    @property
    def shares(self) -> dict[str, float]:
        """Of each source, from the next window on."""
        return self._course.shares

    @property
    def drawn(self) -> dict[str, int]:
        """Samples of each source in the windows that are decided."""
        return self._course.drawn

    def batches(self, batch_size: int) -> Iterator[MixtureBatch]:
        """Each step's batch, from where the mixture stands to the last step.

        Args:
            batch_size: samples of a step, over all ranks.

        Raises:
            UserError: fewer samples than ranks, more steps than ``max_repeats`` allows, another batch size than before,
                or a call out of turn.
        """
        check_whole("batch_size", batch_size, 1)
        self._course.begin(batch_size)
        while self.step < self._total_steps:
            step = self.step
            yield self._batch(step)
            if self._weighed is not None:
                raise UserError("a batch was weighed, but after_step was not called; call it after optimizer.step()")
            if self.step == step:
                raise UserError(
                    f"the batch of step {step} was drawn, but not trained on; weigh it, step, and call after_step, or "
                    "break, and go on with batches() later"
                )

    def weigh(self, losses: Float[Tensor, " own"], batch: MixtureBatch) -> Float[Tensor, ""]:
        """This rank's part of the mean loss, to call ``backward`` on: the shares are in how samples are drawn.

        Over ranks, whose gradients data parallelism averages, it is the mean over the global batch, also where ranks
        have not the same number of samples.

        Raises:
            UserError: a batch of another step, or losses that are not one a sample.
            NonFiniteLossError: if a loss is NaN or infinite.
        """
        if batch.step != self.step:
            raise UserError(f"the batch is of step {batch.step}, but step {self.step} comes; weigh each batch once")
        if losses.shape != (len(batch.labels),):
            raise UserError(
                f"losses has shape {tuple(losses.shape)} for {len(batch.labels)} samples, but it must hold one loss a "
                "sample; of a sequence, e.g. the mean over its places"
            )
        loss = losses.sum() * (self._exchange.world_size / self._course.batch_size)
        if self._device.type == "cpu" and not bool(loss.isfinite()):
            raise NonFiniteLossError(f"a loss of step {self.step} is not finite; lower the learning rate")
        self._weighed = batch
        self._course.saw(self.step, losses, batch.domains)
        return loss

    def after_step(self) -> MixtureUpdate | None:
        """An update where one is due; call it after ``optimizer.step()``, before the gradients are cleared.

        Returns:
            What it found; None where none was due.

        Raises:
            UserError: a call out of turn; gradients that were cleared.
        """
        if self._weighed is None:
            raise UserError("after_step was called before weigh; weigh the losses first")
        before, self._before, self._weighed = self._before, None, None
        at_hand = self._student, self._optimizers
        found = None if before is None else self._course.after_step(self.step, before, *at_hand)
        self.step += 1
        return found

    def state_dict(self) -> dict[str, Any]:
        """Everything but student and optimizer, in types that ``torch.load(weights_only=True)`` reads.

        Take it after ``after_step``.
        """
        return self._course.state(self.step)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where :meth:`state_dict` was taken; call it before :meth:`batches`.

        Raises:
            UserError: a state of other sources, of another seed or version, or one that is none.
        """
        self.step = self._course.load(state)
        self._weighed = self._before = None

    def _batch(self, step: int) -> MixtureBatch:
        drawn = self._course.drawn_at(step)
        self._before = self._course.before_step(step, self._student, self._optimizers)
        own = drawn.of_rank(self._exchange.rank, self._exchange.world_size)
        return MixtureBatch(*self._fetched(own), own.domains, step)

    def _fetched(self, drawn: Drawn) -> tuple[Inputs, Tensor]:
        return on_device(self._device, *fetched(self._sources, drawn))
