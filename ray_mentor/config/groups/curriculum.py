"""The method, and the schedule around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ray_mentor.config.values import require
from ray_mentor.errors import UserError, one_of, shown

MIXINGS = ("none", "mixup", "mentormix", "mentormix-published")
"""What can be mixed into a batch."""


REWEIGHTS = ("none", "class-balanced", "drw")
"""Factors on classes."""


def parse_schedule(text: str) -> tuple[tuple[float, float], ...]:
    """Reads ``RATE:SHARE,RATE:SHARE,...`` into pairs; the shares of training must add up to 1.

    Raises:
        UserError: a malformed pair, a rate outside [0, 1) or shares that do not add up to 1.
    """
    if not text:
        return ()
    pairs = []
    for part in text.split(","):
        rate_text, _, share_text = part.partition(":")
        try:
            rate, share = float(rate_text), float(share_text)
        except ValueError:
            raise UserError(
                f"example_dropout holds {shown(part)}, but each part must be RATE:SHARE, e.g. 0.5:0.17,0.05:0.83"
            ) from None
        require(0.0 <= rate < 1.0, "example_dropout rate", rate, "it must lie in [0, 1)")
        require(share > 0.0, "example_dropout share", share, "it must be above 0")
        pairs.append((rate, share))
    total = sum(share for _, share in pairs)
    require(abs(total - 1.0) < 1e-6, "example_dropout", text, f"the shares must add up to 1, not {total:g}")
    return tuple(pairs)


@dataclass(frozen=True)
class CurriculumConfig:
    """Which method weighs the samples, and the schedule around it."""

    method: str = "mentornet"
    """mentornet (learned), mentornet-pd (fitted to a formula), mentornet-refined (the same, and learning on), uniform,
    oracle, self-paced, l2rw, spcl, predefined, focal, hard-mining, group-dro, mentornet-frozen (another run's),
    co-teaching, dividemix (two students), mentornet-dd (taught on trusted samples), rule:FILE (a table that ray-mentor
    distill made)."""
    refine: bool = False
    """mentornet-pd: let the mentor learn on from there, by influences; another way to say mentornet-refined."""
    taught_at: tuple[float, ...] = (0.21, 0.75)
    """mentornet-dd: shares of training, each in (0, 1), behind which the mentor is taught, at the end of the epoch:
    which of the losses of trusted samples, with right and with wrong labels, are those of right ones."""
    pace: str = "hard"
    """How a weight of self-paced falls with the loss: hard, linear, logarithmic, mixture."""
    forget_rate: float = 0.3
    """co-teaching: share of a batch's samples that neither student learns from, those of the largest loss under the
    other, in [0, 1). Published: the share of wrong labels; give that if you know it."""
    forget_epochs: float = 10.0
    """co-teaching: epochs in which that share rises from 0, >= 0."""
    unlabelled_weight: float = 25.0
    """dividemix: λ, how much the samples count whose given label is not believed, >= 0. Published: 25, but 0 where a
    fifth or less is wrong and for asymmetric noise, and 150 where most is wrong among many classes."""
    group_rate: float = 0.01
    """group-dro: step η, >= 0, of the shares of groups along their losses."""
    loss: str | None = None
    """Per-sample loss of classes, with its numbers behind colons where they are not the published ones: cross-entropy,
    gce:0.7, gce-truncated:0.7:0.5, sce:0.1:1, mae, bootstrap-soft:0.95, bootstrap-hard:0.8, elr:3:0.7, forward:5 (a
    transition matrix from the trusted samples after so many epochs), focal:2, label-smoothing:0.1; for rare classes
    logit-adjusted:1, class-balanced:0.9999, ldam:15 (see the page on rare classes). Mentor, percentile and ledger see
    the cross-entropy beside it. None: cross-entropy, logit-adjusted:1:1 where a mentor learns under an imbalance, or
    the loss that you give."""
    reweight: str = "none"
    """Factor on the loss of each class, beside the sample weights: none, class-balanced (as the loss of this name), or
    drw (the same in the last fifth of training alone)."""
    gradient_rule: str = "none"
    """What happens to the train gradient where it disagrees with that of the meta loss, which is then computed at every
    step: none, pcgrad (what points against it is taken away), gradient-vaccine (turned towards it until they agree as
    they use to)."""
    mixing: str | None = None
    """Mixing of a batch: none, mixup, mentormix: with samples in proportion to their sample weights, in as many steps
    as the student memorises, or mentormix-published: in every step, weighed anew when it is mixed. None: the method's
    own, mentormix for mentornet if some of the meta set is trained on and some held out; none for the others, for
    integer inputs, and for a loss of your own unless meta_loss is error.
    """
    mixup_alpha: float = 1.0
    """α of the mixing's Beta(α, α), > 0."""
    burn_in: float | None = None
    """Share of training, from its start, during which every sample weight is 1 and no mentor learns, in [0, 1).
    None: the method's own, 0 but for mentornet: 0.15, or 5 epochs where that is less, as far as epochs are known; a
    student that sees wrong labels more often knows them by heart. It is dividemix's warm-up, too, of 10 epochs at
    most."""
    meta_from: Literal["trusted", "pseudo-clean"] = "trusted"
    """Where the meta set comes from, that a mentor (or l2rw, or a gradient rule) learns from: trusted, or pseudo-clean:
    samples of the validation split whose given labels look right, chosen anew after each epoch. Then no trusted sample
    is needed; those that there are stay in training and measurements."""
    meta_in_training: float | None = None
    """Share of the meta set, but for what is held out, that the student is trained on as well, each sample with weight
    1, in [0, 1]; 0 for none. None: 1, but 0 where shares of sources are mixed, which are measured by the meta set."""
    example_dropout: str = ""
    """Share of each batch whose sample weights are set to 0, over training: RATE:SHARE,RATE:SHARE,...
    (published: 0.5:0.17,0.05:0.83). Empty for none."""

    def __post_init__(self) -> None:
        in_training = all(0 < point < 1 for point in self.taught_at)
        require(in_training, "taught_at", self.taught_at, "each must lie in (0, 1)", "e.g. 0.21 0.75")
        if self.refine:
            refined = "mentornet-refined"
            rule, fix = f"method {shown(self.method)} has no params to go on from", "give --method mentornet-pd, too"
            require(self.method in ("mentornet-pd", refined), "refine", True, rule, fix)
            object.__setattr__(self, "method", refined)
            object.__setattr__(self, "refine", False)
        if self.mixing is not None:
            one_of(self.mixing, MIXINGS, "mixing")
        one_of(self.reweight, REWEIGHTS, "reweight")
        one_of(self.meta_from, ("trusted", "pseudo-clean"), "meta_from")
        require(self.mixup_alpha > 0, "mixup_alpha", self.mixup_alpha, "it must be above 0")
        require(0 <= self.forget_rate < 1, "forget_rate", self.forget_rate, "it must lie in [0, 1)")
        for name in ("forget_epochs", "unlabelled_weight", "group_rate"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "it must be at least 0")
        require(self.burn_in is None or 0 <= self.burn_in < 1, "burn_in", self.burn_in, "it must lie in [0, 1)")
        require(0 <= self.in_training <= 1, "meta_in_training", self.meta_in_training, "it must lie in [0, 1]")
        parse_schedule(self.example_dropout)

    @property
    def in_training(self) -> float:
        """Share of the meta set that is trained on, but for where sources are mixed."""
        return 1.0 if self.meta_in_training is None else self.meta_in_training
