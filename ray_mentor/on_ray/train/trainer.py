"""The trainer: a student, its data and a mentor, on Ray Train."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import ray
import ray.train
from torch import nn

from ray_mentor.config import TrainConfig
from ray_mentor.config.file import to_toml
from ray_mentor.core.losses import PerSampleLoss
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.methods.table import burn_in_of, check_one_loss, method_of
from ray_mentor.core.student.optimizers import make_optimizer
from ray_mentor.data.plan.batches import Plan
from ray_mentor.data.samples.augment import Augment
from ray_mentor.data.splits.splits import Splits
from ray_mentor.data.storage.stored import order_of
from ray_mentor.errors import RunStoppedError, StoppedByUser
from ray_mentor.on_ray.session.environment import quiet
from ray_mentor.on_ray.session.failures import what_is_saved
from ray_mentor.on_ray.session.session import check_lasts
from ray_mentor.on_ray.train.ends import Ends
from ray_mentor.on_ray.train.gate import AnyGate, call
from ray_mentor.on_ray.train.given.mixed import mixed, over_groups, reference_of
from ray_mentor.on_ray.train.given.own import check_factories, check_head, first_params, recorded, student_of
from ray_mentor.on_ray.train.given.rays_configs import (
    check_batches,
    check_honoured,
    directory_of,
    placed,
    scaling_of,
    with_rays_own,
)
from ray_mentor.on_ray.train.given.samples import Data, check_has_classes, named_parts, said_of, splits_of
from ray_mentor.on_ray.train.given.tried import identities, tried
from ray_mentor.on_ray.train.given.workers import Choice, chosen
from ray_mentor.on_ray.train.places import Place
from ray_mentor.report.notebook import display_here
from ray_mentor.run.checkpoint.resume import Identity, check_free_or_same, longer, resuming
from ray_mentor.run.claim import ClaimedDirectory, taken_up
from ray_mentor.run.directory import CONFIG, fresh_name
from ray_mentor.run.findings.group_figures import said_of_groups
from ray_mentor.run.job import Job, MakeOptimizer, settled
from ray_mentor.run.marks import Marks, Show
from ray_mentor.run.outcome import Outcome
from ray_mentor.run.progress import ProgressBoard
from ray_mentor.run.trackers import tracked
from ray_mentor.run.trained.about import name_of
from ray_mentor.run.trained.fed import Input
from ray_mentor.students.weights import Start


class CurriculumTrainer:
    """Trains a student on samples that a mentor weighs, data-parallel on Ray Train.

    Example:
        >>> trainer = CurriculumTrainer(student=make_model, data=noisy, meta=trusted, epochs=10)
        >>> outcome = trainer.fit()
        >>> outcome.result["trusted_accuracy"], outcome.ledger()

    Args:
        student: builds a fresh student; called on every worker with the same seed, and twice by a method of two
            students.
        data: training samples with given labels: a map-style torch data set of (input, label), arrays (x, y), a pandas
            frame, a data set of Hugging Face or of Ray Data, or :class:`Samples`. Of tables, ``label_column`` and its
            like say which column is what.
        meta: the small trusted set; the same kinds, or several targets by name. None: there is none, and a method that
            needs one is refused.
        target_weights: of several targets, what each counts for, by name; None: the same for all.
        test: measured after every epoch; the same kinds, or None. With ``clean_test=True``, or true labels in its
            :class:`Samples`, it shows accuracy; else agreement with given labels.
        validation: as noisy as ``data``, to show the agreement with given labels; the same kinds, or None.
        datasets: all four by name, as Ray Train has them, in their place: ``train``, and ``meta``, ``test`` and
            ``validation`` where there are some.
        loss: (logits (B, C), labels (B,)) -> per-sample losses (B,), or the name of one, as the setting ``loss`` has
            it. None: as the settings say, cross-entropy by default. With one of your own, the mentor makes its mean
            over the meta set small, and nothing is mixed; if it is the negative log-likelihood of the label,
            ``meta_loss="error"`` gives what cross-entropy has. It may take targets that aren't one class: amounts
            (floats), several classes at once (B, C), a class a token (B, T); what needs classes is left out then.
        optimizer: params -> optimizer of the student. None: as the settings say (``optimizer``, ``learning_rate``...).
        data_workers: processes of each worker that read samples of a data set ahead of the training, each with a copy
            of the data set; 0: they are read when they are needed. Bits do not depend on it, unless a data set draws
            from a random generator of its own.
        config: the settings; None: their defaults. What says where data come from and which student is built means
            nothing here, where both are given.
        scaling_config: Ray's, in place of the settings' ``workers`` and their like (where neither says a number, the
            size of the run does); ``num_workers=0`` trains in this process without starting Ray, ``(low, high)`` goes
            on with fewer workers when nodes are lost.
        run_config: Ray's, in place of the settings' ``run_name`` and ``storage_path``; a checkpoint config and a
            failure config that are not Ray's defaults take the place of ``keep_checkpoints`` and ``max_failures``.
        verbose: let Ray's own log through.
        began: time.time() at which ``wall_seconds`` starts; None: the call of :meth:`fit`.
        start: what the student begins with; None: as it is built, or with the params that ``student_weights`` names.
        record: settings to write into the run's config file; None: those that mean something here.
        feature_names: of the inputs, where they are features: the trained student asks for them by name.
        augmented: what the setting ``augment`` names, for machines that lack its file; None: it is read here.
        changes: settings by name (``epochs=10``), or whole groups of them (``mentor=MentorConfig(...)``), in place of
            those of ``config``.

    Attributes:
        config: all settings of the run.
        directory: where it writes.
        ray_result: what Ray's own trainer returned: the last epoch's metrics, and the student as a checkpoint. None
            before the run has ended.

    Raises:
        UserError: naming the setting or argument, the rule and the fix.
    """

    def __init__(
        self,
        student: Callable[[], nn.Module],
        data: Data | None = None,
        meta: Data | None = None,
        *,
        target_weights: Mapping[str, float] | None = None,
        datasets: Mapping[str, Data] | None = None,
        test: Data | None = None,
        validation: Data | None = None,
        loss: PerSampleLoss | str | None = None,
        optimizer: MakeOptimizer | None = None,
        data_workers: int = 0,
        config: TrainConfig | None = None,
        scaling_config: ray.train.ScalingConfig | None = None,
        run_config: ray.train.RunConfig | None = None,
        verbose: bool = False,
        began: float | None = None,
        start: Start | None = None,
        record: Mapping[str, Any] | None = None,
        feature_names: Sequence[str] = (),
        augmented: Augment | None = None,
        **changes: Any,
    ) -> None:
        named = {} if run_config is None else {"run_name": run_config.name}
        asked = (config or TrainConfig()).changed(**named, **changes)
        if isinstance(loss, str):
            asked, loss = asked.changed(loss=loss), None
        check_one_loss(asked.curriculum, loss)
        self._is_named = run_config is not None or asked.run.run_name is not None
        if not self._is_named:
            asked = asked.changed(run_name=fresh_name(asked.curriculum.method))
        check_factories(student, optimizer)
        self._build = student
        name, own_optimizer, own_loss = name_of(student), optimizer is not None, loss is not None
        check_head(asked, own_optimizer=own_optimizer)
        parts = named_parts(data, meta, test, validation, datasets)
        self._splits = splits_of(
            *parts, data_workers, config=asked.data, own_loss=own_loss, student=name, target_weights=target_weights
        )
        self._splits = over_groups(asked, self._splits)
        asked = mixed(asked, self._splits)
        start = start or first_params(asked.student.student_weights, student, self._splits.train.inputs)
        trained = student_of(student, start, asked, own_loss=loss)
        check_has_classes(self._splits, asked)
        self._fed = Input.of(self._splits.train, feature_names or self._splits.features)
        rays = placed(run_config, asked.run)
        self.directory = directory_of(rays)
        check_lasts(self.directory.path)
        self._was_fit = False
        self._resume = resuming(self.directory, resume=asked.run.resume, or_start=asked.run.resume_or_start)
        self._choice: Choice | None = None
        if scaling_config is None and asked.run.workers == "auto":
            before = self.directory if self._resume else None
            self._choice = chosen(asked, self._splits, trained, run_config, before)
            asked = asked.changed(workers=self._choice.workers)
        with quiet(verbose):  # Ray tells of its local mode
            scaling = scaling_config or scaling_of(asked.run)
        check_honoured(run_config, scaling)
        self._place = Place(scaling, rays, verbose)
        self.config = with_rays_own(asked, scaling, rays)
        self.ray_result: ray.train.Result | None = None
        self._began = began
        self._record = recorded(self.config, record, own_optimizer=own_optimizer, own_loss=own_loss)
        order, run = order_of(self._splits.train), self.config.run
        plan = Plan(order, run.batch_size, run.seed, run.epochs)
        augment = augmented or Augment.of(self.config.data.augment)
        job = Job(
            config=settled(self.config, plan.total_steps),
            student=trained,
            optimizer=optimizer or functools.partial(make_optimizer, config=self.config.student),
            splits=self._splits,
            order=order,
            loss=loss,
            directory=self.directory,
            settings=to_toml(self._record).encode(),
            data=identities(self._splits, self.config, student, augment),
            local=run.workers == 0,
            start=start,
            reference=reference_of(self.config, trained, self._splits.train.inputs),
            board=ProgressBoard(),
            augment=augment,
        )
        self._job = tried(job, self._splits, self.config, student, own_optimizer=own_optimizer)

    def fit(self, show: Show | None = None, gate: AnyGate | None = None) -> Outcome:
        """Trains to the end and writes ``result.json``.

        Args:
            show: called with each progress row: a dict with ``kind`` "started" (again after a failure), "step"
                (once a second), "epoch", "note" (with a ``text``) or "ended". What it raises ends a run in this
                process; one with workers goes on unseen, and it is raised in the end. None: in a notebook a table,
                refreshed; elsewhere nothing is shown.
            gate: where the run waits at the end of each epoch for leave to go on: an actor of class Gate, or for a run
                in this process a Gate itself; None: it does not wait.

        A page, ``report.html``, is written as well, also of a run that ends early; where it can't be, that is shown.

        Raises:
            UserError: what the user can mend: a run of this name that is there already, too few CPUs, a
                loss that is not finite, a full disk.
            MentorLostError: the mentor actor died, and cannot be brought back.
            RunStoppedError: the run was ended at its gate.
            StoppedByUser: Ctrl-C, or a notebook's stop, when there was something to go on from.
        """
        if self._was_fit and not self._is_named:
            self._name_afresh()
        self._was_fit = True
        show = show or display_here(self.config.run.epochs, burn_in_of(self.config.curriculum, self.config.run.epochs))
        with tracked(self.config.run.log_to, self.directory, self._record, show) as told:
            return self._fitted(told, gate)

    def _fitted(self, show: Show, gate: AnyGate | None) -> Outcome:
        began = time.time() if self._began is None else self._began
        self._job = dataclasses.replace(self._job, gate=gate)
        self.check_directory()
        marks = Marks(began, show)
        without = [
            *said_of(self._splits, self.config, own_loss=self._job.loss is not None),
            *said_of_groups(self._splits),
        ]
        start = None if self._job.start is None or self._resume else self._job.start.said
        for note in filter(
            None, (self._choice, *without, start, self._resume and longer(self._record, self.directory))
        ):
            marks.show({"kind": "note", "text": str(note)})
        try:
            train = self._place.train_here if self._job.local else self._place.train_on_ray
            self.ray_result = train(self._job, self._claim_directory, marks)
        except KeyboardInterrupt as stop:
            if not self.directory.exists():
                raise
            stopped = StoppedByUser(what_is_saved(self.directory), str(self.config.run.run_name))
            with suppress(KeyboardInterrupt):
                self._say_on_page(marks, f"It was stopped; {stopped.saved}.")
            raise stopped from stop
        except Exception as error:
            self._say_on_page(marks, f"{type(error).__name__}: {error}")
            raise
        if gate is not None and call(gate, "stopped"):
            raise RunStoppedError(f"the run {self.directory.path} was ended at the end of an epoch")
        return self._ends.well(marks)

    def _say_on_page(self, marks: Marks, ended: str) -> None:
        if marks.has_started:  # what was refused is as it was
            self._ends.write_page(marks, ended)

    @property
    def _ends(self) -> Ends:
        files = self._place.run.storage_filesystem
        return Ends(self._job, self.config, self._splits, self._fed, self._build, self._claimed, files)

    def _name_afresh(self) -> None:
        """The next run of a trainer whose runs nobody has named."""
        name = self._record["run_name"] = fresh_name(self.config.curriculum.method)
        self.config = self.config.changed(run_name=name)
        rays = dataclasses.replace(self._place.run, name=name)
        self.directory = directory_of(rays)
        self._place = dataclasses.replace(self._place, run=rays)
        config, settings = self._job.config.changed(run_name=name), to_toml(self._record).encode()
        self._job = dataclasses.replace(self._job, config=config, directory=self.directory, settings=settings)

    @property
    def identity(self) -> Identity:
        """What the run is, and no other."""
        shapes = {name: tuple(param.shape) for name, param in self._job.student().named_parameters()}
        return Identity(self._record, self._job.data, shapes, self._splits.train.classes)

    @property
    def splits(self) -> Splits:
        """The data."""
        return self._splits

    def n_params(self) -> int:
        """Numbers that are trained: the student's (both, where there are two) and, where one learns, the mentor's."""
        own = sum(param.numel() for param in self._job.student().parameters() if param.requires_grad)
        learns, classes = method_of(self.config.curriculum.method).learns, len(self._splits.train.classes)
        return own + (MentorLearner(self._job.mentor, classes, 0).n_params if learns else 0)

    def stored_at(self, place: ray.ObjectRef[Splits]) -> None:
        """Says that the data lie in Ray's object store, whole and as they are here: workers are sent there."""
        self._place = dataclasses.replace(self._place, stored=place)

    def check_directory(self) -> None:
        """Raises a UserError if the run's folder is there and should not be, or is not that of this run."""
        check_free_or_same(self._record, self.directory, resume=self._resume)

    def _claim_directory(self) -> ClaimedDirectory:
        """Nothing is written before this, so that a run that is refused leaves its name free.

        What is there already stays until the workers have taken up its newest checkpoint.
        """
        check_batches(self._splits, self.config.run.batch_size, self._place.scaling)
        self.directory.create()
        self._claimed = taken_up(self.directory, self.check_directory)
        if self._claimed.size(CONFIG) is None:
            self._claimed.write(CONFIG, self._job.settings)
        return self._claimed
