"""Which runs a comparison is made of: methods × seeds × levels, and that each of them can be run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray_mentor.config import CurriculumConfig, TrainConfig
from ray_mentor.config.compare import CompareSettings, noise_text
from ray_mentor.config.compared import BASELINE, METHODS, ORACLE, OWN_BY_METHOD, Compared, check_known, own_method
from ray_mentor.config.file import read_config
from ray_mentor.data.splits.meta_parts import meta_parts
from ray_mentor.data.splits.splits import Splits
from ray_mentor.errors import NoTrustedSamplesError, UserError, shown
from ray_mentor.on_ray.train.trainer import CurriculumTrainer
from ray_mentor.on_ray.tune.resumed import digest
from ray_mentor.run.checkpoint.resume import Identity


@dataclass(frozen=True)
class Cell:
    """A run of a comparison.

    Attributes:
        noise: the level's, as the setting has it.
        meta_size: the level's.
        method: by name.
        config: all of its settings.
    """

    noise: str
    meta_size: int
    method: str
    config: TrainConfig

    @property
    def seed(self) -> int:
        """The run's."""
        return self.config.run.seed


def check_shared(config: TrainConfig, settings: CompareSettings) -> None:
    """Refuses settings of all runs that belong to a method, or that a level would replace.

    Raises:
        UserError: naming the setting, the rule and the fix.
    """
    for name in OWN_BY_METHOD:
        value, default = getattr(config.curriculum, name), getattr(CurriculumConfig(), name)
        if value != default:
            raise UserError(
                f"{name} is {shown(value)}, but in a comparison each method says this itself; leave --{name} out, and "
                "compare a method of your own that has it: --methods NAME=FILE.toml"
            )
    if config.curriculum.meta_in_training == 0:
        raise UserError(
            "meta_in_training is 0, but in a comparison all methods have the same trusted samples in training; leave "
            "it out: the method `uniform` is plain training without them"
        )
    source = config.data.meta_source
    if settings.meta_sizes and source != "meta_size":
        raise UserError(
            f"meta_sizes is {shown(settings.meta_sizes)}, but {source} is {shown(getattr(config.data, source))}, a "
            "trusted set of its own of which none is drawn; leave one of them out"
        )


def asked_methods(settings: CompareSettings, own: Mapping[str, Mapping[str, Any]]) -> dict[str, Compared]:
    """The methods in the order of the table, your own before the mentor's: those named, of the preset, and your own.

    Raises:
        UserError: one of your own with a name that is taken, or settings that it can't have.
    """
    files = [name.partition("=") for name in settings.names if "=" in name]
    mine = {name.strip(): own_method(name.strip(), read_config(file)) for name, _, file in files}
    for name, table in own.items():
        if name in mine:
            raise UserError(f"there are two methods {shown(name)} of your own; give one of them another name")
        mine[name] = own_method(name, table)
    plain = [name for name in settings.names if "=" not in name]
    check_known(plain)
    names = {*plain, *settings.from_preset, BASELINE, ORACLE}
    return {**mine, **{name: method for name, method in METHODS.items() if name in names}}


def levels_of(config: TrainConfig, settings: CompareSettings) -> list[TrainConfig]:
    """The settings of all runs at each level, at the first seed."""
    noises = settings.noise_levels or (config.data.noise,)
    sizes = settings.sizes or (config.data.meta_size,)
    return [config.changed(noise=noise, meta_size=size) for noise, size in itertools.product(noises, sizes)]


Probe = Callable[[TrainConfig], CurriculumTrainer]
"""Makes the trainer of a run's settings, which is not to be fit."""


@dataclass(frozen=True)
class Plan:
    """All runs of a comparison.

    Attributes:
        cells: a seed of all methods before the next.
        unable: what can't be run for want of trusted samples, at the first seed, and why.
        notes: on methods that are left out.
        params: how many numbers each method trains.
        identities: of the runs at the first seed, by their digests.
    """

    cells: list[Cell]
    unable: list[tuple[Cell, str]]
    notes: list[str]
    params: Mapping[str, int]
    identities: Mapping[str, Identity]


def plan_of(
    levels: Sequence[TrainConfig],
    methods: Mapping[str, Compared],
    settings: CompareSettings,
    probe: Probe,
    noise: Callable[[TrainConfig], str],
) -> Plan:
    """Each method is tried at each level, as far as that takes no training.

    Args:
        levels: at the first seed.
        noise: what a level's is called.

    Raises:
        UserError: a method that was asked for by name and can't be run; nothing to measure accuracy by.
    """
    cells: list[Cell] = []
    unable: list[tuple[Cell, str]] = []
    notes: list[str] = []
    params: dict[str, int] = {}
    identities: dict[str, Identity] = {}
    for level in levels:
        splits = _tried(BASELINE, methods[BASELINE], level, probe).splits
        _check_measurable(level, splits)
        able = []
        for name, method in methods.items():
            by_name = name in settings.names or name not in METHODS
            try:
                trainer = _able(name, method, level, splits, probe, notes, by_name=by_name)
            except NoTrustedSamplesError as error:
                unable.append((Cell(noise(level), 0, name, method.config(level)), str(error)))
                continue
            if trainer is not None:
                params[name] = trainer.n_params()
                identities[digest(method.config(level))] = trainer.identity
                able.append(name)
        for seed, name in itertools.product(range(level.run.seed, level.run.seed + settings.seeds), able):
            cells.append(Cell(noise(level), len(splits.meta), name, methods[name].config(level, seed=seed)))
    return Plan(cells, unable, list(dict.fromkeys(notes)), params, identities)


def noise_of(level: TrainConfig) -> str:
    """What is added, in plain words."""
    return noise_text(*level.data.resolved_noise)


def _able(
    name: str,
    method: Compared,
    level: TrainConfig,
    splits: Splits,
    probe: Probe,
    notes: list[str],
    *,
    by_name: bool,
) -> CurriculumTrainer | None:
    """Its trainer; None, and a note, where it can't be run and may be left out.

    Raises:
        NoTrustedSamplesError: it needs some, and at this level there are none.
        UserError: it was asked for by name, and can't be run.
    """
    if name == ORACLE and splits.train.true_labels is None:
        notes.append("oracle is left out: it needs the true labels, which are not known; so there is no gap to close")
        return None
    try:
        return _tried(name, method, level, probe)
    except UserError as error:
        if isinstance(error.__cause__, NoTrustedSamplesError):
            raise error.__cause__ from error
        if by_name:
            raise
        notes.append(f"{name} is left out: {error.__cause__}")
        return None


def _tried(name: str, method: Compared, level: TrainConfig, probe: Probe) -> CurriculumTrainer:
    try:
        return probe(method.config(level).changed(run_name=None, resume=False, resume_or_start=False))
    except UserError as error:
        raise UserError(f"method {shown(name)}: {error.written}") from error


def _check_measurable(level: TrainConfig, splits: Splits) -> None:
    parts = meta_parts(splits.meta, holdout=level.mentor.meta_holdout, training=0.0, seed=level.run.seed)
    if parts.held_out is None and (splits.test is None or splits.test.true_labels is None):
        raise UserError(
            f"meta_holdout is {level.mentor.meta_holdout:g}, of {len(splits.meta)} trusted samples, which leaves none "
            "to measure accuracy by, and the truth of the test split is not known; give a share above 0, e.g. "
            "--meta-holdout 0.3, and more than one sample of each class, or --clean-test if it was re-checked"
        )
