"""The methods that a comparison knows, each a line: settings over those of the comparison.

All of them have the same means: the same data, student and schedule, and the trusted samples that are not held out in
training, but for ``uniform`` and ``mentornet-pseudo-clean``, which are what one has without any. So a method may not
set what all have in common.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ray_mentor.config.groups.data import DataConfig
from ray_mentor.config.groups.run import RunSettings
from ray_mentor.config.settings import GROUPS, TrainConfig, check_names, names_of
from ray_mentor.errors import UserError, shown


@dataclass(frozen=True)
class Compared:
    """One line of a comparison.

    Attributes:
        says: what it is, for a reader of the table.
        settings: over those of the comparison.
    """

    says: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def config(self, base: TrainConfig, **changes: Any) -> TrainConfig:
        """One run of it: the comparison's settings, then the method's, then the run's own, such as its seed."""
        return base.changed(**{**self.settings, **changes})


def _robust(loss: str) -> dict[str, str]:
    return {"method": "uniform", "loss": loss}


def _ruled(rule: str) -> dict[str, str]:
    return {"method": "uniform", "gradient_rule": rule}


_META_RECIPE = {
    "method": "mentornet",
    "loss": "cross-entropy",
    "mixing": "none",
    "burn_in": 0.0,
    "meta_loss": "loss",
    "mentor_weight_decay": 1e-4,
    "normalisation": "batch",
    "entropy": 0.0,
    "class_evidence": 0.0,
    "anchor": 0.0,
    "min_effective_share": 0.0,
    "min_class_share": 0.0,
}
"""As published, but for the step that is looked through, the student's real one, momentum and all; tanh where the
published networks have a ReLU; a fresh mentor that weighs all alike; and influences of unit mean size, which Adam would
scale as well."""

_META_WEIGHT_NET = {
    **_META_RECIPE,
    "mentor_features": ("loss",),
    "mentor_hidden": (100,),
    "update_interval": 1,
    "mentor_learning_rate": 1e-3,
}
"""Shu et al. 2019."""

_CMW_NET = {**_META_RECIPE, "mentor": "cmw", "update_interval": 10, "mentor_learning_rate": 1e-4}
"""Shu et al. 2022: Adam's 1e-3 an update; the meta set is the trusted one here, not samples of small loss."""

METHODS: dict[str, Compared] = {
    "uniform": Compared("plain training, without trusted samples", {"method": "uniform", "meta_in_training": 0.0}),
    "uniform-trusted": Compared("plain training, trusted samples in it", {"method": "uniform"}),
    "mixup": Compared("MixUp: each batch mixed", {"method": "uniform", "mixing": "mixup"}),
    "mentormix-uniform": Compared(
        "plain training, mixed by the mentor's rule, as often as it memorises",
        {"method": "uniform", "mixing": "mentormix"},
    ),
    "randaugment": Compared("images changed by RandAugment", {"method": "uniform", "augment": "randaugment"}),
    "trivialaugment": Compared("images changed by TrivialAugment", {"method": "uniform", "augment": "trivialaugment"}),
    "pcgrad": Compared("steps that do not point against the trusted samples", _ruled("pcgrad")),
    "gradient-vaccine": Compared("steps turned towards the trusted samples", _ruled("gradient-vaccine")),
    "label-smoothing": Compared("smoothed labels", _robust("label-smoothing")),
    "logit-adjusted": Compared("logits by the log of class sizes", _robust("logit-adjusted")),
    "class-balanced": Compared("a factor on the loss of each class", _robust("class-balanced")),
    "ldam": Compared("margins by class size", _robust("ldam")),
    "bootstrap-soft": Compared("a part of the student's own prediction in each label", _robust("bootstrap-soft")),
    "bootstrap-hard": Compared("a part of the class that the student would say", _robust("bootstrap-hard")),
    "mae": Compared("mean absolute error", _robust("mae")),
    "gce": Compared("generalised cross-entropy", _robust("gce")),
    "gce-truncated": Compared(
        "the same, without the labels that the student gives no chance", _robust("gce-truncated")
    ),
    "sce": Compared("symmetric cross-entropy", _robust("sce")),
    "elr": Compared("early-learning regularisation: a remembered target a sample", _robust("elr")),
    "forward": Compared("labels believed to have gone wrong as the trusted samples show", _robust("forward")),
    "focal-loss": Compared("hard samples count more, as a loss", _robust("focal")),
    "focal": Compared("hard samples count more, as sample weights", {"method": "focal"}),
    "hard-mining": Compared("hard samples alone", {"method": "hard-mining"}),
    "group-dro": Compared("the worst group's loss, by --group-column", {"method": "group-dro"}),
    "self-paced": Compared("self-paced: samples of large loss are dropped", {"method": "self-paced"}),
    "spcl": Compared("self-paced, with a slope", {"method": "spcl"}),
    "predefined": Compared("the curriculum that MentorNet PD imitates, as a formula", {"method": "predefined"}),
    "l2rw": Compared("learning to reweight: the influence is the weight", {"method": "l2rw"}),
    "co-teaching": Compared("two students, each on what the other finds easy", {"method": "co-teaching"}),
    "dividemix": Compared("two students that relabel together what neither believes", {"method": "dividemix"}),
    "mentornet-pd": Compared("the published network, fitted to a formula", {"method": "mentornet-pd"}),
    "mentornet-dd": Compared(
        "the published network, taught on trusted samples which labels are right",
        {"method": "mentornet-dd", "mentor": "mentornet"},
    ),
    "mentornet-refined": Compared("mentornet-pd that learns on from there", {"method": "mentornet-refined"}),
    "meta-weight-net": Compared("a mentor by Meta-Weight-Net's own recipe, an update at every step", _META_WEIGHT_NET),
    "cmw-net": Compared("a mentor by CMW-Net's own recipe: the loss, and how large the class is", _CMW_NET),
    "mentornet-lstm": Compared(
        "the mentor over a sample's last five losses", {"method": "mentornet", "mentor": "lstm", "history_length": 4}
    ),
    "mentornet-unmixed": Compared("the mentor, nothing mixed", {"method": "mentornet", "mixing": "none"}),
    "mentormix-published": Compared(
        "the mentor, every batch mixed and weighed twice, as published for 40 % of wrong labels",
        {"method": "mentornet", "mixing": "mentormix-published", "mixup_alpha": 8.0},
    ),
    "mentornet-gce": Compared("the mentor on generalised cross-entropy", {"method": "mentornet", "loss": "gce"}),
    "mentornet-elr": Compared("the mentor on early-learning regularisation", {"method": "mentornet", "loss": "elr"}),
    "mentornet-pseudo-clean": Compared(
        "the mentor, without trusted samples: it learns from labels that look right",
        {"method": "mentornet", "meta_from": "pseudo-clean", "meta_in_training": 0.0},
    ),
    "mentornet": Compared("the mentor", {"method": "mentornet"}),
    "oracle": Compared("told which labels are right", {"method": "oracle"}),
}
"""By name. A new one is a line here."""

BASELINE, ORACLE = "uniform-trusted", "oracle"
"""They run beside the others; between them lies the gap that a method closes."""

PRESETS: dict[str, Sequence[str]] = {
    "quick": ("uniform", "self-paced", "gce", "mixup", "mentornet"),
    "seed": (
        *("uniform", "self-paced", "mentornet-pd", "mentornet-dd", "mentornet", "gce", "sce"),
        *("co-teaching", "dividemix", "mixup", "randaugment"),
    ),
    "all": tuple(METHODS),
}
"""Methods by the name of what is asked with them. Of a preset, what can't be run is left out, with a note."""

LONGEST_NAME = 30
"""Characters of a method's name, which are what a terminal has room for: two that are cut short may look alike."""

OWN_BY_METHOD = ("method", "pace", "loss", "reweight", "mixing", "gradient_rule")
"""Settings that a comparison leaves to its methods."""

_SHARED = {
    *names_of(DataConfig),
    *names_of(RunSettings),
    *("student", "schedule", "meta_holdout", "meta_in_training"),
} - {"augment"}


def check_known(names: Iterable[str]) -> None:
    """Raises a UserError that names the nearest method and lists all, if one of the names is none."""
    for name in names:
        if name not in METHODS:
            near = difflib.get_close_matches(name, METHODS, n=1)
            hint = f" (nearest: {near[0]})" if near else ""
            raise UserError(
                f"unknown method {shown(name)}{hint}; valid: {', '.join(METHODS)}, or one of your own, "
                "NAME=FILE.toml with its settings"
            )


def own_method(name: str, settings: Mapping[str, Any]) -> Compared:
    """A method of the user's own.

    Args:
        name: what it is called in the table.
        settings: over those of the comparison.

    Raises:
        UserError: a name that the table has, or that it has no room for; an unknown setting, one that all methods
            share, or none at all.
    """
    if not name.isprintable() or name != " ".join(name.split()) or not 0 < len(name) <= LONGEST_NAME:
        raise UserError(
            f"a method of your own is called {shown(name)}, but a name has 1 to {LONGEST_NAME} characters on one line, "
            "so that tables and figures show it whole; give it another"
        )
    if name in METHODS:
        raise UserError(f"a method of your own is called {shown(name)}, but there is one of this name; give it another")
    if not settings:
        raise UserError(f"the method {shown(name)} has no settings; give some, e.g. method = 'self-paced'")
    try:
        check_names(settings, names_of(*GROUPS))
    except UserError as error:
        raise UserError(f"of the method {shown(name)}: {error.written}") from None
    for setting in settings:
        if setting in _SHARED:
            raise UserError(
                f"the method {shown(name)} sets {setting}, but data, trusted samples, student and schedule are the "
                f"same for all methods of a comparison; leave it out, or give it to all: --{setting.replace('_', '-')}"
            )
    return Compared("your own: " + ", ".join(f"{key} = {value}" for key, value in settings.items()), dict(settings))
