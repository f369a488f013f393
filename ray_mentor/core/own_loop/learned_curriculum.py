"""A learned curriculum for a training loop of one's own, without Ray."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from ray_mentor.config import CurriculumConfig, LearnConfig, MentorConfig
from ray_mentor.core.batch import Arguments, Batch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.influence.taken_step import Before
from ray_mentor.core.learned_rate.learner import learned_rate
from ray_mentor.core.losses import PerSampleLoss
from ray_mentor.core.mentor.access import LocalMentor
from ray_mentor.core.mentor.guards import Guards
from ray_mentor.core.mentor.start import check_frozen, first_mentor
from ray_mentor.core.methods.planned import planned
from ray_mentor.core.methods.table import is_in_nats, method_of, parts_of
from ray_mentor.core.methods.weightings import GroupDRO
from ray_mentor.core.own_loop.arguments import (
    all_of,
    check_arguments,
    check_group_sizes,
    check_groups,
    check_whole,
    ranks_of,
)
from ray_mentor.core.own_loop.forward_watch import ForwardWatch
from ray_mentor.core.own_loop.meta_set import MetaSet, meta_batches
from ray_mentor.core.own_loop.plan_watch import PlanWatch
from ray_mentor.core.own_loop.step_watch import StepWatch
from ray_mentor.core.state.checked import read_curriculum_state
from ray_mentor.core.state.curriculum import CurriculumState, capture_curriculum, restore_curriculum
from ray_mentor.core.step.record import StepRecord, Weighed
from ray_mentor.core.step.said import said_of
from ray_mentor.errors import UserError, shown

FORMAT_VERSION = 6


class LearnedCurriculum:
    """Weighs each batch, and trains its mentor every so often.

    Two lines more in a loop, and one changed:

        >>> curriculum = LearnedCurriculum(student, optimizer, meta_loader, total_steps=10_000)
        >>> for inputs, labels, ids in loader:
        ...     losses = F.cross_entropy(student(inputs), labels, reduction="none")
        ...     loss = curriculum.weigh(losses, labels=labels, sample_ids=ids)
        ...     optimizer.zero_grad()
        ...     loss.backward()
        ...     optimizer.step()
        ...     curriculum.after_step()

    What stands between ``weigh`` and ``after_step`` is the user's: autocast around the forward pass, a gradient
    scaler, clipping, several backward passes before one step. The student's last forward pass before ``weigh`` is the
    one that counts; with several micro-batches a step, the mentor learns from the last, whose influences are those of
    the whole step. Clipping counts as a constant factor. Gradients that are set to 0, or taken away, have no part; a
    mask of single elements belongs into a hook on the param, which influences see, too. A penalty gets a backward pass
    of its own: what is added to the loss that ``weigh`` returns can't be told from it, and is refused. What else
    changes params (clamping them, averaging them, the step of a loss with params) comes after ``after_step``.

    The first step is looked back on like those of meta updates, without a trace, so that what can't work is refused
    there: a student without forward mode, a loss that is not the loop's, calls in another order.

    Under ``DistributedDataParallel`` every rank makes one, with the same arguments, and calls it with its own share of
    the batch; the mentor's copies stay equal, since all ranks apply the same updates.

    Args:
        student: on its device; may be wrapped for data parallelism or compiled.
        optimizer: over the student's params; a list where there are several, each with params of its own. SGD, Adam,
            AdamW, Adagrad and RMSprop have a closed form; any other that works element by element is measured.
        meta_loader: the trusted set: (inputs, labels) tensors, or a loader of such batches (this rank's).
        total_steps: planned optimizer steps, which progress is measured against; a loop that takes a tenth more, or in
            which the mentor never learns, is warned.
        epochs: how many passes over the samples these steps are. Then burn-in, 15 % of the steps of a mentor that
            learns, ends after 5 of them at the latest: a student that sees wrong labels more often knows them by heart.
        loss: (what the student returns, labels) -> per-sample losses, as the loop computes them. None: the method's
            own, cross-entropy. With one given, the mentor makes its mean over the meta set small; if it is a
            cross-entropy, too, ``MentorConfig(meta_loss="error")`` is better.
        mentor: the mentor, and how it learns.
        update_interval: optimizer steps between two meta updates; None: as ``mentor`` says.
        curriculum: the method, and the schedule around it.
        n_classes: C; needed where the mentor sees the label, or goes by given and predicted class.
        class_sizes: training samples of each class, by given label; needed by mentor cmw, and C follows from it.
        group_sizes: training samples of each group, by name, of the method group-dro alone; in their order groups are
            numbered.
        n_samples: size of the training split, where the mentor sees the loss history; sample ids are 0..N-1 then.
        exchange: how ranks talk. None: over all ranks if the student is wrapped for data parallelism.
        seed: of the mentor and of whatever the schedule draws.
        learn: settings of training that are learnt, by name, or how as well: ``("lr",)`` is a factor on all learning
            rates, whose schedules stay the loop's (:class:`~ray_mentor.core.learned_rate.learner.LearnedRate`).

    Raises:
        UserError: naming the argument, the rule and the fix.
    """

    def __init__(
        self,
        student: nn.Module,
        optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
        meta_loader: MetaSet,
        *,
        total_steps: int,
        loss: PerSampleLoss | None = None,
        mentor: MentorConfig | None = None,
        update_interval: int | None = None,
        curriculum: CurriculumConfig | None = None,
        n_classes: int | None = None,
        class_sizes: Sequence[int] | None = None,
        group_sizes: Mapping[str, int] | None = None,
        n_samples: int = 0,
        exchange: AbstractExchange | None = None,
        seed: int = 0,
        learn: Sequence[str] | LearnConfig = (),
        epochs: int | None = None,
    ) -> None:
        settings, schedule = mentor or MentorConfig(), curriculum or CurriculumConfig()
        if update_interval is not None:
            settings = dataclasses.replace(settings, update_interval=update_interval)
        if epochs is not None:
            check_whole("epochs", epochs, 1)
        schedule, settings = planned(schedule, settings, total_steps, epochs)
        optimizers = all_of(optimizer)
        if n_classes is None and class_sizes is not None:
            n_classes = len(class_sizes)
        check_arguments(student, optimizers, total_steps, settings, schedule, n_classes, n_samples)
        check_group_sizes(schedule, group_sizes)
        ranks = exchange or ranks_of(student)
        device = next(student.parameters()).device
        learns, in_nats = method_of(schedule.method).learns, is_in_nats(settings, own_loss=loss is not None)
        check_frozen(schedule, settings, n_classes, in_nats=in_nats)
        made_with = settings, n_classes or 1, seed, class_sizes
        self.mentor = LocalMentor(first_mentor(schedule, *made_with, in_nats=in_nats)) if learns else None
        self._meta = meta_batches(meta_loader, settings.meta_batch_size, ranks, device, seed)
        self.curriculum = Curriculum(
            student,
            optimizers[0],
            parts_of(schedule, settings, self.mentor, loss, self._meta, group_sizes=group_sizes),
            ranks,
            schedule,
            settings,
            total_steps=total_steps,
            n_samples=n_samples,
            seed=seed,
            n_classes=n_classes or 0,
            epochs=epochs or 1,
            more_optimizers=optimizers[1:],
            rate=learned_rate(learn, student, optimizers, total_steps),
        )
        self._n_samples = n_samples
        self._n_classes = n_classes
        self._group_sizes = None if group_sizes is None else tuple(group_sizes.values())
        self._watch = ForwardWatch(student, self.curriculum)
        self._sees_label = learns and settings.sees_label
        self._weighed: Weighed | None = None
        self._before: Before | None = None
        self._steps = StepWatch(self.curriculum.bare, optimizers, self._check)
        self._plan = PlanWatch(total_steps, settings.update_interval if learns else None, self.curriculum.parts.burn_in)

    def weigh(
        self,
        losses: Float[Tensor, " batch"],
        *,
        labels: Shaped[Tensor, "batch ..."],
        sample_ids: Int[Tensor, " batch"] | None = None,
        true_labels: Int[Tensor, " batch"] | None = None,
        trusted: Bool[Tensor, " batch"] | None = None,
        outputs: Float[Tensor, "batch classes"] | None = None,
        groups: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, ""]:
        """The weighted loss of this rank's (micro-)batch: Σ_i ŵ_i ℓ_i over the global batch, to call ``backward`` on.

        Args:
            losses: per-sample losses of the student's last forward pass, with their graph.
            labels: given labels; a class a sample where the mentor sees them, else whatever the loss takes.
            sample_ids: names of the samples in the record; 0..N-1 where the mentor sees the loss history.
            true_labels: where they are known; read by the method `oracle` alone.
            trusted: which samples have labels that are known to be right: their weight is 1, and the record leaves
                them out. They may be in ``meta_loader`` as well; not among those that :meth:`note_holdout` is told of.
                None: none.
            outputs: the student's class logits of that pass, from which the mentor knows the predicted class
                (``class_evidence``); needs ``n_classes``. None: it goes by its features alone.
            groups: the number of each sample's group, by the order of ``group_sizes``; of the method group-dro alone.

        Raises:
            UserError: a call out of turn, losses that are not one a sample, ``trusted`` that is no mask of them,
                ``outputs`` that are no logits of ``n_classes`` classes, or ``groups`` that are none; no sample at all,
                on any rank.
            NonFiniteLossError: if a loss is NaN or infinite; where the student is on an accelerator, ``optimizer.step``
                raises it, before it changes anything.
        """
        self._steps.check_order()
        size = len(labels)
        if losses.shape != (size,):
            raise UserError(
                f"losses has shape {tuple(losses.shape)} for {len(labels)} labels, but it must hold one loss per "
                "sample; e.g. give the loss reduction='none'"
            )
        if self._sees_label and labels.ndim != 1:
            raise UserError(
                f"labels has shape {tuple(labels.shape)}, but the mentor sees the label: one class a sample"
            )
        if trusted is not None and (trusted.shape != losses.shape or trusted.dtype != torch.bool):
            raise UserError(
                f"trusted is {trusted.dtype} of shape {tuple(trusted.shape)}, but it must hold a boolean for each of "
                f"the {len(labels)} samples"
            )
        check_groups(groups, len(labels), self._group_sizes)
        said = None if outputs is None else self._said(outputs, labels, losses.device)
        rows = self._rows(sample_ids, size)
        inputs, self._before = Arguments((), {}), None
        if self.curriculum.is_looked_back_on:
            self._before, inputs = self._watch.take()
        batch = Batch(rows, rows, inputs, labels, true_labels, trusted=trusted, groups=groups).to(losses.device)
        with _full_precision(losses.device):
            seen = self.curriculum.observe_losses(batch, losses, said=said)
            self._weighed = self.curriculum.weigh(seen, self.curriculum.score(seen))
        if self._before is not None:
            self._before.follow(self._weighed.loss)
        self._steps.begin(is_looked_back_on=self._before is not None)
        return self._weighed.loss

    def after_step(self) -> StepRecord | None:
        """A meta update where one is due; call it after ``optimizer.step()``, before the gradients are cleared.

        Returns:
            What the step did to the samples that were weighed last; None if the optimizer did not step (a gradient
            scaler skips steps whose gradients overflow): the step did not happen, and only the running percentile
            and the loss history have seen its losses.

        Raises:
            UserError: a call out of turn; gradients that were cleared; 50 calls without a step, each with gradients of
                its own; on the first step, whatever the estimator can't work with, and a ``loss`` that does not give
                the losses weighed. (Found later, it is counted, and the mentor does not learn from that step:
                ``guards.inconsistent_updates``.)
        """
        if self._weighed is None:
            raise UserError("after_step was called before weigh; weigh the losses first")
        weighed, self._weighed = self._weighed, None
        before, self._before = self._before, None
        stepped = self._steps.end()
        accumulates = self._steps.accumulates()
        if not stepped:
            if self.curriculum.rate is not None and not accumulates:
                self.curriculum.rate.has_not_stepped()
            self._plan.skipped(accumulates=accumulates)
            return None
        if before is None and self.curriculum.rate is None:  # then nothing is computed
            record = self.curriculum.after_step(weighed, None)
        else:
            with self._watch.paused(), _nothing_compiled(), _full_precision(weighed.loss.device):
                record = self.curriculum.after_step(weighed, before.with_steps(stepped) if before else None)
        self._plan.stepped(self.curriculum.step_number, self.curriculum.meta.done)
        return record

    @property
    def sample_weights(self) -> Float[Tensor, " batch"]:
        """The sample weights of this rank's samples in the last call of ``weigh``, in [0, 1]."""
        if self._weighed is None:
            raise UserError("nothing is weighed; ask between weigh and after_step")
        return self._weighed.sample_weights[self._weighed.seen.own]

    @property
    def guards(self) -> Guards:
        """How often the mentor had to be overruled: ``guards.fallbacks``, ``guards.skipped_updates``.

        Of the updates skipped, ``guards.inconsistent_updates`` had influences that did not add up; and
        ``guards.updates_without_influence`` counts those of which all influences were 0.

        Of a step with several micro-batches, the one that was weighed last is counted.
        """
        return self.curriculum.guards

    @property
    def learning_rate_factor(self) -> float:
        """What the loop's learning rates are multiplied by; 1 where it is not learnt."""
        return 1.0 if self.curriculum.rate is None else self.curriculum.rate.multiplier

    @property
    def group_shares(self) -> dict[str, float] | None:
        """Share q of each group under group-dro, by name; None under any other method."""
        weighting = self.curriculum.parts.weighting
        return weighting.named if isinstance(weighting, GroupDRO) else None

    def note_holdout(self, loss: float) -> None:
        """Takes in a meta loss on trusted samples that the meta set does not hold, the same on every rank.

        As often as the loop measures it: after ``mentor_patience`` times without a new minimum the mentor learns no
        more. (``meta_holdout`` and ``meta_in_training`` are the trainer's: here what is held out, and what the student
        is trained on, is up to the loop.)
        """
        self.curriculum.note_holdout(loss)

    def state_dict(self) -> dict[str, Any]:
        """Everything but student and optimizer, in types that ``torch.load(weights_only=True)`` reads.

        The whole loss history is in it, which every rank holds, and the meta set's place: its batches go on where they
        were. Take it after ``after_step``. An estimator that looks more than one step ahead starts its look again.
        """
        history = self.curriculum.history.table.cpu().clone()
        state = capture_curriculum(self.curriculum, history).table()
        meta_set = self._meta.state(self.curriculum.meta.done)
        return {"format_version": FORMAT_VERSION, "curriculum": state, "meta_set": meta_set}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where :meth:`state_dict` was taken.

        Raises:
            UserError: a state that is damaged, of another format version, or of a curriculum that was made with other
                arguments. Then nothing has changed.
        """
        if not isinstance(state, Mapping):
            raise UserError(f"the state is {shown(state)}, but it must be a dict; give what state_dict() gave")
        found = state.get("format_version")
        if type(found) is not int or found != FORMAT_VERSION:
            raise UserError(f"the state has format version {shown(found)}, but this version reads {FORMAT_VERSION}")
        checked = read_curriculum_state(state.get("curriculum"))
        before = self.state_dict()
        try:
            self._restore(checked, state.get("meta_set"))
        except Exception as error:
            self._restore(CurriculumState.from_table(before["curriculum"]), before["meta_set"])
            if isinstance(error, UserError):
                raise
            reason = f"{type(error).__name__}: {error}"
            raise UserError(
                f"the state does not fit ({reason}); give what state_dict() of the same run gave"
            ) from error
        self._weighed, self._before = None, None
        self._steps.forget()

    def _restore(self, state: CurriculumState, meta_set: Any) -> None:
        restore_curriculum(state, self.curriculum)
        self._meta.load(meta_set)

    def close(self) -> None:
        """Takes the hooks off student and optimizer; warns if the mentor never learned, and no error ended the loop."""
        if self.curriculum.rate is not None:
            self.curriculum.rate.close()
        self._watch.close()
        self._steps.close()
        self._plan.closed(self.curriculum.step_number, self.curriculum.meta.done)

    def _check(self) -> None:
        """Before an optimizer's step."""
        if self._weighed is not None:
            self.curriculum.check(self._weighed)

    def _said(self, outputs: Any, labels: Tensor, device: torch.device) -> Float[Tensor, "batch 2"] | None:
        """None: this rank has no sample, of which nothing is said."""
        if not isinstance(outputs, Tensor) or outputs.ndim == 0:
            raise UserError(f"outputs is {shown(outputs)}, but it must be the tensor of the student's class logits")
        if self._n_classes is None:
            raise UserError(
                "outputs were given, but n_classes is None, so that the mentor can't go by given and predicted class; "
                "give LearnedCurriculum(..., n_classes=...)"
            )
        size, given = outputs.shape[0], labels.shape[0]
        if size == given == 0:
            return None
        said = said_of(outputs, labels, self._n_classes) if size == given else None
        if said is None:
            raise UserError(
                f"outputs has shape {tuple(outputs.shape)} for labels of shape {tuple(labels.shape)}, but it must hold "
                f"logits of {self._n_classes} classes for each; leave it out where a label is no class"
            )
        return said.to(device)

    def _rows(self, sample_ids: Tensor | None, count: int) -> Int[Tensor, " batch"]:
        if self.curriculum.history.length == 0:
            return (
                torch.from_numpy(np.arange(count, dtype=np.int64))
                if sample_ids is None
                else _one_each(sample_ids, count)
            )
        if sample_ids is None:
            raise UserError("sample_ids is None, but a mentor that sees the loss history must know which these are")
        ids = sample_ids.cpu().numpy()
        if len(ids) and not 0 <= ids.min() <= ids.max() < self._n_samples:
            raise UserError(
                f"sample_ids run from {ids.min()} to {ids.max()}, but n_samples is {self._n_samples}: they must lie in "
                f"0..{self._n_samples - 1}"
            )
        return _one_each(sample_ids, count)


def _one_each(sample_ids: Tensor, count: int) -> Tensor:
    if sample_ids.shape != (count,):
        raise UserError(f"sample_ids has shape {tuple(sample_ids.shape)} for {count} labels; give one id a sample")
    return sample_ids


def _nothing_compiled() -> AbstractContextManager[Any]:
    """Parts of the student that are compiled run as they were written: forward mode is not for compiled code."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def _full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """The mentor and its bookkeeping leave out an autocast that is on for the student, or for the CPU."""
    kinds = ["cpu"]
    if device.type != "cpu" and torch.amp.is_autocast_available(device.type):
        kinds.append(device.type)
    on = [kind for kind in kinds if torch.is_autocast_enabled(kind)]
    if not on:
        return _NOTHING
    off = contextlib.ExitStack()
    for kind in on:
        off.enter_context(torch.autocast(kind, enabled=False))
    return off


_NOTHING: AbstractContextManager[None] = nullcontext()
