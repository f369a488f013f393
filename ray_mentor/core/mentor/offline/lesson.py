"""MentorNet DD: a mentor that is told of each row whether the given label is right.

Jiang et al., "MentorNet: Learning Data-Driven Curriculum for Very Deep Neural Networks on Corrupted Labels",
ICML 2018.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ray_mentor.config import MentorConfig
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.mentor.offline.supervised import Fitting, Rows, fit
from ray_mentor.errors import UserError

FITTING = Fitting(steps=500, batch_size=0, rate=0.03, last_rate=0.001, squared=False)
SMALL_ENOUGH = 4096
"""Rows that are learnt from as a whole; of more, so many are drawn at each step."""

HELD_OUT = 0.2


@dataclass(frozen=True)
class Lesson:
    """How well a mentor that was taught tells right labels from wrong ones, on rows held out from it.

    Attributes:
        rows: that it was taught on.
        noise_rate: share of wrong labels among them, as they count.
        accuracy: share of held-out rows, as they count, on whose side of ½ the sample weight lies.
        auroc: how often a right label has a larger weight than a wrong one, ties half; None where there are only right
            or only wrong ones.
    """

    rows: int
    noise_rate: float
    accuracy: float
    auroc: float | None

    def __str__(self) -> str:
        auroc = "" if self.auroc is None else f", AUROC {self.auroc:.3f}"
        return (
            f"the mentor was taught on {self.rows} rows, {100 * self.noise_rate:.0f} % of them with a wrong label; on "
            f"samples held out from it its accuracy is {self.accuracy:.3f}{auroc}"
        )


def teach(learner: MentorLearner, rows: Rows, sample: Int[Tensor, " rows"], seed: int) -> Lesson:
    """Teaches a mentor, from the params that it has, by binary cross-entropy.

    Args:
        learner: its params change, and nothing else.
        rows: whose target says whether the given label is right.
        sample: which sample each row is of: a fifth of the samples is held out, with all of its rows.
        seed: of which samples these are.
    """
    draw = torch.Generator().manual_seed(seed)
    samples, place = torch.unique(sample, return_inverse=True)
    held_out = torch.zeros(len(samples), dtype=torch.bool)
    held_out[torch.randperm(len(samples), generator=draw)[: round(HELD_OUT * len(samples))]] = True
    tested = held_out[place]
    learnt = rows[~tested]
    how = FITTING if len(learnt) <= SMALL_ENOUGH else dataclasses.replace(FITTING, batch_size=SMALL_ENOUGH)
    learner.move(lambda network: fit(network, learnt, how, seed))
    shown = rows[tested] if tested.any() else rows
    scored, right = learner.score(shown.features), shown.target > 0.5
    hit = (scored > 0.5) == right
    return Lesson(
        rows=len(learnt),
        noise_rate=float(1 - (learnt.mass * learnt.target).sum() / learnt.mass.sum()),
        accuracy=float((shown.mass * hit).sum() / shown.mass.sum()),
        auroc=auroc(scored, right),
    )


def check_can_be_taught(config: MentorConfig) -> None:
    """Refuses a mentor that sees what no row says that a mentor is taught on.

    Raises:
        UserError: naming it.
    """
    if config.mentor not in ("mlp", "mentornet"):
        raise UserError(
            f"mentor is {config.mentor!r}, but one that is taught sees a sample's loss by itself, without its past or "
            "its class's size; give --mentor mlp or mentornet"
        )
    if "history" in config.mentor_features:
        raise UserError(
            f"mentor_features is {config.mentor_features!r}, but one that is taught sees a sample's loss by itself, "
            "without its past; leave history out"
        )


def auroc(scored: Float[Tensor, " rows"], right: Bool[Tensor, " rows"]) -> float | None:
    """P(score of a right one > score of a wrong one) + ½ P(the same score); None without one of either kind."""
    if right.all() or not right.any():
        return None
    wrong = scored[~right].sort().values
    below = torch.searchsorted(wrong, scored[right], side="left")
    upto = torch.searchsorted(wrong, scored[right], side="right")
    return float((below + upto).double().mean()) / (2 * len(wrong))
