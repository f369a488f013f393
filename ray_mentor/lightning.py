"""The curriculum as a callback of Lightning's Trainer. Needs the extra ``lightning``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from ray_mentor.config import CurriculumConfig, LearnConfig, MentorConfig
from ray_mentor.core.exchange import Alone, Ranks
from ray_mentor.core.own_loop.learned_curriculum import LearnedCurriculum
from ray_mentor.core.step.record import StepRecord
from ray_mentor.errors import UserError

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
    from torchmetrics import Metric
except ImportError as error:
    raise ImportError("ray_mentor.lightning needs Lightning; pip install 'ray-mentor[lightning]'") from error

Named = tuple[Tensor, Tensor | None]
"""Labels, and sample ids or None."""


class LearnedCurriculumCallback(Callback):
    """Weighs each batch's losses, and trains the mentor every so often; for automatic optimisation.

        >>> trainer = Trainer(max_epochs=20, callbacks=[LearnedCurriculumCallback(meta_loader)])
        >>> trainer.fit(module, train_loader)

    The module's ``training_step`` returns per-sample losses, shape (batch,), or a dict with them under ``loss``, and if
    it likes, ``labels``, ``sample_ids`` and, where ``n_classes`` or ``class_sizes`` are given, ``logits``, by which
    the mentor knows the predicted class (``class_evidence``). It is called again at a meta update: once on a meta
    batch, and once or more on the same training batch. In those calls ``self.log`` says nothing and metrics of
    torchmetrics keep their state; it must leave no other trace.

    Accumulation, clipping, mixed precision, schedules, checkpoints and data-parallel training (``ddp``) work as ever.

    Args:
        meta_loader: gives trusted batches of the form that ``training_step`` takes; can be gone through again. In
            data-parallel training every rank goes through its own.
        total_steps: planned optimizer steps, which progress is measured against; None: as the trainer estimates.
        read: batch -> (labels, sample ids or None). None: the batch is (inputs, labels[, sample ids]), or a mapping
            with ``labels`` and, if it likes, ``sample_ids``.
        mentor: the mentor, and how it learns. The callback can't know what loss the module computes, so that the mentor
            makes its mean over the meta set small; if it is a cross-entropy, ``MentorConfig(meta_loss="error")`` is
            better.
        update_interval: optimizer steps between two meta updates; None: as ``mentor`` says.
        curriculum: the method, and the schedule around it.
        n_classes: C; needed where the mentor sees the label, or goes by given and predicted class.
        class_sizes: training samples of each class, by given label; needed by mentor cmw, and C follows from it.
        n_samples: size of the training split, where the mentor sees the loss history; sample ids are 0..N-1 then.
        seed: of the mentor and of whatever the schedule draws.
        learn: settings that are learnt, as :class:`~ray_mentor.LearnedCurriculum` has them.
        epochs: passes over the samples, by which burn-in ends; None: as many as the trainer's steps are.

    Attributes:
        curriculum: the curriculum of the last fit; None before the first. Its ``guards`` say how often one was needed.
        record: what the last optimizer step did to the samples weighed last.

    Raises:
        UserError: when training starts, for manual optimisation, several optimizers or a strategy that splits params;
            in a step, for a ``training_step`` that does not return per-sample losses.
    """

    def __init__(
        self,
        meta_loader: Iterable[Any],
        *,
        total_steps: int | None = None,
        read: Callable[[Any], Named] | None = None,
        mentor: MentorConfig | None = None,
        update_interval: int | None = None,
        curriculum: CurriculumConfig | None = None,
        n_classes: int | None = None,
        class_sizes: Sequence[int] | None = None,
        n_samples: int = 0,
        seed: int = 0,
        learn: Sequence[str] | LearnConfig = (),
        epochs: int | None = None,
    ) -> None:
        self.curriculum: LearnedCurriculum | None = None
        self.record: StepRecord | None = None
        self._meta_loader = meta_loader
        self._total_steps = total_steps
        self._read = read or read_batch
        self._options: dict[str, Any] = {
            "mentor": mentor,
            "update_interval": update_interval,
            "curriculum": curriculum,
            "n_classes": n_classes,
            "class_sizes": class_sizes,
            "n_samples": n_samples,
            "seed": seed,
            "learn": learn,
        }
        self._epochs = epochs
        self._to_load: dict[str, Any] | None = None
        self._is_weighed = False
        self._undo: Callable[[], None] = _nothing

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the curriculum between ``training_step`` and the trainer; optimizer and checkpoint are there now."""
        _check(trainer, pl_module)
        original = pl_module.training_step
        student = _PerSample(pl_module, original)
        total_steps = self._total_steps or _estimated_steps(trainer)
        self.curriculum = LearnedCurriculum(
            student,
            trainer.optimizers[0],
            _MetaLoader(self._meta_loader, self._read, trainer, takes_index=len(_parameters_of(original)) > 1),
            total_steps=total_steps,
            epochs=self._epochs or _epochs_of(trainer, total_steps),
            loss=_losses_for,
            exchange=Ranks() if trainer.world_size > 1 else Alone(),
            **self._options,
        )
        if self._to_load is not None:
            self.curriculum.load_state_dict(self._to_load)
            self._to_load = None
        self._undo = _replaced(pl_module, "training_step", self._weighing(student, self.curriculum))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A meta update where one is due, if the optimizer has stepped; the gradients are still there."""
        if self.curriculum is None or not self._is_weighed:
            return
        self._is_weighed = False
        with _silent(pl_module):
            self.record = self.curriculum.after_step() or self.record

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gives ``training_step`` back as it was."""
        self._leave()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """As at the end."""
        self._leave()

    def state_dict(self) -> dict[str, Any]:
        """The curriculum's, empty before training."""
        return self.curriculum.state_dict() if self.curriculum else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Kept until training starts."""
        self._to_load = state_dict or None

    def _leave(self) -> None:
        self._undo()
        self._undo = _nothing
        if self.curriculum is not None:
            self.curriculum.close()

    def _weighing(self, student: _PerSample, curriculum: LearnedCurriculum) -> Callable[..., Any]:
        @functools.wraps(student.training_step)
        def training_step(batch: Any, *more: Any, **named: Any) -> Any:
            outputs = student(batch, *more, **named)
            if outputs is None:  # Lightning's way to skip a batch
                return None
            labels, sample_ids = self._names(batch, outputs)
            losses = per_sample_losses(outputs, len(labels))
            loss = curriculum.weigh(losses, labels=labels, sample_ids=sample_ids, outputs=self._logits(outputs))
            self._is_weighed = True
            return {**outputs, "loss": loss} if isinstance(outputs, Mapping) else loss

        return training_step

    def _logits(self, outputs: Any) -> Tensor | None:
        has_classes = self._options["n_classes"] is not None or self._options["class_sizes"] is not None
        if not has_classes or not isinstance(outputs, Mapping):
            return None
        logits: Tensor | None = outputs.get("logits")
        return logits

    def _names(self, batch: Any, outputs: Any) -> Named:
        given = outputs if isinstance(outputs, Mapping) else {}
        if "labels" in given:
            return given["labels"], given.get("sample_ids")
        labels, sample_ids = self._read(batch)
        return labels, given.get("sample_ids", sample_ids)


def read_batch(batch: Any) -> Named:
    """Labels and sample ids of (inputs, labels[, sample ids]) or of a mapping with ``labels``[, ``sample_ids``].

    Raises:
        UserError: anything else.
    """
    if isinstance(batch, Mapping) and "labels" in batch:
        return batch["labels"], batch.get("sample_ids")
    if isinstance(batch, tuple | list) and len(batch) in (2, 3) and all(isinstance(part, Tensor) for part in batch[1:]):
        return batch[1], batch[2] if len(batch) == 3 else None
    raise UserError(
        f"the batch is a {type(batch).__name__}, but it must be (inputs, labels[, sample ids]) or a mapping with "
        "'labels'; give the callback read=, a function from batch to (labels, sample ids or None)"
    )


def per_sample_losses(outputs: Any, count: int) -> Float[Tensor, " batch"]:
    """The losses in what ``training_step`` returned.

    Raises:
        UserError: if there is not one for each of ``count`` samples.
    """
    losses = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    if not isinstance(losses, Tensor):
        raise UserError(
            f"training_step returned a {type(outputs).__name__} without losses, but the callback weighs them: return a "
            "tensor, or a dict with 'loss'"
        )
    if losses.shape != (count,):
        raise UserError(
            f"training_step returned a loss of shape {tuple(losses.shape)} for {count} samples, but the callback "
            "weighs per-sample losses: return one a sample; e.g. give the loss reduction='none'"
        )
    return losses


class _PerSample(nn.Module):
    """The module as a student: from batch to what ``training_step`` returns."""

    def __init__(self, module: LightningModule, training_step: Callable[..., Any]) -> None:
        super().__init__()
        self.module = module
        self.training_step = training_step

    def forward(self, *arguments: Any, **named: Any) -> Any:
        return self.training_step(*arguments, **named)


class _MetaLoader:
    """The user's batches, moved as the trainer moves its own, as arguments of ``training_step``."""

    def __init__(
        self, loader: Iterable[Any], read: Callable[[Any], Named], trainer: Trainer, *, takes_index: bool
    ) -> None:
        self._loader = loader
        self._read = read
        self._trainer = trainer
        self._more: tuple[int, ...] = (0,) if takes_index else ()
        self.sampler = getattr(loader, "sampler", None)

    def __iter__(self) -> Iterator[tuple[tuple[Any, ...], Tensor]]:
        for batch in self._loader:
            converted = self._trainer.precision_plugin.convert_input(batch)
            moved = self._trainer.strategy.batch_to_device(converted)
            yield (moved, *self._more), self._read(moved)[0]


def _losses_for(outputs: Any, labels: Shaped[Tensor, "batch ..."]) -> Float[Tensor, " batch"]:
    return per_sample_losses(outputs, len(labels))


@contextmanager
def _silent(module: LightningModule) -> Iterator[None]:
    """``training_step`` may be called inside without a trace in logs and metrics."""
    undo = [_replaced(module, name, _nothing) for name in ("log", "log_dict")]
    metrics = [_MetricState(part) for part in module.modules() if isinstance(part, Metric)]
    try:
        yield
    finally:
        for metric in metrics:
            metric.put_back()
        for step in undo:
            step()


class _MetricState:
    """What calling a metric changes. Tensors and lists stay the same objects: metrics in a collection share them."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        counted = ("_update_count", "_computed", "_forward_cache")
        self._plain = {name: getattr(metric, name) for name in counted}
        states = metric.metric_state.items()
        self._tensors = {name: (value, value.clone()) for name, value in states if isinstance(value, Tensor)}
        self._lists = {name: (value, list(value)) for name, value in states if isinstance(value, list)}

    def put_back(self) -> None:
        for name, (tensor, value) in self._tensors.items():
            tensor.copy_(value)
            setattr(self._metric, name, tensor)
        for name, (items, kept) in self._lists.items():
            items[:] = kept
            setattr(self._metric, name, items)
        for name, plain in self._plain.items():
            setattr(self._metric, name, plain)


def _replaced(module: LightningModule, name: str, value: Any) -> Callable[[], None]:
    """Gives the module an attribute of its own; returns what takes it back."""
    own = vars(module)
    had, before = name in own, own.get(name)
    own[name] = value

    def undo() -> None:
        if had:
            own[name] = before
        else:
            del own[name]

    return undo


def _nothing(*_: Any, **__: Any) -> None:
    pass


def _parameters_of(training_step: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(training_step).parameters)


def _estimated_steps(trainer: Trainer) -> int:
    steps = trainer.estimated_stepping_batches
    if steps == float("inf"):
        raise UserError(
            "the trainer has no end that progress could be measured against; give it max_epochs or max_steps, or the "
            "callback total_steps"
        )
    return int(steps)


def _epochs_of(trainer: Trainer, steps: int) -> int | None:
    """So many passes over the training samples; None where it isn't known how many batches one has."""
    batches = trainer.num_training_batches
    if batches == float("inf") or not batches:
        return None
    return max(1, round(steps * trainer.accumulate_grad_batches / batches))


def _check(trainer: Trainer, module: LightningModule) -> None:
    if not module.automatic_optimization:
        raise UserError(
            "the module optimises manually, but the callback works in automatic optimisation; call "
            "ray_mentor.LearnedCurriculum in training_step instead"
        )
    if len(trainer.optimizers) != 1:
        raise UserError(f"the module has {len(trainer.optimizers)} optimizers, but the callback works with one")
    if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
        raise UserError(
            f"the strategy is {type(trainer.strategy).__name__}, but the callback needs whole params on every rank; "
            "valid: one device, ddp"
        )
    if "dataloader_iter" in _parameters_of(module.training_step):
        raise UserError("training_step takes dataloader_iter, but the callback must see the batch; let it take batch")
