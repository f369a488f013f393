"""What a mentor is before its first update."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.mentor.mentor_file import begun_as, check_is_shown_the_same, file_of
from ray_mentor.core.mentor.networks import MentorNet, load_published
from ray_mentor.core.mentor.networks.evidence import weight_of
from ray_mentor.core.mentor.offline.predefined import PD_PARAMS
from ray_mentor.core.mentor.rule import Rule
from ray_mentor.errors import UserError, shown

REFINED = "mentornet-refined"
"""The method whose mentor begins with PD params, and learns on."""

FROZEN = "mentornet-frozen"
"""The method whose mentor is another run's, and stays so."""


RULE = "rule"
"""The method that weighs by a file; its name is this, a colon and the file's path."""


def kind_of(method: str) -> str:
    """The line of the table that a method is of: itself, or :data:`RULE`."""
    return RULE if method.startswith(f"{RULE}:") else method


def rule_of(curriculum: CurriculumConfig) -> Rule:
    """The rule that a method names.

    Raises:
        UserError: none is named, or what :meth:`~.rule.Rule.read` says.
    """
    path = curriculum.method.partition(":")[2]
    if not path:
        raise UserError(
            f"method is {curriculum.method!r}, but it weighs by a file; give --method rule:FILE, one that ray-mentor "
            "distill wrote"
        )
    return Rule.read(path)


def pd_mentor(config: MentorConfig) -> MentorNet:
    """MentorNet PD: with the params that the settings name, or with those that were fitted here.

    Raises:
        UserError: what :func:`~.networks.load_published` says.
    """
    return load_published(config.mentor_params or PD_PARAMS)


def made_for(curriculum: CurriculumConfig, config: MentorConfig) -> MentorConfig:
    """The settings of the mentor that the method has, with a number for what goes by the curriculum's.

    A refined one is the published network, whatever they say.
    """
    config = dataclasses.replace(config, class_evidence=weight_of(config.class_evidence, curriculum.meta_from))
    if curriculum.method != REFINED:
        return config
    published = pd_mentor(config)
    widths = published.label_embedding.shape[1], published.percent_embedding.shape[1]
    features = MentorConfig.mentor_features
    return dataclasses.replace(
        config, mentor="mentornet", mentor_embedding=widths, mentor_features=features, history_length=0
    )


def first_mentor(
    curriculum: CurriculumConfig,
    config: MentorConfig,
    n_classes: int,
    seed: int,
    class_sizes: Sequence[int] | None,
    *,
    in_nats: bool,
) -> MentorLearner:
    """A fresh mentor, one that begins as another ended, or MentorNet PD.

    Args:
        config: as :func:`made_for` gives it.
        class_sizes: training samples of each class, by given label; read where the mentor looks at them.
        in_nats: whether it will be shown losses in nats.

    Raises:
        UserError: no sizes for a mentor that needs them, or what :func:`~.mentor_file.begun_as` says.
    """
    if curriculum.method == REFINED:
        return _refined(config, n_classes, seed)
    if config.mentor_from is None:
        learner = MentorLearner(config, n_classes, seed)
    else:
        learner = begun_as(config.mentor_from, config, n_classes, seed, in_nats=in_nats)
    if learner.network.sees_sizes:
        if class_sizes is None:
            raise UserError(
                f"class_sizes is None, but {_who(config)} looks at how large a sample's class is; give the number of "
                "training samples of each class"
            )
        learner.network.take_sizes(class_sizes)
    return learner


def _who(config: MentorConfig) -> str:
    return "mentor cmw" if config.mentor == "cmw" else "the feature class_share"


def _refined(config: MentorConfig, n_classes: int, seed: int) -> MentorLearner:
    """PD params; of the label embedding the row that they were fitted with, since the label is always 0."""
    learner, params = MentorLearner(config, n_classes, seed), pd_mentor(config).state_dict()
    rows = len(learner.network.state_dict()["label_embedding"])
    params["label_embedding"] = params["label_embedding"][:1].repeat(rows, 1)
    learner.begin_as(params)
    return learner


def starts_otherwise(curriculum: CurriculumConfig, config: MentorConfig) -> bool:
    """Whether a mentor made with these settings, and nothing else, is not yet what :func:`first_mentor` gives."""
    sees_sizes = config.mentor == "cmw" or (config.mentor == "mlp" and "class_share" in config.mentor_features)
    return curriculum.method == REFINED or config.mentor_from is not None or sees_sizes


def check_frozen(curriculum: CurriculumConfig, config: MentorConfig, n_classes: int | None, *, in_nats: bool) -> None:
    """Refuses a frozen mentor, or a rule, that would not know what it sees.

    Raises:
        UserError: losses in other units, or other classes; the message names both. No such file, or a damaged one.
    """
    if kind_of(curriculum.method) == RULE:
        _check_rule(curriculum, n_classes, in_nats=in_nats)
    if curriculum.method == FROZEN and config.mentor_from is not None:
        check_is_shown_the_same(config.mentor_from, config, n_classes, in_nats=in_nats)


def _check_rule(curriculum: CurriculumConfig, n_classes: int | None, *, in_nats: bool) -> None:
    rule, units = rule_of(curriculum), {True: "in nats", False: "in units of their own"}
    if rule.weigh_by != "quantile" and rule.in_nats != in_nats:
        raise UserError(
            f"method is {shown(curriculum.method)}, whose losses are {units[rule.in_nats]}, but those of this run are "
            f"{units[in_nats]}; they must be the same"
        )
    if len(rule.class_shift) not in (0, n_classes or len(rule.class_shift)):
        raise UserError(
            f"method is {shown(curriculum.method)}, a rule for {len(rule.class_shift)} classes, but there are "
            f"{n_classes}; they must be the same"
        )


def given_mentor(config: MentorConfig, curriculum: CurriculumConfig) -> str | None:
    """A digest of the files that settings name a mentor, or a rule, by; None where they name none."""
    rule = curriculum.method.partition(":")[2] if kind_of(curriculum.method) == RULE else ""
    files = [file_of(path) for path in (config.mentor_from, config.mentor_params, rule or None) if path is not None]
    made = hashlib.blake2b(digest_size=16)
    for file in files:
        made.update(file.read_bytes() if file.is_file() else b"")  # whoever needs it says that it is not there
    return made.hexdigest() if files else None
