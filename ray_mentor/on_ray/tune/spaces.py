"""A search space: found by its name, checked before anything starts, and its samples as settings."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ray.tune.search.sample import Categorical, Domain
from ray.tune.search.variant_generator import generate_variants

from ray_mentor.config import CurriculumConfig, DataConfig, MentorConfig, RunSettings, StudentConfig, TrainConfig
from ray_mentor.config.meaning import reason_against, settled, with_loss_named
from ray_mentor.config.values import typed
from ray_mentor.errors import UserError, listed, one_of, said_by_others, shown
from ray_mentor.on_ray.tune.objective import OBJECTIVES
from ray_mentor.on_ray.tune.space_source import read_space, shipped_spaces

__all__ = [
    "FoundSpace",
    "check_space",
    "config_of",
    "find_space",
    "meaningful",
    "mutable",
    "settings_of",
    "shipped_spaces",
    "space_of",
]

SPELLINGS = {"mentor_width": 100, "mentor_depth": 1}
"""What a space may name though it is no setting: mentor_hidden is mentor_depth layers of mentor_width. Where a space
names only one, the other is this. Besides, a setting of several items may be a text with ``+`` between them."""

MUTABLE = (
    "mentor_learning_rate",
    "mentor_weight_decay",
    "update_interval",
    "meta_batch_size",
    "influence_samples",
    "estimator",
    "meta_loss",
    "entropy",
    "anchor",
    "min_effective_share",
    "min_class_share",
    "loss_percentile",
    "percentile_decay",
)
"""Settings that may change in the middle of a run: read anew at each step or update, they shape no tensor that a
checkpoint holds, move no sample into or out of what the mentor may see, and place nothing on the course of the run."""

_TYPES = {
    field.name: str(field.type)
    for group in (DataConfig, StudentConfig, MentorConfig, CurriculumConfig, RunSettings)
    for field in dataclasses.fields(group)
}
_REFUSED = {
    **{field.name: "it says how a run is carried out" for field in dataclasses.fields(RunSettings)},
    **{field.name: "all trials must see the same data" for field in dataclasses.fields(DataConfig)},
    "seed": "all trials must see the same data, which it draws",
    "epochs": "trials are compared after as many epochs",
}
_SEARCHED = sorted({*_TYPES, *SPELLINGS} - {*_REFUSED} | {"batch_size"})
_EXAMPLE = "e.g. {'update_interval': tune.choice([1, 10])}"


@dataclass(frozen=True)
class FoundSpace:
    """A search space that names only what may be searched.

    Attributes:
        name: as it was asked for.
        domains: a setting's name → its Tune domain, or the one value it has.
        objective: what a search of it makes large, one of :data:`OBJECTIVES`.
        trials: of a search of it, unless it is told otherwise.
    """

    name: str
    domains: dict[str, Any]
    objective: str
    trials: int


def find_space(name: str) -> FoundSpace:
    """The space that ``name`` means: a shipped one's name, MODULE:FUNCTION, FILE.py or FILE.py:FUNCTION.

    Raises:
        UserError: a space that is not there, fails, is no table of domains, or names what may not be searched.
    """
    given = read_space(name)
    return space_of(name, given.table, given.objective, given.trials)


def space_of(name: str, table: Any, objective: Any = None, trials: Any = None) -> FoundSpace:
    """The space that is ``table``; called ``name`` in messages.

    Raises:
        UserError: what is no table of domains, or names what may not be searched.
    """
    _check_table(name, table)
    for setting, value in table.items():
        _check_setting(name, setting)
        _check_value(name, setting, value)
    _check_spellings(name, table)
    named = OBJECTIVES[0] if objective is None else one_of(objective, OBJECTIVES, "OBJECTIVE of a space")
    return FoundSpace(name, dict(table), named, _TRIALS if trials is None else _count(name, trials))


_TRIALS = 16


def _count(name: str, trials: Any) -> int:
    if not isinstance(trials, int) or isinstance(trials, bool) or trials < 1:
        raise UserError(f"TRIALS of space {shown(name)} is {shown(trials)}, but it must be a number from 1 on; mend it")
    return trials


def settings_of(sample: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a sample of a space means: spelled out, in Python's types, without those that mean nothing.

    A gradient rule that the sample does not name is taken to be none.

    Raises:
        UserError: a value of the wrong type.
    """
    spelled_out = _spelled_out(sample)
    known = settled({"gradient_rule": CurriculumConfig.gradient_rule, **spelled_out})
    return {name: value for name, value in known.items() if name in spelled_out}


def config_of(base: TrainConfig, sample: Mapping[str, Any]) -> TrainConfig:
    """The run ``base`` with the settings of ``sample`` in the place of its own.

    Raises:
        UserError: settings that are none, or can't go together.
    """
    return with_loss_named(TrainConfig.from_flat(settled({**base.flat(), **_spelled_out(sample)})))


def meaningful(base: TrainConfig, sample: Mapping[str, Any]) -> dict[str, Any]:
    """The sample as it was drawn, with None for what means nothing beside the rest of the run."""
    table = {**base.flat(), **_spelled_out(sample)}
    return {
        name: None if reason_against("mentor_hidden" if name in SPELLINGS else name, table) else _pythonic(value)
        for name, value in sample.items()
    }


def check_space(found: FoundSpace, base: TrainConfig, samples: int = 50) -> None:
    """Draws samples, always the same ones, and makes each one's run with its parts, as far as they need no data.

    Raises:
        UserError: a sample that no run can be made of; the message shows it.
    """
    for sample in _draws(found, samples):
        try:
            _check_parts(config_of(base, sample), found.domains)
        except UserError as error:
            raise UserError(
                f"space {shown(found.name)} holds samples that can't be trained: {error.written}; such a "
                f"sample: {_row(sample)}"
            ) from error


def mutable(domains: Mapping[str, Any]) -> tuple[str, ...]:
    """The settings of a space that vary and may change in the middle of a run, for population based training."""
    return tuple(name for name, domain in domains.items() if isinstance(domain, Domain) and _is_mutable(name, domain))


def _is_mutable(name: str, domain: Domain) -> bool:
    if name == "estimator":  # unrolled keeps steps for updates to come
        return isinstance(domain, Categorical) and "unrolled" not in domain.categories
    return name in MUTABLE


# A space


def _check_table(name: str, table: Any) -> None:
    if not isinstance(table, dict):
        raise UserError(
            f"space {shown(name)} is {shown(table)}, but it must be a dict of settings' domains; {_EXAMPLE}"
        )
    if not table:
        raise UserError(f"space {shown(name)} is empty, but it must name a setting to search; {_EXAMPLE}")
    if not any(isinstance(value, Domain) for value in table.values()):
        raise UserError(f"space {shown(name)} has one value for each setting, but one of them must vary; {_EXAMPLE}")


def _check_setting(name: str, setting: Any) -> None:
    if setting in _SEARCHED:
        return
    if setting in _REFUSED:
        raise UserError(
            f"space {shown(name)} names {setting}, but {_REFUSED[setting]}; set it for the whole sweep: "
            f"--{setting.replace('_', '-')}"
        )
    near = difflib.get_close_matches(str(setting), _SEARCHED, n=3) or _SEARCHED
    raise UserError(f"space {shown(name)} names {shown(setting)}, which is no setting; nearest valid: {listed(near)}")


def _check_value(name: str, setting: str, value: Any) -> None:
    if not isinstance(value, Domain) and not _is_plain(value):
        raise UserError(
            f"{setting} of space {shown(name)} is {shown(value)}, but it must be a Tune domain or a plain value; "
            "e.g. tune.choice([...]), in the place of tune.grid_search, too"
        )


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str | np.generic)


def _check_spellings(name: str, table: Mapping[str, Any]) -> None:
    twice = next((spelling for spelling in SPELLINGS if spelling in table), None)
    if twice and "mentor_hidden" in table:
        raise UserError(f"space {shown(name)} names mentor_hidden and {twice}, which say the same; keep one")


# A sample


def _spelled_out(sample: Mapping[str, Any]) -> dict[str, Any]:
    table = {name: _settable(name, value) for name, value in sample.items() if name not in SPELLINGS}
    if any(name in sample for name in SPELLINGS):
        width, depth = (_whole(name, sample.get(name, default)) for name, default in SPELLINGS.items())
        table["mentor_hidden"] = (width,) * depth
    return table


def _settable(name: str, value: Any) -> Any:
    value = _pythonic(value)
    if name not in _TYPES:  # whoever makes a run of the table names the nearest
        return value
    if _TYPES[name].startswith("tuple[") and isinstance(value, str):
        value = _items(name, value)
    return typed(name, _TYPES[name], value)


def _items(name: str, text: str) -> list[Any]:
    parts = text.split("+") if text else []
    if not _TYPES[name].startswith("tuple[int"):
        return list(parts)
    try:
        return [int(part) for part in parts]
    except ValueError:
        raise UserError(
            f"{name} is {shown(text)}, but it must be whole numbers with + between them, e.g. 2+5"
        ) from None


def _whole(name: str, value: Any) -> int:
    value = typed(name, "int", _pythonic(value))
    if not 0 <= value <= _LARGEST:
        raise UserError(f"{name} is {value}, but it must lie between 0 and {_LARGEST}; a mentor is small")
    return int(value)


_LARGEST = 10_000


def _pythonic(value: Any) -> Any:
    """Twelve digits of a float: quantised domains give 0.15000000000000002, and a person reads these."""
    value = value.item() if isinstance(value, np.generic) else value
    return float(f"{value:.12g}") if isinstance(value, float) else value


# Many samples


def _draws(found: FoundSpace, samples: int) -> Iterator[dict[str, Any]]:
    """As Tune's random search draws them."""
    random = np.random.default_rng(0)
    for _ in range(samples):
        try:
            ((_, sample),) = generate_variants(found.domains, random_state=random)
        except Exception as error:  # whatever a domain without values or a user's sample_from trips over
            raise UserError(
                f"space {shown(found.name)} can't be drawn from: {said_by_others(error)}; mend its domains"
            ) from error
        yield sample


_PARTS_OF_METHOD = ("method", "mentor_params")
_PARTS_OF_STUDENT = ("student",)
_PARTS_OF_MENTOR = ("mentor", "mentor_features", "mentor_hidden", "mentor_width", "mentor_depth", "mentor_embedding")


def _check_parts(config: TrainConfig, varied: Collection[str]) -> None:
    """Names and combinations that only the parts themselves know; PyTorch is loaded for those that vary."""
    if any(name in varied for name in _PARTS_OF_METHOD):
        from ray_mentor.core.methods.table import method_of  # noqa: PLC0415

        method = method_of(config.curriculum.method)
        if not method.learns:
            method.weighting(config.curriculum, config.mentor, None)
    if any(name in varied for name in _PARTS_OF_STUDENT):
        from ray_mentor.students import check_student  # noqa: PLC0415

        check_student(config.student.student)
    if any(name in varied for name in _PARTS_OF_MENTOR):
        from ray_mentor.core.mentor.learner import MentorLearner  # noqa: PLC0415

        MentorLearner(config.mentor, n_classes=2, seed=0)


def _row(sample: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={shown(_pythonic(value))}" for name, value in sample.items())
