"""One run from its settings: data, trainer, terminal."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from ray_mentor.config import CurriculumConfig, TrainConfig
from ray_mentor.config.meaning import with_loss_named
from ray_mentor.core.losses.cross_entropy import sequence_cross_entropy
from ray_mentor.core.methods.table import burn_in_of, method_of
from ray_mentor.data.samples.augment import Augment
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.samples.texts.plain import BYTES, window_bytes
from ray_mentor.data.splits.splits import Splits, prepare
from ray_mentor.data.storage.spread import Spread, in_threads
from ray_mentor.errors import UserError, listed, printable, shown
from ray_mentor.on_ray.session.session import ray_session
from ray_mentor.on_ray.train.given.mixed import check_target_is_said
from ray_mentor.on_ray.train.given.rays_configs import least_needs, scaling_of
from ray_mentor.on_ray.train.given.workers import TWO, workers_of
from ray_mentor.on_ray.train.stream import RayDataSpread
from ray_mentor.on_ray.train.trainer import CurriculumTrainer
from ray_mentor.report.run.written import REPORT
from ray_mentor.report.terminal import RunDisplay, closing_table, look_at_next
from ray_mentor.run.checkpoint.resume import resuming
from ray_mentor.run.directory import RunDirectory, absolute, fresh_name
from ray_mentor.run.outcome import Outcome
from ray_mentor.students import check_of_text, check_student, make_student, source_of
from ray_mentor.students.tried import check_can_be_trained
from ray_mentor.students.weights import pretrained
from ray_mentor.wording import as_said_here, counted


def train(
    config: TrainConfig, *, verbose: bool = False, began: float | None = None, console: Console | None = None
) -> Outcome:
    """Does what ``ray-mentor train`` does.

    Args:
        config: the whole run.
        verbose: let Ray's own log through.
        began: time.time() at which ``wall_seconds`` starts; None: at the training.
        console: where to print; None: standard output.

    Raises:
        UserError: whatever the user can mend; before Ray starts, where it can be known by then.
    """
    if not isinstance(config, TrainConfig):
        raise UserError(
            f"train takes settings, a TrainConfig, but is given a {type(config).__name__}; a path to data goes into "
            "them, TrainConfig().changed(data=...), and data in memory to CurriculumTrainer(student, data=...)"
        )
    method_of(config.curriculum.method)
    check_student(config.student.student)
    check_of_text(config.student.student, plain_text=config.data.is_plain_text)
    check_target_is_said(config)
    epochs = config.run.epochs
    display = RunDisplay(epochs, console, burn_in_of(config.curriculum, epochs))
    config = _streamed_by_workers(config)
    with _reading(config, verbose, display) as spread:
        splits = prepare(config.data, config.run.seed, spread, config.student.student)
        trainer = make_trainer(config, splits, verbose=verbose, began=began)
        for note in filter(None, (splits.understood, *splits.notes)):
            display.console.print(as_said_here(printable(note)), soft_wrap=True, markup=False)
        display.console.print(printable(headline(trainer.config, trainer.splits.train)), soft_wrap=True, markup=False)
        display.console.print(printable(f"run: {trainer.directory.path}"), soft_wrap=True, markup=False)
        if trainer.config.run.workers != 0:
            display.console.print("starting workers: 20 to 40 s on a small machine", soft_wrap=True, markup=False)
        with display:
            outcome = trainer.fit(display.show)
        display.console.print(closing_table(outcome.result))
        for note in outcome.result["notes"]:
            display.console.print(as_said_here(printable(note)), soft_wrap=True, markup=False)
        has_page = trainer.directory.size(REPORT) is not None
        next_files = look_at_next(outcome.result, outcome.path, has_page=has_page)
        display.console.print(printable(next_files), soft_wrap=True, markup=False)
    return outcome


def _streamed_by_workers(config: TrainConfig) -> TrainConfig:
    """What is to be streamed by Ray gets workers, which are asked for before the data say how large they are."""
    if config.data.data_backend != "ray" or config.run.workers != "auto":
        return config
    run, before = config.run, None
    if run.run_name is not None:
        directory = RunDirectory.within(absolute(run.storage_path), run.run_name)
        goes_on = resuming(directory, resume=run.resume, or_start=run.resume_or_start)
        before = workers_of(directory) if goes_on and directory.exists() else None
    return config.changed(workers=TWO if before is None else before)


@contextmanager
def _reading(config: TrainConfig, verbose: bool, display: RunDisplay) -> Iterator[Spread]:
    """Who reads data that stays where it is stored: the Ray that the run then goes on in, or threads."""
    if config.data.data_backend != "ray" or config.run.workers == 0:
        yield in_threads
        return
    needs, seconds = least_needs(scaling_of(config.run)), config.run.node_seconds
    tell = functools.partial(_note, display)
    with ray_session(needs, verbose=verbose, node_seconds=seconds, tell=tell):
        yield RayDataSpread.beside(0)


def _note(display: RunDisplay, text: str) -> None:
    display.show({"kind": "note", "text": text})


def make_trainer(
    config: TrainConfig,
    splits: Splits,
    *,
    source: bytes | None = None,
    augmented: Augment | None = None,
    verbose: bool = False,
    began: float | None = None,
) -> CurriculumTrainer:
    """The trainer that ``config`` describes; a student that cannot take the data is refused here.

    Args:
        source: of the student, where what it is made of need not lie on this machine.
        augmented: what the setting ``augment`` names, likewise.
    """
    check_target_is_said(config)
    config = with_loss_named(config)
    run, student = config.run, config.student
    name, shape, n_classes = student.student, splits.train.inputs.shape, len(splits.train.classes)
    is_text = window_bytes(splits.train) is not None
    if is_text:
        check_of_text(name, plain_text=True)
        _check_loss_of_text(config.curriculum)
        n_classes = BYTES
    source = source_of(name) if source is None else source
    build = functools.partial(make_student, name, shape, n_classes, source=source)
    dtype = splits.train.inputs.dtype
    whole_numbers = not (dtype.is_floating_point or dtype.is_complex)
    check_can_be_trained(
        name, source, shape, n_classes, _estimator(config), whole_numbers=whole_numbers, each_place=is_text
    )
    start = None if student.student_weights else pretrained(name, source, shape, n_classes)
    what = "-".join(config.data.sources) or Path(config.data.data.partition("?")[0]).name
    named = config.changed(run_name=run.run_name or fresh_name(config.curriculum.method, what))
    return CurriculumTrainer(
        build,
        splits.train,
        splits.meta,
        test=splits.test,
        validation=splits.validation,
        loss=sequence_cross_entropy if is_text else None,
        config=named,
        verbose=verbose,
        began=began,
        start=start,
        record=config.flat(),
        feature_names=splits.features,
        augmented=augmented,
    )


def _check_loss_of_text(config: CurriculumConfig) -> None:
    for name in ("loss", "reweight"):
        value = getattr(config, name)
        if value != getattr(CurriculumConfig(), name):
            raise UserError(
                f"{name} is {shown(value)}, but what a student loses on plain text is the cross-entropy of each byte; "
                "leave it out"
            )
    if method_of(config.method).students > 1:
        raise UserError(
            f"method is {shown(config.method)}, whose two students go by labels, but plain text has none; give another "
            "--method"
        )


def _estimator(config: TrainConfig) -> str | None:
    """That is asked for the influences of samples; None where nobody asks."""
    method = method_of(config.curriculum.method)
    if method.learns:
        return config.mentor.estimator
    mixes = config.data.sources or (config.data.group_column and config.mixture.mixture)
    if mixes and config.mixture.needs_target:
        return "jvp"
    return "jvp" if method.weighting(config.curriculum, config.mentor, None).needs_slopes else None


def headline(config: TrainConfig, train: Samples) -> str:
    """One line of what runs."""
    kind, rate = config.data.resolved_noise
    if kind == "instance" and train.true_labels is not None:
        rate = float((train.labels != train.true_labels).mean())  # of instance:R it is not R where R is small
    sources = () if train.domains is None else train.domains.names
    kind_of = "sources" if config.data.sources else f"groups of {config.data.data}"
    what = (
        f"{len(sources)} {kind_of}, {listed(sources)}, {config.mixture.policy} shares" if sources else config.data.data
    )
    noise = "no added noise" if kind == "none" else f"{rate:.0%} {kind} label noise"
    where = counted(config.run.n_workers, "worker") if config.run.workers else "this process"
    size, how_many = window_bytes(train), f"{len(train)} samples, {len(train.classes)} classes, {noise}"
    if size is not None:
        how_many = f"{len(train):,} windows of {size} bytes"
    return (
        f"{config.curriculum.method}: student {config.student.student} on {what} ({how_many}), "
        f"{counted(config.run.epochs, 'epoch')}, {where}, seed {config.run.seed}"
    )
