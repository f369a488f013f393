"""A learned curriculum for a training loop of one's own, without Ray."""

from __future__ import annotations

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.batch import Batch
from ray_mentor.core.curriculum import Curriculum, StepRecord
from ray_mentor.core.exchange import AbstractExchange, Alone, Ranks
from ray_mentor.core.losses import PerSampleLoss
from ray_mentor.core.mentor_access import LocalMentor
from ray_mentor.core.mentor_learner import MentorLearner
from ray_mentor.core.meta_step import MetaBatch, unwrapped
from ray_mentor.core.methods import method_of, parts_of
from ray_mentor.errors import UserError


class LearnedCurriculum:
    """Weighs each batch, steps the student, and trains the mentor every so often.

    Takes the place of ``loss.backward(); optimizer.step()``:

        >>> curriculum = LearnedCurriculum(student, optimizer, (meta_inputs, meta_labels), total_steps=10_000)
        >>> for inputs, labels in loader:
        ...     record = curriculum.step(inputs, labels)  # record.sample_weights, record.influence, ...

    Under ``DistributedDataParallel`` every rank makes one, with the same arguments, and steps with its own
    share of the batch; the mentor's copies stay equal, since all ranks apply the same updates.

    Args:
        student: on its device, in the mode it is to be trained in; may be wrapped for data parallelism.
        optimizer: SGD, Adam or AdamW over the student's params.
        meta: inputs and trusted labels of the meta set.
        total_steps: planned steps, which progress is measured against.
        n_classes: C. None: one more than the highest meta label.
        loss: (logits, labels) -> per-sample losses. None: the method's own, cross-entropy.
        mentor: the mentor, and how it learns.
        curriculum: the method, and the schedule around it.
        n_samples: size of the training split; needed, with ``rows``, where the mentor sees the loss history.
        seed: of the mentor and of whatever the schedule draws.
    """

    def __init__(
        self,
        student: nn.Module,
        optimizer: torch.optim.Optimizer,
        meta: tuple[Shaped[Tensor, "meta ..."], Int[Tensor, " meta"]],
        *,
        total_steps: int,
        n_classes: int | None = None,
        loss: PerSampleLoss | None = None,
        mentor: MentorConfig | None = None,
        curriculum: CurriculumConfig | None = None,
        n_samples: int = 0,
        seed: int = 0,
    ) -> None:
        settings, schedule = mentor or MentorConfig(), curriculum or CurriculumConfig()
        _check(student, optimizer, meta, total_steps, settings, n_samples)
        classes = n_classes if n_classes is not None else int(meta[1].max()) + 1
        self.mentor = LocalMentor(MentorLearner(settings, classes, seed)) if method_of(schedule.method).learns else None
        exchange: AbstractExchange = Alone() if unwrapped(student) is student else Ranks()
        meta_batches = _MetaBatches(meta, settings.meta_batch_size, exchange, seed)
        parts = parts_of(schedule, settings, self.mentor, loss, meta_batches)
        self.curriculum = Curriculum(
            student,
            optimizer,
            parts,
            exchange,
            schedule,
            settings,
            total_steps=total_steps,
            n_samples=n_samples,
            seed=seed,
        )

    def step(
        self,
        inputs: Shaped[Tensor, "batch ..."],
        labels: Int[Tensor, " batch"],
        *,
        rows: Int[Tensor, " batch"] | None = None,
        true_labels: Int[Tensor, " batch"] | None = None,
    ) -> StepRecord:
        """One weighted student step, and a meta update where one is due.

        Args:
            inputs: model inputs of this rank's share of the batch.
            labels: given labels.
            rows: position of each sample in the training split; names it in the record, and keys its history.
            true_labels: where they are known; read by the method `oracle` alone.

        Raises:
            NonFiniteLossError: before the update, if a loss is NaN or infinite.
        """
        if rows is None and self.curriculum.history.length:
            raise UserError("rows is None, but a mentor that sees the loss history must know which samples these are")
        names = torch.arange(len(labels)) if rows is None else rows
        return self.curriculum.step(Batch(names, names, inputs, labels, true_labels))


def _check(
    student: nn.Module,
    optimizer: torch.optim.Optimizer,
    meta: tuple[Tensor, Tensor],
    total_steps: int,
    mentor: MentorConfig,
    n_samples: int,
) -> None:
    """What would train wrongly in silence, or fail far from its cause.

    Raises:
        UserError: naming the argument, the rule and the fix.
    """
    own = {id(param) for param in student.parameters()}
    if not any(id(param) in own for group in optimizer.param_groups for param in group["params"]):
        raise UserError("optimizer holds none of the student's params; make it from student.parameters()")
    if len(meta[0]) != len(meta[1]) or len(meta[1]) == 0:
        raise UserError(
            f"meta holds {len(meta[0])} inputs and {len(meta[1])} labels, but it must hold as many of both, and some"
        )
    if total_steps < 1:
        raise UserError(f"total_steps is {total_steps}, but it must be at least 1; it is what progress is measured by")
    if mentor.history_length and n_samples < 1:
        raise UserError(f"n_samples is {n_samples}, but a loss history needs the size of the training split")


class _MetaBatches:
    """The n-th meta batch: drawn without replacement, from seed and n alone; this rank's share of it."""

    def __init__(self, meta: tuple[Tensor, Tensor], size: int, exchange: AbstractExchange, seed: int) -> None:
        self._inputs, self._labels = meta
        self._size = min(len(self._labels), max(size, exchange.world_size))
        self._exchange = exchange
        self._seed = seed

    def __call__(self, update: int) -> MetaBatch:
        generator = torch.Generator().manual_seed((self._seed << 32) + update)
        rows = torch.randperm(len(self._labels), generator=generator)[: self._size]
        own = rows[self._exchange.rank :: self._exchange.world_size].sort().values.to(self._labels.device)
        return MetaBatch(self._inputs[own], self._labels[own], self._size)
