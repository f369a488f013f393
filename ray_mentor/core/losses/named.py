"""Losses by name, as settings give them: ``gce``, or ``gce:0.5`` with its numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ray_mentor.core.losses.base import PerSampleLoss
from ray_mentor.core.losses.bootstrap import HardBootstrap, SoftBootstrap
from ray_mentor.core.losses.cross_entropy import cross_entropy
from ray_mentor.core.losses.elr import EarlyLearning
from ray_mentor.core.losses.focal import Focal
from ray_mentor.core.losses.forward import Forward
from ray_mentor.core.losses.gce import GeneralisedCrossEntropy, TruncatedGCE
from ray_mentor.core.losses.label_smoothing import LabelSmoothing
from ray_mentor.core.losses.mae import MeanAbsoluteError
from ray_mentor.core.losses.sce import SymmetricCrossEntropy
from ray_mentor.errors import UserError, one_of, shown

CROSS_ENTROPY = "cross-entropy"

ROBUST: Mapping[str, Callable[..., PerSampleLoss]] = {
    "gce": GeneralisedCrossEntropy,
    "sce": SymmetricCrossEntropy,
    "mae": MeanAbsoluteError,
    "bootstrap-soft": SoftBootstrap,
    "bootstrap-hard": HardBootstrap,
    "elr": EarlyLearning,
    "focal": Focal,
    "label-smoothing": LabelSmoothing,
    "forward": Forward,
    "gce-truncated": TruncatedGCE,
}
"""Dataclasses of numbers, in the order in which a text gives them. One of your own is a line here."""


def make_loss(text: str) -> PerSampleLoss:
    """The loss of this name, ``NAME`` or ``NAME:NUMBER:...``; numbers that are left out are the published ones.

    Raises:
        UserError: an unknown name, too many numbers, or one that is none or out of bounds.
    """
    name, *given = text.split(":")
    one_of(name, (CROSS_ENTROPY, *ROBUST), "loss")
    kind: Any = ROBUST.get(name)
    fields = [field.name for field in dataclasses.fields(kind)] if kind else []
    if len(given) > len(fields):
        takes = f"takes {':'.join(fields)}" if fields else "takes no number"
        raise UserError(f"loss is {shown(text)}, but {name} {takes}")
    try:
        numbers = [float(number) for number in given]
    except ValueError:
        raise UserError(f"loss is {shown(text)}, but behind {name} there must be numbers, {':'.join(fields)}") from None
    return kind(*numbers) if kind else cross_entropy
