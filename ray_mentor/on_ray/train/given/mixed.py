"""Several sources in one run: whether they can be mixed as the settings say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from torch import nn

from ray_mentor.config import TrainConfig
from ray_mentor.config.groups.mixture import MixtureConfig
from ray_mentor.core.domains.course import Course
from ray_mentor.core.exchange import Alone
from ray_mentor.core.learned_rate.learner import check_room
from ray_mentor.core.losses.cross_entropy import sequence_cross_entropy
from ray_mentor.core.methods.table import method_of
from ray_mentor.data.plan.batches import Plan
from ray_mentor.data.plan.mixed import MixedPlan
from ray_mentor.data.readers.sources import STREAMED
from ray_mentor.data.samples.dataset_inputs import DatasetInputs
from ray_mentor.data.samples.inputs import AbstractInputs
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.samples.sources.apart import check_apart
from ray_mentor.data.splits.splits import Splits
from ray_mentor.data.storage.stored import order_of
from ray_mentor.errors import UserError, listed, shown
from ray_mentor.on_ray.train.given.own import first_params
from ray_mentor.on_ray.train.given.samples import is_at_hand
from ray_mentor.run.trained.files import MODEL
from ray_mentor.students.weights import Start
from ray_mentor.wording import foreign


def over_groups(config: TrainConfig, splits: Splits) -> Splits:
    """The data with their groups as sources, where they are one data set and a mixture is asked for; and as targets,
    each of one weight, where the target shall be balanced over them.

    Raises:
        UserError: nothing to be mixed, samples that are streamed, or a target that is part of the training samples, or
            has nothing of a group.
    """
    train, mixture = splits.train, config.mixture
    if train.domains is None and train.groups is not None and mixture.mixture is not None:
        groups = train.groups.there
        if len(groups.names) < 2:
            raise UserError(
                f"mixture is {shown(mixture.policy)}, but all training samples are of the group "
                f"{groups.names[0]!r}; leave it out, or name another --group-column"
            )
        if config.data.data_backend == "ray":
            raise UserError(STREAMED)
        train = dataclasses.replace(train, domains=groups)
        if mixture.needs_target and all(map(is_at_hand, (train.inputs, splits.meta.inputs))):
            check_apart(train, splits.meta, "the target meta")
    splits = dataclasses.replace(splits, train=train)
    is_balanced = config.data.meta_balance == "groups" and mixture.needs_target
    if train.domains is None or not is_balanced or len(splits.meta) == 0:
        return splits
    return dataclasses.replace(splits, meta=_balanced(splits))


def mixed(config: TrainConfig, splits: Splits) -> TrainConfig:
    """The settings of a run of these data: where sources are mixed, the student is not trained on their target.

    Raises:
        UserError: naming the setting, the rule and the fix.
    """
    mixture, domains = config.mixture, splits.train.domains
    if config.learned.learn:
        check_room(config.learned, _plan(config, splits).total_steps)
    if domains is None:
        _check_nothing_is_mixed(mixture)
        return config
    for name, size in zip(domains.names, domains.sizes, strict=True):
        if size == 0:
            raise UserError(f"source {name!r} has no samples to train on; give some, or leave it out")
    if isinstance(splits.train.inputs, DatasetInputs) and splits.train.inputs.readers:
        raise UserError(
            f"data_workers is {splits.train.inputs.readers}, but how much of each source comes next is decided while "
            "training goes on, so that nobody can read far ahead; leave it out"
        )
    if mixture.needs_target and len(splits.meta) == 0:
        _no_target(mixture)
    if mixture.looks_back and method_of(config.curriculum.method).students > 1:
        raise UserError(
            f"mixture is {shown(mixture.policy)}, which looks back on the steps of one student, but "
            f"{config.curriculum.method} trains two; give --mixture uniform, or another --method"
        )
    if config.learned.learn:
        raise UserError(
            f"learn is {shown(list(config.learned.learn))}, but the data are several sources, whose windows can't be "
            "taken back with a step; give a learning rate that fits, without --learn"
        )
    _try_windows(config, splits)
    share = config.curriculum.meta_in_training
    if share:
        raise UserError(
            f"meta_in_training is {share:g}, but the trusted samples are what shares are measured by, and of what the "
            "student knows by heart nothing is learnt; leave it out"
        )
    return config.changed(meta_in_training=0.0)


def _balanced(splits: Splits) -> Samples:
    """The trusted samples, those of each group a target.

    Raises:
        UserError: they are several targets already, or there is none of a group.
    """
    groups, meta = splits.train.groups, splits.meta.groups
    if splits.meta.domains is not None:
        raise UserError(
            "meta_balance is 'groups', but the trusted samples are several targets by name; give one of them"
        )
    if groups is None or meta is None:
        whose = "training" if groups is None else "trusted"
        raise UserError(
            f"meta_balance is 'groups', but nobody says of which group the {whose} samples are; add the column of "
            "groups, or leave it out"
        )
    sizes = zip(groups.names, groups.sizes, meta.sizes, strict=True)
    missing = [name for name, size, trusted in sizes if size and not trusted]
    if missing:
        raise UserError(
            f"meta_balance is 'groups', but no trusted sample is of {listed(missing)}, and shares are learnt for the "
            "mean over groups; add some, or leave it out"
        )
    there = meta.there
    weights = (1 / len(there.names),) * len(there.names)
    return dataclasses.replace(splits.meta, domains=dataclasses.replace(there, weights=weights))


def _check_nothing_is_mixed(mixture: MixtureConfig) -> None:
    defaults = MixtureConfig()
    for field in dataclasses.fields(mixture):
        value = getattr(mixture, field.name)
        if value != getattr(defaults, field.name):
            raise UserError(
                f"{field.name} is {shown(value)}, but the data are one source, of which nothing is mixed; name "
                "several: data={'wiki': ..., 'code': ...}, on the command line "
                + foreign("--data wiki=PATH --data code=PATH")
                + "; or mix the groups of one: group_column and mixture"
            )


def reference_of(config: TrainConfig, build: Callable[[], nn.Module], inputs: AbstractInputs) -> Start | None:
    """The model that doremi measures losses by; None for any other mixture.

    Args:
        build: builds a fresh student.
        inputs: that it is fed.

    Raises:
        UserError: none where there must be one, or one where nobody asks; params of another model.
    """
    mixture = config.mixture
    if (mixture.reference is None) == (mixture.policy == "doremi"):
        raise UserError(
            f"mixture is {shown(mixture.policy)} and reference {shown(mixture.reference)}, but doremi, and it alone, "
            "goes by a model that was trained on the prior's shares; give the folder of such a run with --reference, "
            "or leave it out"
        )
    if mixture.reference is None:
        return None
    folder = Path(mixture.reference)
    file = folder / MODEL if folder.is_dir() else folder
    try:
        found = first_params(str(file), build, inputs)
    except UserError as error:
        raise UserError(error.written.replace("student_weights", "reference")) from error
    assert found is not None
    if found.fresh:
        raise UserError(
            f"reference is {shown(mixture.reference)}, whose last layer is of other classes than the data's; give a "
            "student that was trained on them"
        )
    return found


def check_target_is_said(config: TrainConfig) -> None:
    """Refuses shares that are learnt for a part of the sources, drawn out of them all.

    Raises:
        UserError: naming the setting, and the fix.
    """
    if config.data.sources and config.mixture.needs_target and config.data.meta_source == "meta_size":
        _no_target(config.mixture)


def _no_target(mixture: MixtureConfig) -> NoReturn:
    raise UserError(
        f"mixture is {shown(mixture.policy)}, but nothing says what training is for; give a target that no source "
        "holds a part of: --meta-data PATH, or meta=... of a trainer"
    )


def _plan(config: TrainConfig, splits: Splits) -> Plan:
    return Plan(order_of(splits.train), config.run.batch_size, config.run.seed, config.run.epochs)


def _try_windows(config: TrainConfig, splits: Splits) -> None:
    """Begins as each worker will."""
    domains, run = splits.train.domains, config.run
    assert domains is not None
    base = _plan(config, splits)
    plan = MixedPlan(base.order, base.batch_size, base.seed, base.epochs, lambda step: domains.of)
    course = Course(
        domains.names,
        domains.sizes,
        config.mixture,
        Alone(),
        total_steps=plan.total_steps,
        seed=run.seed,
        loss=sequence_cross_entropy,
        target=lambda number: [],
        reference=nn.Identity() if config.mixture.policy == "doremi" else None,
        fetch=lambda drawn: (None, None),  # type: ignore[arg-type, return-value]  # nothing is looked back on
    )
    course.begin(plan.step_size)
