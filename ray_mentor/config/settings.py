"""A whole run: the groups of its settings (:mod:`~ray_mentor.config.groups`) as one.

A setting has one name everywhere: ``update_interval`` in Python and in a config file is
``--update-interval`` on the command line. Names are unique across the groups, so a run is also
one flat table (:meth:`TrainConfig.flat`, :meth:`TrainConfig.from_flat`).
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ray_mentor.config.groups.curriculum import CurriculumConfig
from ray_mentor.config.groups.data import DataConfig
from ray_mentor.config.groups.learned import LearnConfig
from ray_mentor.config.groups.mentor import MentorConfig
from ray_mentor.config.groups.mixture import MixtureConfig
from ray_mentor.config.groups.run import RunSettings
from ray_mentor.config.groups.student import SUITED, StudentConfig
from ray_mentor.config.values import check_possible, typed
from ray_mentor.errors import UserError, shown
from ray_mentor.wording import MEANT


@dataclass(frozen=True)
class TrainConfig:
    """A whole run."""

    data: DataConfig = field(default_factory=DataConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    mentor: MentorConfig = field(default_factory=MentorConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    run: RunSettings = field(default_factory=RunSettings)
    mixture: MixtureConfig = field(default_factory=MixtureConfig)
    learned: LearnConfig = field(default_factory=LearnConfig)

    def __post_init__(self) -> None:
        for name, value in self.flat().items():
            for each in value if isinstance(value, tuple) else (value,):
                check_possible(name, each)

    def flat(self) -> dict[str, Any]:
        """Every setting under its one name; the inverse of :meth:`from_flat`."""
        return {
            inner.name: getattr(getattr(self, outer.name), inner.name)
            for outer in dataclasses.fields(self)
            for inner in dataclasses.fields(getattr(self, outer.name))
        }

    def changed(self, **changes: Any) -> TrainConfig:
        """The same run with other settings: ``config.changed(epochs=10, mentor=MentorConfig(update_interval=5))``.

        Args:
            changes: a whole group under its name (``mentor=MentorConfig(...)``), or a setting under its one name; a
                setting counts beside a group that holds it.

        Raises:
            UserError: an unknown name (with the nearest valid ones), or a value of the wrong type.
        """
        groups = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        whole = {
            name: value for name, value in changes.items() if name in groups and isinstance(value, type(groups[name]))
        }
        groups.update(whole)
        settings = suited({name: value for name, value in changes.items() if name not in whole})
        check_names(settings, names_of(*GROUPS))
        return TrainConfig(
            **{name: dataclasses.replace(group, **values_of(type(group), settings)) for name, group in groups.items()}
        )

    @classmethod
    def from_flat(cls, table: Mapping[str, Any]) -> TrainConfig:
        """Builds a run from one flat table; what it lacks is what suits the student that it names, or else its default.

        Raises:
            UserError: an unknown name (with the nearest valid ones), or a value of the wrong type.
        """
        check_names(table, names_of(*GROUPS))
        return cls(*(group(**values_of(group, suited(table))) for group in GROUPS))


def suited(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table, with what suits the student that it names where it says nothing of that."""
    name = table.get("student")
    return {**(SUITED.get(name, {}) if isinstance(name, str) else {}), **table}


GROUPS: tuple[type, ...] = (
    DataConfig, StudentConfig, MentorConfig, CurriculumConfig, RunSettings, MixtureConfig, LearnConfig,
)  # fmt: skip
"""Of settings, in the order of :class:`TrainConfig`."""


def names_of(*groups: type) -> list[str]:
    """The settings in these groups."""
    return [setting.name for group in groups for setting in dataclasses.fields(group)]


def check_names(table: Iterable[str], known: Iterable[str]) -> None:
    """Raises a UserError that lists the nearest valid names if one of the table's is not known."""
    names = list(known)
    for name in table:
        if name not in names:
            meant = [MEANT[name]] if name in MEANT else []
            near = meant or difflib.get_close_matches(name, names, n=3) or sorted(names)
            raise UserError(f"unknown setting {shown(name)}; nearest valid: {', '.join(near)}")


def values_of(group: type, table: Mapping[str, Any]) -> dict[str, Any]:
    """What the table says of a group's settings, each of its type."""
    names = [f for f in dataclasses.fields(group) if f.name in table]
    return {f.name: typed(f.name, str(f.type), table[f.name]) for f in names}
