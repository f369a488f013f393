"""What a person should be told of a finished run: did its mentor have a say, and is its trusted set clean?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from ray_mentor.config import CurriculumConfig, TrainConfig
from ray_mentor.core.losses.by_size.sized import BySize
from ray_mentor.core.mentor.pace import interval_of
from ray_mentor.core.methods.table import burn_in_of, method_of, named_loss_of
from ray_mentor.data.readers.texts.windows import bits_per_byte
from ray_mentor.run.accuracy import BITS, wilson
from ray_mentor.run.checkpoint.kept import KeptState
from ray_mentor.run.checkpoint.state import RunState

FEW_UPDATES = 10
"""Below these a mentor has said next to nothing yet."""

MANY_FALLBACKS = 0.2
"""Share of the steps, taken with equal weights because the mentor's had collapsed, above which that is said."""

SMALL_SPREAD = 0.02
"""Standard deviation of sample weights below which they are as good as equal; a learnt mentor's is 0.2 to 0.45."""


ENOUGH = 20
"""Held-out trusted samples, from which on accuracy on them says whether a student has learnt anything."""

NEAR_CHANCE = 0.1
"""Share of the way from a guess's accuracy to 1, and from its loss to 0, before which a student has learnt next to
nothing.
"""


def advice(
    result: Mapping[str, Any],
    config: TrainConfig,
    state: RunState,
    guess: float | None = None,
    constant: str | None = None,
) -> list[str]:
    """What there is to say, and what to change.

    Args:
        result: what ``result.json`` holds.
        state: at the end.
        guess: the loss of who only knows the classes, ln C; None where the loss is the user's own.
        constant: of a student that says one class of everything, what there is to say: nothing of its trusted samples
            then.
    """
    mentor = _on_mentor(result, config)
    if constant is not None:
        return [*_on_kept(state.kept), constant, *mentor]
    return [*_on_kept(state.kept), *(mentor or _on_trusted(result, state, guess))]


def by_size_of(curriculum: CurriculumConfig) -> str | None:
    """The settings by which classes count other than by their samples, as they are given; None where there are none."""
    if not isinstance(named_loss_of(curriculum), BySize):
        return None
    return f"--loss {curriculum.loss}" if curriculum.reweight == "none" else f"--reweight {curriculum.reweight}"


def on_class_sizes(result: Mapping[str, Any], by_size: str | None) -> list[str]:
    """For whom a student is that was trained on a loss which goes by class sizes, where these are uneven.

    Args:
        result: with what became of each class.
        by_size: as :func:`by_size_of` has it.
    """
    ratio = result.get("class_ratio") or 1.0
    if by_size is None or ratio < _UNEVEN:
        return []
    tested, balanced = result.get("test_accuracy"), result.get("test_balanced_accuracy")
    what = "right on" if tested is not None else "in agreement with the given labels of"
    tested = result.get("test_agreement") if tested is None else tested
    found = (
        ""
        if None in (tested, balanced)
        else (f" (it is {what} {tested:.3f} of the test split, and {balanced:.3f} in the mean over classes)")
    )
    return [
        f"{by_size} is for who counts each class the same, or has test data with as many of each: this student says "
        f"rare classes more often than they come{found}. If what you will ask it of is as uneven as the training "
        f"samples, whose largest class is {ratio:.0f} times the smallest, and each answer counts the same, --loss "
        "cross-entropy is right more often in all, and on rare classes less often"
    ]


_UNEVEN = 3.0  # times as large as the smallest class is the largest, where the table at the end tells of sizes


def _on_kept(kept: KeptState | None) -> list[str]:
    if kept is None or not kept.is_earlier:
        return []
    if kept.hits.is_floating_point():
        best, last = (bits_per_byte(-hits.mean().item()) for hits in (kept.hits, kept.last_hits))
        return [
            f"kept is the student of epoch {kept.epoch + 1}, not of the last, {kept.last_epoch + 1}: of "
            f"{len(kept.hits)} held-out trusted windows it has {best:.3f} bits per byte, the last one {last:.3f}; it "
            "was chosen by that figure, which flatters it"
        ]
    return [
        f"kept is the student of epoch {kept.epoch + 1}, not of the last, {kept.last_epoch + 1}: of {len(kept.hits)} "
        f"held-out trusted samples it was right on {int(kept.hits.sum())}, the last one on "
        f"{int(kept.last_hits.sum())}; it was chosen by that figure, which flatters it"
    ]


def _on_mentor(result: Mapping[str, Any], config: TrainConfig) -> list[str]:
    method = method_of(config.curriculum.method)
    if not method.learns:
        return []
    updates, steps, spread = result["meta_updates"], result["steps"], result["sample_weight_spread"]
    burn_in = burn_in_of(config.curriculum, config.run.epochs)
    if updates < FEW_UPDATES:
        learned = "never learned" if updates == 0 else f"learned only {updates} time{'s' if updates > 1 else ''}"
        return [
            f"warning: the mentor {learned} in {steps} steps, so this is next to plain training; "
            f"{_more_updates(steps, burn_in, config)}"
        ]
    if spread is not None and spread < SMALL_SPREAD:
        return [
            f"warning: the sample weights hardly moved (their standard deviation is {spread:.3f} in the last epoch), "
            f"so this is next to plain training; {_more_updates(steps, burn_in, config)}, or a higher "
            "--mentor-learning-rate"
        ]
    if (fallbacks := (result.get("guards") or {}).get("fallbacks", 0)) > MANY_FALLBACKS * steps:
        return [
            f"warning: in {fallbacks} of {steps} steps the mentor believed next to no sample, or none of a class, and "
            "all counted the same: it has not found its weights, and plain training may well be better (--method "
            "uniform shows it); give more --epochs, or a lower --mentor-learning-rate"
        ]
    return []


def _more_updates(steps: int, burn_in: float, config: TrainConfig) -> str:
    """What makes a mentor learn more often."""
    learning = steps * (1 - burn_in)
    interval = interval_of(dataclasses.replace(config.mentor, update_interval=None), learning)
    more = ["more --epochs"]
    if burn_in > 0.5:
        more.insert(0, "a smaller --burn-in")
    if interval < interval_of(config.mentor, learning):
        more.insert(0, f"--update-interval {interval}")
    return f"give {' or '.join(more)}"


def _on_trusted(result: Mapping[str, Any], state: RunState, guess: float | None) -> list[str]:
    """Held-out trusted samples that the student agrees with no more than with given labels, in the last epoch.

    No epoch was chosen by how it did on them, then. Let t be the accuracy on them, [t₋, t₊] its interval, and g the
    agreement with given labels. Clean trusted samples beside wrong given labels show t > g. Said where that isn't so:
    t₋ <= g, and t₊ lies below the middle of g and 1. A student that has not learnt the training samples either says
    nothing of the trusted ones; but where many given labels are wrong, a good one has a loss like that, too, so that
    none is called so which is right on most trusted samples, or, of :data:`ENOUGH`, on more than a guess is.
    """
    if result.get(f"test_{BITS}") is not None or (state.kept is not None and state.kept.hits.is_floating_point()):
        return []  # no labels
    if state.kept is None:
        return [] if result["test_accuracy"] is not None else [_NOTHING_TRUE]
    last = state.log.metrics[-1] if state.log.metrics else {}
    given = last.get("validation_agreement") if last.get("test_agreement") is None else last.get("test_agreement")
    right, count = int(state.kept.last_hits.sum()), len(state.kept.last_hits)
    low, high = wilson(right, count)
    if given is None or low > given or high >= (1 + given) / 2:
        return []
    says = (
        f"warning: the student is right on {right / count:.3f} of the held-out trusted samples ({low:.3f} to "
        f"{high:.3f}) and agrees with {given:.3f} of the given labels"
    )
    loss, brief = last.get("loss"), ""
    if guess is not None and loss is not None:
        chance = math.exp(-guess)
        beside = f"its loss on training samples is {loss:.2f}, where a guess among the classes has {guess:.2f}"
        at_most = chance + NEAR_CHANCE * (1 - chance)
        is_good = right / count > (1 + chance) / 2
        is_poor = right / count < at_most if count >= ENOUGH else not is_good
        if is_poor and (loss >= guess * (1 - NEAR_CHANCE) or given < at_most):
            return [f"{says}, where a guess is right on {chance:.3f}: it was trained too briefly ({beside}), or its "
                    "--learning-rate does not suit it; give more --epochs"]  # fmt: skip
        brief = f", or it was trained too briefly ({beside})" if loss > guess / 2 and not is_good else ""
    return [
        f"{says}: either the trusted samples are no cleaner than the others (check some of them; accuracy on them is "
        "none then), or the task is hard for this student and few given labels are wrong, so that a mentor has little "
        f"to win{brief}"
    ]


_NOTHING_TRUE = (
    "warning: no true accuracy is known, since no trusted sample is held out (or the student gives no logits), and "
    "the test split has none but given labels; give more trusted samples, and a --meta-holdout above 0"
)
