"""What sweeps and comparisons share: where they lie, and what makes the trainers of their runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from ray_mentor.config import DataConfig, TrainConfig
from ray_mentor.data.samples.augment import Augment
from ray_mentor.data.splits.splits import Splits, prepare
from ray_mentor.errors import UserError, shown
from ray_mentor.on_ray.session.session import check_lasts
from ray_mentor.on_ray.train.trainer import CurriculumTrainer
from ray_mentor.on_ray.tune.listed import Makers
from ray_mentor.on_ray.tune.trial import MakeTrainer
from ray_mentor.run.checkpoint.resume import check_same_run, resuming
from ray_mentor.run.directory import RunDirectory, absolute, check_free, check_name, fresh_name
from ray_mentor.students import source_of
from ray_mentor.training import make_trainer

OF_THE_WHOLE = ("run_name", "storage_path", "resume", "resume_or_start")
"""Run settings that say where the whole lies, not what its runs are."""

Drawn = tuple[DataConfig, int, str | None]
"""What splits are drawn by: what is asked for of the data, the seed, and of texts the student that reads them."""


def always(make: MakeTrainer) -> Makers:
    """What gives the same maker for all runs."""

    def maker(configs: Sequence[TrainConfig], *, test: bool) -> MakeTrainer:
        return make

    return maker


class Configured:
    """Gives what makes the trainers of configs. Their data are read here, and lie in Ray's object store once.

    Args:
        read: splits that were read before Ray started; they are not kept here beside the store.
        verbose: of the trainers.
    """

    def __init__(self, read: Mapping[Drawn, Splits], verbose: bool) -> None:
        self._read = dict(read)
        self._verbose = verbose
        self._stored: dict[tuple[Drawn, bool], Any] = {}

    def __call__(self, configs: Sequence[TrainConfig], *, test: bool) -> MakeTrainer:
        needed = list(dict.fromkeys(map(drawn_by, configs)))
        for drawn in needed:
            if (drawn, test) not in self._stored:
                splits = self._splits(drawn)
                self._stored[drawn, test] = ray.put(splits if test else dataclasses.replace(splits, test=None))
        students = dict.fromkeys(config.student.student for config in configs)
        sources = {name: source_of(name) for name in students}
        augments = {name: Augment.of(name) for name in dict.fromkeys(config.data.augment for config in configs)}
        stored = {drawn: self._stored[drawn, test] for drawn in needed}
        return ConfiguredTrainer(stored, sources, augments, self._verbose)

    def _splits(self, drawn: Drawn) -> Splits:
        return self._read.pop(drawn) if drawn in self._read else prepared(drawn)


def drawn_by(config: TrainConfig) -> Drawn:
    """What a run's splits are drawn by: nothing that belongs to its method."""
    student = None if config.data.text_column is None else config.student.student
    return dataclasses.replace(config.data, augment="none"), config.run.seed, student


def prepared(drawn: Drawn) -> Splits:
    """Those splits.

    Raises:
        UserError: whatever is wrong with the data.
    """
    config, seed, student = drawn
    if config.is_plain_text:
        raise UserError(
            "format is 'text', but sweeps and comparisons choose by accuracy, which plain text has none of; train a "
            "run for each choice with ray-mentor train, and compare their trusted_bits_per_byte in result.json"
        )
    return prepare(config, seed, student=student)


@dataclass(frozen=True)
class ConfiguredTrainer:
    """Makes the trainer that a config describes.

    Attributes:
        stored: by what the splits are drawn by, where they lie in Ray's object store.
        sources: of the students, by name, for machines that lack the files.
        augments: what ``augment`` names, likewise.
        verbose: of the trainers.
    """

    stored: Mapping[Drawn, Any]
    sources: Mapping[str, bytes | None] = field(default_factory=dict)
    augments: Mapping[str, Augment] = field(default_factory=dict)
    verbose: bool = False

    def __call__(self, config: TrainConfig, *, test: bool) -> CurriculumTrainer:
        place = self.stored[drawn_by(config)]
        source = self.sources.get(config.student.student)
        augmented = self.augments.get(config.data.augment)
        trainer = make_trainer(config, ray.get(place), source=source, augmented=augmented, verbose=self.verbose)
        trainer.stored_at(place)
        return trainer


def named(config: TrainConfig, kind: str, of: str) -> TrainConfig:
    """With a name for the whole, where it has none."""
    word = "".join(c if c.isalnum() else "-" for c in of)
    return config.changed(run_name=config.run.run_name or fresh_name(kind, word))


def directory_of(
    config: TrainConfig, record: Mapping[str, Any], kind: str, may_change: Collection[str] = ()
) -> RunDirectory:
    """Where the whole is written; what is there already is taken up only if it is to be, and under the same settings.

    Args:
        record: all settings.
        kind: what it is, in a word.
        may_change: settings that may be others than before.

    Raises:
        UserError: a place that it can't have, or what is there is not to be taken up, or is another one's.
    """
    run, storage = config.run, config.run.storage_path
    if "://" in storage and "?" in storage:
        raise UserError(
            f"storage_path is {shown(storage)}, but a {kind} makes folders below it, and takes no URI with a query; "
            "give one without, or a folder"
        )
    check_name(storage, str(run.run_name))
    directory = RunDirectory(f"{absolute(storage)}/{run.run_name}")
    check_lasts(directory.path)
    resume = resuming(directory, resume=run.resume, or_start=run.resume_or_start)
    check_free(directory, kind, resume=resume)
    if resume:
        check_same_run(record, directory, ("epochs", "workers"), may_change)
    return directory
