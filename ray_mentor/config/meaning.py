"""Which settings mean something beside the others: one that another makes meaningless keeps its default.

Two tables that train the same student then read alike, so that a search takes them for one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ray_mentor.config import MentorConfig, TrainConfig

Condition = Callable[[Any], bool]


@dataclass(frozen=True)
class Rule:
    """Settings decide nothing of a student where each setting in ``where`` is as its condition says.

    Attributes:
        settings: that mean nothing there.
        where: a setting's name → what it has to be. Of one that a table lacks nothing is known, and no rule holds.
        because: the reason, after "means nothing, because".
    """

    settings: tuple[str, ...]
    where: Mapping[str, Condition]
    because: str


def _is(*values: Any) -> Condition:
    return lambda value: value in values


def _is_not(*values: Any) -> Condition:
    return lambda value: value not in values


def _lacks(item: str) -> Condition:
    return lambda items: item not in items


NETWORK = (
    "mentor",
    "mentor_hidden",
    "mentor_embedding",
    "mentor_features",
    "history_length",
)
"""Settings of what a mentor is and sees."""

LEARNED = (
    *NETWORK,
    "mentor_learning_rate",
    "mentor_weight_decay",
    "initial_sample_weight",
    "update_interval",
    "influence_samples",
    "estimator",
    "unroll_steps",
    "entropy",
    "class_evidence",
    "anchor",
    "min_effective_share",
    "min_class_share",
    "mentor_patience",
    "scoring",
)
"""Settings of a mentor that learns: what it is, what it sees, how it learns and who watches over it."""

LEARNING_METHODS = ("mentornet", "mentornet-refined")

UNEVEN_LOSS = "logit-adjusted:1:1"
"""What a student is trained on under a mentor that learns, where classes were made rare: the mentor says what to trust,
the loss what each class counts for."""


def with_loss_named(config: TrainConfig) -> TrainConfig:
    """The settings with the name of the loss that follows from an imbalance, :data:`UNEVEN_LOSS` for a mentor that
    learns, where none is given; a factor on classes that is asked for stands alone.
    """
    schedule = config.curriculum
    is_even = config.data.imbalance == "none" or schedule.method not in LEARNING_METHODS
    if is_even or schedule.loss is not None or schedule.reweight != "none":
        return config
    return config.changed(loss=UNEVEN_LOSS)


_UNMIXED = "nothing is mixed"

RULES = (
    Rule(NETWORK, {"method": _is_not(*LEARNING_METHODS, "mentornet-dd")}, "the method has no mentor to be made"),
    Rule(
        tuple(name for name in LEARNED if name not in NETWORK),
        {"method": _is_not(*LEARNING_METHODS)},
        "the method has no mentor that learns",
    ),
    Rule(("taught_at",), {"method": _is_not("mentornet-dd")}, "only the mentor of mentornet-dd is taught"),
    Rule(
        ("meta_batch_size",),
        {"method": _is_not(*LEARNING_METHODS, "l2rw"), "gradient_rule": _is("none")},
        "nobody takes a meta batch",
    ),
    Rule(
        ("meta_loss", "meta_from"),
        {"method": _is_not(*LEARNING_METHODS, "l2rw"), "mixing": _is_not("mentormix"), "gradient_rule": _is("none")},
        "nobody learns from a meta set, and nothing is mixed by what it shows of memory",
    ),
    Rule(
        ("mentor_params",),
        {"method": _is_not("mentornet-pd", "mentornet-refined")},
        "only mentornet-pd and mentornet-refined read published params",
    ),
    Rule(
        ("mentor_from",),
        {"method": _is_not("mentornet", "mentornet-frozen")},
        "the method has no mentor that could begin as another",
    ),
    Rule(
        (*NETWORK, "initial_sample_weight"),
        {"method": _is("mentornet-refined")},
        "the mentor is the published network, as it was fitted",
    ),
    Rule(("mentor_hidden",), {"mentor": _is_not("mlp")}, "only an mlp has hidden layers to choose"),
    Rule(("history_length",), {"mentor": _is_not("mlp", "lstm")}, "only an mlp and an lstm see the history"),
    Rule(("mentor_embedding",), {"mentor": _is("mlp", "cmw")}, "the mentor has no embeddings of its own"),
    Rule(("mentor_features",), {"mentor": _is("cmw")}, "a cmw sees the loss and the size of the class"),
    Rule(
        ("history_length",),
        {"mentor": _is("mlp"), "mentor_features": _lacks("history")},
        "the mentor does not see the history",
    ),
    Rule(("unroll_steps",), {"estimator": _is_not("unrolled")}, "the estimator looks one step ahead"),
    Rule(("anchor",), {"normalisation": _is_not("sum")}, "the scale of the sample weights is not free"),
    Rule(("mentor_patience",), {"meta_holdout": _is(0)}, "nothing is held out"),
    Rule(("mixup_alpha",), {"mixing": _is("none")}, _UNMIXED),
    Rule(("mixup_alpha",), {"mixing": _is(None), "method": _is_not(*LEARNING_METHODS)}, _UNMIXED),
    Rule(("mixup_alpha",), {"mixing": _is(None), "meta_from": _is("trusted"), "meta_in_training": _is(0)}, _UNMIXED),
    Rule(("mixup_alpha",), {"mixing": _is(None), "meta_from": _is("trusted"), "meta_holdout": _is(0)}, _UNMIXED),
    Rule(("momentum", "nesterov"), {"optimizer": _is_not("sgd")}, "only sgd has a momentum to choose"),
    Rule(("pace",), {"method": _is_not("self-paced")}, "only self-paced has a pace"),
    Rule(("forget_rate", "forget_epochs"), {"method": _is_not("co-teaching")}, "only co-teaching forgets"),
    Rule(("group_rate",), {"method": _is_not("group-dro")}, "only group-dro has shares of groups"),
    Rule(("unlabelled_weight",), {"method": _is_not("dividemix")}, "only dividemix has unlabelled samples"),
    Rule(("normalisation",), {"method": _is("dividemix")}, "what is believed has a mean, and so has the rest"),
    Rule(("burn_in",), {"method": _is("uniform")}, "all sample weights are 1 in any case"),
    Rule(
        ("normalisation",),
        {"method": _is("uniform"), "example_dropout": _is("")},
        "all sample weights are 1, and their sum is the batch's size",
    ),
    Rule(
        ("loss_percentile", "percentile_decay"),
        {"method": _is("uniform", "oracle", "focal", "l2rw", "co-teaching", "dividemix", "group-dro")},
        "the method does not see the loss difference",
    ),
    Rule(
        ("loss_percentile", "percentile_decay"),
        {"method": _is("mentornet"), "mentor": _is("mlp"), "mentor_features": _lacks("loss_difference")},
        "the mentor does not see the loss difference",
    ),
    Rule(
        ("loss_percentile", "percentile_decay"),
        {"method": _is("mentornet"), "mentor": _is("cmw")},
        "the mentor does not see the loss difference",
    ),
)
"""Each setting that a rule looks at is meaningless only where those that the rule drops are, too; so no setting that
means nothing decides about one that does."""


def settled(table: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of ``table`` that mean something beside each other; what is left out keeps its default.

    Of the features, mentornet and lstm read only whether the label is among them; they are settled to what these see.

    Args:
        table: flat settings, all or a part of them. Data and how a run is carried out are left as they are.
    """
    kept = {name: value for name, value in table.items() if reason_against(name, table) is None}
    if "mentor_features" in kept and kept.get("mentor") in ("mentornet", "lstm"):
        features = _seen_besides(kept.pop("mentor_features"))
        kept.update({} if features is None else {"mentor_features": features})
    return kept


def reason_against(name: str, table: Mapping[str, Any]) -> str | None:
    """Why the setting ``name`` means nothing in ``table``; None where it does."""
    return next((rule.because for rule in RULES if name in rule.settings and _holds(rule, table)), None)


def _holds(rule: Rule, table: Mapping[str, Any]) -> bool:
    return all(name in table and condition(table[name]) for name, condition in rule.where.items())


def _seen_besides(features: tuple[str, ...]) -> tuple[str, ...] | None:
    """Such a mentor always sees loss, loss difference and progress; None for the default."""
    return (*MentorConfig.mentor_features, "label") if "label" in features else None
