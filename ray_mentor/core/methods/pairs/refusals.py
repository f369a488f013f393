"""What two students can't go with."""

from __future__ import annotations

from ray_mentor.config import CurriculumConfig
from ray_mentor.core.losses import CROSS_ENTROPY, PerSampleLoss
from ray_mentor.errors import UserError


def check_goes_with_two(curriculum: CurriculumConfig, own: PerSampleLoss | None) -> None:
    """Refuses settings that a method of two students has no room for.

    Args:
        own: a loss of the user's own.

    Raises:
        UserError: naming setting, rule and fix.
    """
    method = curriculum.method
    if own is not None:
        raise UserError(
            f"method is {method!r}, whose two students go by each other's cross-entropy, but a loss of your own was "
            "given, too; leave one of them out"
        )
    if curriculum.loss not in (None, CROSS_ENTROPY):
        raise UserError(
            f"loss is {curriculum.loss!r}, but the two students of method {method!r} go by each other's cross-entropy; "
            "leave --loss out"
        )
    if curriculum.mixing not in (None, "none"):
        raise UserError(
            f"mixing is {curriculum.mixing!r}, but the two students of method {method!r} have sample weights of their "
            "own, and a mixed sample would be another one for each; give --mixing none"
        )
    if curriculum.gradient_rule != "none":
        raise UserError(
            f"gradient_rule is {curriculum.gradient_rule!r}, which compares one student's gradient with that of the "
            f"meta loss, but method {method!r} trains two; give --gradient-rule none"
        )


def check_can_be_relabelled(curriculum: CurriculumConfig, *, floats: bool) -> None:
    """Refuses what a method that mixes samples and gives them labels of its own has no room for.

    Args:
        floats: whether the inputs are floats, which can be blended.

    Raises:
        UserError: naming what it is, rule and fix.
    """
    method = curriculum.method
    if not floats:
        raise UserError(
            f"method is {method!r}, which blends inputs, but these are integers, and between two ids or codes lies no "
            "third; take another method, such as co-teaching, or inputs that are floats"
        )
    if curriculum.example_dropout:
        raise UserError(
            f"example_dropout is {curriculum.example_dropout!r}, which sets sample weights to 0, but to method "
            f"{method!r} that says that a label is not believed, and it learns from the sample all the same; leave "
            "--example-dropout out"
        )
