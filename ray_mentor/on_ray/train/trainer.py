"""The trainer: a student, its data and a mentor, on Ray Train."""

from __future__ import annotations

import dataclasses
import functools
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import ray
import ray.exceptions
import ray.train
import torch
from ray.actor import ActorHandle
from torch import nn

from ray_mentor.config import TrainConfig
from ray_mentor.config.file import to_toml
from ray_mentor.core.influence.step_jacobian import check_optimizer
from ray_mentor.core.losses import PerSampleLoss
from ray_mentor.core.mentor.learner import MentorLearner, MentorState
from ray_mentor.core.mentor.mentor_file import MENTOR_FILE, mentor_bytes
from ray_mentor.core.mentor.start import check_frozen, first_mentor, given_mentor, starts_otherwise
from ray_mentor.core.methods.pairs import check_can_be_relabelled, check_goes_with_two
from ray_mentor.core.methods.parts import that_find_out
from ray_mentor.core.methods.table import (
    check_one_loss,
    is_in_nats,
    meta_loss_of,
    method_of,
    mixing_of,
    named_loss_of,
)
from ray_mentor.core.methods.trusted import check_meta_set
from ray_mentor.core.methods.weightings import Taught
from ray_mentor.core.methods.weightings.oracle import TRUTH_MISSING
from ray_mentor.core.student.optimizers import make_optimizer
from ray_mentor.core.student.pair import pair_of
from ray_mentor.core.student.random_state import untouched
from ray_mentor.core.student.sync_batch_norm import synchronised
from ray_mentor.core.student.trained import frozen
from ray_mentor.data.plan.batches import Plan
from ray_mentor.data.samples.augment import Augment
from ray_mentor.data.samples.identity import identity
from ray_mentor.data.samples.inputs import digest
from ray_mentor.data.splits.splits import Splits
from ray_mentor.data.storage.on_device import check_can_be_held
from ray_mentor.data.storage.stored import order_of
from ray_mentor.errors import MentorLostError, RunStoppedError, StoppedByUser, UserError
from ray_mentor.notebook import NotebookDisplay, kernel
from ray_mentor.on_ray.mentor.actor import MentorActor
from ray_mentor.on_ray.session.environment import hangs_end_after, quiet, trains_metrics_of
from ray_mentor.on_ray.session.failures import Failures, as_ray_says, causes, how_to_go_on, users_error, what_is_saved
from ray_mentor.on_ray.session.growth import Needs
from ray_mentor.on_ray.session.internals import BOOKS, StoppableTrainer
from ray_mentor.on_ray.session.session import (
    alone_in_process,
    check_lasts,
    check_machine,
    ctrl_c_is_ours,
    ray_session,
)
from ray_mentor.on_ray.train.arguments import (
    OPTIMIZER_SETTINGS,
    WITHOUT_CLASSES,
    Data,
    as_told_to_ray,
    check_factories,
    check_has_classes,
    check_honoured,
    check_shares,
    least_needs,
    named_parts,
    placed,
    plain_settings,
    scaling_of,
    splits_of,
    with_rays_own,
)
from ray_mentor.on_ray.train.gate import AnyGate, call
from ray_mentor.on_ray.train.reports import CallbacksHere
from ray_mentor.on_ray.train.sigterm import HERE, WorkersSaveFirst, workers_save_first
from ray_mentor.on_ray.train.watch import LocalBoard, RemoteBoard, board_here, ended_with_its_run, watched
from ray_mentor.on_ray.train.worker_loop import worker_loop
from ray_mentor.on_ray.train.workers import Choice, chosen
from ray_mentor.report.run.written import report_at_end
from ray_mentor.run.audit.audit import Audit
from ray_mentor.run.checkpoint.checkpoints import newest_good
from ray_mentor.run.checkpoint.kept import kept_student
from ray_mentor.run.checkpoint.resume import (
    AUGMENT_CODE,
    MENTOR,
    STUDENT_CODE,
    TEST,
    TRAINING,
    TRUSTED,
    VALIDATION,
    Identity,
    check_same_run,
    resuming,
)
from ray_mentor.run.checkpoint.state import RunState
from ray_mentor.run.claim import taken_up
from ray_mentor.run.directory import CONFIG, RunDirectory, fresh_name
from ray_mentor.run.findings.closing import closed
from ray_mentor.run.job import Job, MakeOptimizer, settled
from ray_mentor.run.ledger.detection import detection
from ray_mentor.run.marks import Marks, Show
from ray_mentor.run.outcome import Outcome, result_of
from ray_mentor.run.progress import ProgressBoard
from ray_mentor.run.trackers import tracked
from ray_mentor.run.trained.about import About, Input, build_of, code_of
from ray_mentor.run.trained.written import student_at_end, student_so_far
from ray_mentor.students.weights import Start, check_can_differ, start_of


def _identities(
    splits: Splits, config: TrainConfig, student: Callable[[], nn.Module], augment: Augment
) -> dict[str, str]:
    """Which samples, mentor and code of the user's own a run works with."""
    named = {TRAINING: splits.train, TRUSTED: splits.meta, VALIDATION: splits.validation, TEST: splits.test}
    found = {name: identity(samples) for name, samples in named.items() if samples is not None}
    changes = None if augment.source is None else digest(augment.source).hex()
    code = {STUDENT_CODE: code_of(student), AUGMENT_CODE: changes}
    found |= {name: made for name, made in code.items() if made is not None}
    given = given_mentor(config.mentor, config.curriculum)
    return found if given is None else {**found, MENTOR: given}


def _start_of(path: str | None, build: Callable[[], nn.Module]) -> Start | None:
    if path is None:
        return None
    with untouched(torch.device("cpu")):
        return start_of(path, build())


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
        meta: the small trusted set; the same kinds. None: there is none, and a method that needs one is refused.
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
            size of the run does); ``num_workers=0`` trains in this
            process without starting Ray, ``(low, high)`` goes on with fewer workers when nodes are lost.
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
        self._start = start or _start_of(asked.student.student_weights, student)
        if optimizer is not None and asked.student.learning_rate_head is not None:
            raise UserError(
                f"learning_rate_head is {asked.student.learning_rate_head:g}, but the optimizer is your own; give the "
                "last layer a group of its own there, or leave one of the two out"
            )
        if asked.student.freeze:
            student = functools.partial(frozen, student, asked.student.freeze)
        self._method = method_of(asked.curriculum.method)
        if self._method.students > 1:
            check_goes_with_two(asked.curriculum, loss)
            check_can_differ(asked.curriculum.method, self._start)
            student = functools.partial(pair_of, student)
        parts = named_parts(data, meta, test, validation, datasets)
        self._splits = splits_of(*parts, data_workers, config=asked.data, own_loss=loss is not None)
        check_has_classes(self._splits, asked)
        self._fed = Input.of(self._splits.train, feature_names or self._splits.features)
        self._run = placed(run_config, asked.run)
        self.directory = RunDirectory.within(
            str(self._run.storage_path), str(self._run.name), self._run.storage_filesystem
        )
        check_lasts(self.directory.path)
        self._was_fit = False
        self._resume = resuming(self.directory, resume=asked.run.resume, or_start=asked.run.resume_or_start)
        self._choice: Choice | None = None
        if scaling_config is None and asked.run.workers == "auto":
            before = self.directory if self._resume else None
            self._choice = chosen(asked, self._splits, student, run_config, before)
            asked = asked.changed(workers=self._choice.workers)
        with quiet(verbose):  # Ray tells of its local mode
            self._scaling: Any = scaling_config or scaling_of(asked.run)
        check_honoured(run_config, self._scaling)
        self.config = with_rays_own(asked, self._scaling, self._run)
        self._stored: ray.ObjectRef[Splits] | None = None
        self._verbose = verbose
        self.ray_result: ray.train.Result | None = None
        self._began = began
        given = {"student"} if optimizer is None else {"student", *OPTIMIZER_SETTINGS}
        asks = dict(record) if record is not None else plain_settings(self.config, given)
        self._record = {name: value for name, value in asks.items() if name not in ("resume", "resume_or_start")}
        self._record["workers"] = self.config.run.workers
        if loss is not None:
            self._record.pop("loss", None)  # a name is none of its own
            self._record["meta_loss"] = meta_loss_of(self.config.mentor, own_loss=True)
        order, run = order_of(self._splits.train), self.config.run
        plan = Plan(order, run.batch_size, run.seed, run.epochs)
        augment = augmented or Augment.of(self.config.data.augment)
        self._job = Job(
            config=settled(self.config, plan.total_steps),
            student=student,
            optimizer=optimizer or functools.partial(make_optimizer, config=self.config.student),
            splits=self._splits,
            order=order,
            loss=loss,
            directory=self.directory,
            settings=to_toml(self._record).encode(),
            data=_identities(self._splits, self.config, self._build, augment),
            local=self.config.run.workers == 0,
            start=self._start,
            board=ProgressBoard(),
            augment=augment,
        )
        self._try_method()

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
        with tracked(self.config.run.log_to, self.directory, self._record, show or self._default_show()) as told:
            return self._fitted(told, gate)

    def _fitted(self, show: Show, gate: AnyGate | None) -> Outcome:
        began = time.time() if self._began is None else self._began
        self._job = dataclasses.replace(self._job, gate=gate)
        self.check_directory()
        marks = Marks(began, show)
        if self._choice is not None:
            marks.show({"kind": "note", "text": str(self._choice)})
        if self._splits.train.targets is not None:
            marks.show({"kind": "note", "text": WITHOUT_CLASSES})
        if self._start is not None and not self._resume:
            marks.show({"kind": "note", "text": self._start.said})
        try:
            if self._job.local:
                self._fit_here(marks)
            else:
                self._fit_on_ray(marks)
        except KeyboardInterrupt as stop:
            if not self.directory.exists():
                raise
            stopped = StoppedByUser(what_is_saved(self.directory), str(self.config.run.run_name))
            with suppress(KeyboardInterrupt):
                self._report(marks, f"It was stopped; {stopped.saved}.")
            raise stopped from stop
        except Exception as error:
            self._report(marks, f"{type(error).__name__}: {error}")
            raise
        if gate is not None and call(gate, "stopped"):
            raise RunStoppedError(f"the run {self.directory.path} was ended at the end of an epoch")
        state = self._final_state()
        wrong = detection(self.directory, self.config.run.epochs - 1, by_loss=self._method.says_same)
        result = result_of(self.config, len(self._splits.train), state, marks, wrong)
        mentor = self._last_mentor(state)
        if mentor is not None:
            self._claimed.write(MENTOR_FILE, self._mentor_bytes(mentor))
        about = self._about(finished=True)
        if (said := student_at_end(self._claimed, about, state, self._build)) is not None:
            marks.show({"kind": "note", "text": said})
        result, audit = closed(self._claimed, result, self.config.run.epochs)
        self._report(marks, audit=audit)
        self._claimed.release()
        student, files = kept_student(state.kept, state.student), self._run.storage_filesystem
        return Outcome(result, state.log.metrics, self.directory.path, student, files, self._build)

    def _about(self, *, finished: bool) -> About:
        """How the trained student is built, and what it is fed."""
        classes, epochs = self._splits.train.classes, self.config.run.epochs
        name, build = str(self.config.run.run_name), build_of(self._build)
        code = code_of(self._build)
        return About(name, build, classes, self._fed, self._method.students, epochs, finished, code=code)

    def _report(self, marks: Marks, ended: str | None = None, audit: Audit | None = None) -> None:
        """Writes the run's page; those of a sweep's or a comparison's runs are made when they are asked for."""
        if self._job.gate is not None or (ended is not None and not marks.has_started):
            return  # what was refused is as it was
        about = self._about(finished=False)
        if ended is not None and (said := student_so_far(self._claimed, about, self._build)) is not None:
            marks.show({"kind": "note", "text": said})
        said = report_at_end(self._claimed, self._splits.train, ended=ended, audit=audit)
        if said is not None:
            marks.show({"kind": "note", "text": said})

    def _last_mentor(self, state: RunState) -> MentorState | None:
        """One that learned, or was taught; None where there is none."""
        if self._method.learns:
            return state.curriculum.mentor
        weighting = self._method.weighting(self.config.curriculum, self._job.mentor, None)
        if not isinstance(weighting, Taught):
            return None
        loss = self._job.loss or named_loss_of(self.config.curriculum)
        place = that_find_out(loss, weighting).index(weighting)
        weighting.state = state.curriculum.at_epoch[place]
        return None if weighting.frozen is None else weighting.frozen.state()

    def _mentor_bytes(self, mentor: MentorState) -> bytes:
        """For other runs, whose mentors may begin as this one."""
        classes, in_nats = len(self._splits.train.classes), is_in_nats(self.config.mentor, own_loss=self._own_loss)
        return mentor_bytes(mentor, self._job.mentor, classes, in_nats=in_nats)

    @property
    def _own_loss(self) -> bool:
        return self._job.loss is not None

    def _name_afresh(self) -> None:
        """The next run of a trainer whose runs nobody has named."""
        name = fresh_name(self.config.curriculum.method)
        self.config = self.config.changed(run_name=name)
        self._run = dataclasses.replace(self._run, name=name)
        self.directory = RunDirectory.within(str(self._run.storage_path), name, self._run.storage_filesystem)
        self._record["run_name"] = name
        self._job = dataclasses.replace(
            self._job,
            config=self._job.config.changed(run_name=name),
            directory=self.directory,
            settings=to_toml(self._record).encode(),
        )

    def _default_show(self) -> Show:
        """A table in a notebook, and nothing elsewhere."""
        shell = kernel()
        return (lambda row: None) if shell is None else NotebookDisplay(shell, self.config.run.epochs).show

    @property
    def identity(self) -> Identity:
        """What the run is, and no other."""
        shapes = {name: tuple(param.shape) for name, param in self._job.student().named_parameters()}
        return Identity(self._record, self._job.data, shapes)

    @property
    def splits(self) -> Splits:
        """The data."""
        return self._splits

    def n_params(self) -> int:
        """Numbers that are trained: the student's (both, where there are two) and, where one learns, the mentor's."""
        own = sum(param.numel() for param in self._job.student().parameters() if param.requires_grad)
        classes = len(self._splits.train.classes)
        return own + (MentorLearner(self._job.mentor, classes, 0).n_params if self._method.learns else 0)

    def stored_at(self, place: ray.ObjectRef[Splits]) -> None:
        """Says that the data lie in Ray's object store, whole and as they are here: workers are sent there."""
        self._stored = place

    def _try_method(self) -> None:
        """What the method lacks is said here, rather than by every worker once Ray has started."""
        asked = self.config.student
        if asked.freeze or asked.sync_batch_norm:
            with untouched(torch.device("cpu")):
                built = self._job.student()
                if asked.sync_batch_norm:
                    synchronised(built)
        self._job.augment.check(self._splits.train.inputs, self._splits.meta.inputs)
        if self.config.data.hold_on_device:
            check_can_be_held(self._splits.train)
        if self._method.needs_truth and self._splits.train.true_labels is None:
            raise UserError(TRUTH_MISSING)
        n_trusted, n_held = (0 if held is None else len(held) for held in (self._splits.meta, self._splits.validation))
        check_meta_set(self.config.curriculum, self.config.mentor, n_trusted, n_held, own_loss=self._own_loss)
        own_loss, floats = self._own_loss, self._splits.train.inputs.dtype.is_floating_point
        mixing_of(self.config.curriculum, self.config.mentor, own_loss=own_loss, floats=floats)
        if self._method.relabelling is not None:
            check_can_be_relabelled(self.config.curriculum, floats=floats)
        settings, schedule, sizes = self._job.mentor, self._job.curriculum, self._splits.train.class_sizes
        in_nats = is_in_nats(settings, own_loss=own_loss)
        check_frozen(schedule, settings, len(sizes), in_nats=in_nats)
        if self._method.learns:
            start = first_mentor(schedule, settings, len(sizes), self.config.run.seed, sizes, in_nats=in_nats)
            if starts_otherwise(schedule, settings):
                self._job = dataclasses.replace(self._job, mentor_start=start.state())
            check_optimizer(self._job.optimizer([nn.Parameter(torch.ones(2, 2))]))
        else:
            self._method.weighting(self.config.curriculum, self.config.mentor, None)

    def check_directory(self) -> None:
        """Raises a UserError if the run's folder is there and should not be, or is not that of this run."""
        path = self.directory.path
        if self.directory.exists() and not self._resume:
            raise UserError(f"run {path} is there already; give it another --run-name, or go on with it: --resume")
        if self._resume and not self.directory.exists():
            raise UserError(f"there is no run {path} to resume; check --run-name and --storage-path")
        if self._resume:
            check_same_run(self._record, self.directory)

    def _claim_directory(self) -> None:
        """Nothing is written before this, so that a run that is refused leaves its name free.

        What is there already stays until the workers have taken up its newest checkpoint.
        """
        check_shares(self._splits, self.config.run.batch_size, self._scaling)
        self.directory.create()
        self._claimed = taken_up(self.directory, self.check_directory)
        self._job = dataclasses.replace(self._job, owner=self._claimed.owner)
        if self._claimed.size(CONFIG) is None:
            self._claimed.write(CONFIG, self._job.settings)

    def _fit_here(self, marks: Marks) -> None:
        if self._scaling.use_gpu:
            check_machine(Needs({"GPU": 1.0}))
        device = torch.device("cuda" if self._scaling.use_gpu else "cpu")
        with alone_in_process(), quiet(self._verbose), untouched(device):
            self._claim_directory()
            callbacks = CallbacksHere(self._run.callbacks or ())
            job = dataclasses.replace(self._job, board=LocalBoard(marks.show), callbacks=callbacks)
            with HERE.installed(signal.SIGTERM, signal.SIGINT):
                self.ray_result = callbacks.fit(self._torch_trainer(job, self._run))

    def _fit_on_ray(self, marks: Marks) -> None:
        with ExitStack() as stack:
            stack.enter_context(
                ray_session(
                    least_needs(self._scaling),
                    verbose=self._verbose,
                    node_seconds=self.config.run.node_seconds,
                    tell=lambda text: marks.show({"kind": "note", "text": text}),
                )
            )
            self._claim_directory()
            marks.ray_ready = time.time()
            board: Any = stack.enter_context(ended_with_its_run(board_here(str(self.config.run.run_name))))
            mentor = stack.enter_context(ended_with_its_run(self._mentor_actor()))
            splits = ray.put(self._splits) if self._stored is None else self._stored
            start = None if self._start is None else ray.put(self._start)
            there = {"splits": splits, "start": start, "mentor_actor": mentor, "board": RemoteBoard(board)}
            job = dataclasses.replace(self._job, **there)
            failures = Failures(board, self.directory, self.config.run.max_failures)
            run = as_told_to_ray(self._run, [failures, WorkersSaveFirst()])
            self._claimed.remove(BOOKS)  # of an earlier attempt: of no use to this one
            stack.enter_context(watched(board, marks.show))
            stack.enter_context(ctrl_c_is_ours())
            saves = stack.enter_context(workers_save_first(board))
            stack.enter_context(hangs_end_after(self.config.run.hang_seconds))
            stack.enter_context(trains_metrics_of(str(self.config.run.run_name)))
            try:
                self.ray_result = self._torch_trainer(job, run, lambda: saves.install(signal.SIGINT)).fit()
            except (ray.train.TrainingFailedError, ray.exceptions.RayActorError) as error:
                users = users_error(causes(error))
                said = users or as_ray_says(error)
                if users is None or isinstance(users, MentorLostError):
                    said.add_note(how_to_go_on(self.directory))
                raise said from error

    def _torch_trainer(self, job: Job, run: Any, then: Callable[[], None] = lambda: None) -> StoppableTrainer:
        given = {"train_loop_config": {"job": job}, "scaling_config": self._scaling, "run_config": run}
        return StoppableTrainer(worker_loop, then=then, **given)

    def _final_state(self) -> RunState:
        """What the workers left in the end; Ray's own result knows nothing of it."""
        notes: list[str] = []
        found = newest_good(self.directory, notes.append)
        if found is None:
            raise UserError(
                f"the workers left no checkpoint in {self.directory.path} that this process can see; give a "
                "--storage-path that all nodes share"
            )
        run = self.config.run
        if found.state.curriculum.step < Plan(self._job.order, run.batch_size, run.seed, run.epochs).total_steps:
            why = next(iter(notes), f"the newest checkpoint that this process sees is {found.path}")
            raise UserError(f"{why}; the end of the run is lost: go on with --resume")
        return found.state

    def _mentor_actor(self) -> ActorHandle[MentorActor] | None:
        """The run's mentor, if its method has one that learns; owned by this process, restarted wherever it dies."""
        if not self._method.learns:
            return None
        actor: Any = ray.remote(MentorActor).options(num_cpus=0, num_gpus=0, max_restarts=-1, max_task_retries=-1)
        classes, seed = len(self._splits.train.classes), self.config.run.seed
        handle: ActorHandle[MentorActor] = actor.remote(self._job.mentor, classes, seed, self._job.mentor_start)
        return handle
