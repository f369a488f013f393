"""Losses by name, as settings give them: ``gce``, or ``gce:0.5`` with its numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray_mentor.core.losses.base import GivenLabelLoss, PerSampleLoss, TargetLoss
from ray_mentor.core.losses.bootstrap import HardBootstrap, SoftBootstrap
from ray_mentor.core.losses.by_size.class_factor import ClassBalanced
from ray_mentor.core.losses.by_size.ldam import LDAM
from ray_mentor.core.losses.by_size.logit_adjusted import LogitAdjusted
from ray_mentor.core.losses.by_size.sized import BySize
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
    "logit-adjusted": LogitAdjusted,
    "class-balanced": ClassBalanced,
    "ldam": LDAM,
}
"""Dataclasses of numbers, in the order in which a text gives them. One of your own is a line here."""


DRW_START = 0.8
"""Share of training behind which DRW reweighs: published, 160 of 200 epochs."""


def make_loss(text: str, class_sizes: Sequence[int] | None = None) -> PerSampleLoss:
    """The loss of this name, ``NAME`` or ``NAME:NUMBER:...``; numbers that are left out are the published ones.

    Args:
        class_sizes: training samples of each class, by given label; needed by ``logit-adjusted``, ``class-balanced``
            and ``ldam`` before they are called.

    Raises:
        UserError: an unknown name, too many numbers, or one that is none or out of bounds.
    """
    name, *given = text.split(":")
    one_of(name, (CROSS_ENTROPY, *ROBUST), "loss")
    kind: Any = ROBUST.get(name)
    fields = [field.name for field in dataclasses.fields(kind) if field.type == "float"] if kind else []
    if len(given) > len(fields):
        takes = f"takes {':'.join(fields)}" if fields else "takes no number"
        raise UserError(f"loss is {shown(text)}, but {name} {takes}")
    try:
        numbers = [float(number) for number in given]
    except ValueError:
        raise UserError(f"loss is {shown(text)}, but behind {name} there must be numbers, {':'.join(fields)}") from None
    loss = kind(*numbers) if kind else cross_entropy
    if isinstance(loss, BySize) and class_sizes is not None:
        loss.take_sizes(class_sizes)
    return loss


def reweighted(loss: PerSampleLoss, how: str, text: str) -> PerSampleLoss:
    """A loss with class-balanced factors on it: ``none``, ``class-balanced``, or ``drw``, in the last phase alone.

    Args:
        text: what names the loss, for the error.

    Raises:
        UserError: a loss that has such factors, or that is another where a label is right or remembered.
    """
    if how == "none":
        return loss
    if isinstance(loss, ClassBalanced | GivenLabelLoss | TargetLoss):
        why = "has factors of its own" if isinstance(loss, ClassBalanced) else "knows more of a sample than its label"
        raise UserError(f"reweight is {how!r}, but the loss {text} {why}; give --reweight none, or another loss")
    return ClassBalanced(start=DRW_START if how == "drw" else 0.0, loss=loss)
