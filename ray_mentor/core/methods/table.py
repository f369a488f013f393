"""Named methods: each is a line of exchangeable parts, never a loop of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.batch import MetaBatch
from ray_mentor.core.losses import (
    CROSS_ENTROPY,
    BySize,
    ExpectedError,
    MeanOverClasses,
    OfBoth,
    PerSampleLoss,
    TargetLoss,
    cross_entropy,
    make_loss,
    reweighted,
)
from ray_mentor.core.mentor.access import AbstractMentorAccess
from ray_mentor.core.mentor.mentor_file import frozen_from
from ray_mentor.core.mentor.start import FROZEN, REFINED, RULE, kind_of, pd_mentor, rule_of
from ray_mentor.core.methods.mixing import make_mixing, require_floats
from ray_mentor.core.methods.pairs import CoDivide, CoTeaching, DivideMix
from ray_mentor.core.methods.parts import Parts
from ray_mentor.core.methods.relabelling import AbstractRelabelling
from ray_mentor.core.methods.weightings import (
    AbstractWeighting,
    FocalWeights,
    Frozen,
    GroupDRO,
    HardMining,
    Learned,
    LearningToReweight,
    LinearSPCL,
    Oracle,
    Predefined,
    Published,
    Ruled,
    SelfPaced,
    Taught,
    Uniform,
)
from ray_mentor.core.step.gradient_rules import GRADIENT_RULES, AbstractGradientRule
from ray_mentor.errors import UserError, one_of

MakeWeighting = Callable[[CurriculumConfig, MentorConfig, AbstractMentorAccess | None], AbstractWeighting]


@dataclass(frozen=True)
class Method:
    """What a method is made of.

    Attributes:
        loss: its per-sample loss, unless the user names another.
        weighting: makes its weighting.
        learns: whether a mentor learns from influences.
        needs_truth: whether the true labels must be known.
        needs_groups: whether each training sample's group must be.
        says_same: whether its sample weights are the same for all, and say nothing of a label.
        burn_in: share of training in which all sample weights are 1, unless the user says otherwise.
        burn_in_epochs: that it takes at most then.
        relabelling: makes the part that learns from other labels than the given ones, beside its weighting; None: it
            learns from those.
        students: how many it trains: one, or a pair.
    """

    weighting: MakeWeighting
    learns: bool = False
    needs_truth: bool = False
    needs_groups: bool = False
    loss: str = CROSS_ENTROPY
    burn_in: float = 0.0
    says_same: bool = False
    students: int = 1
    burn_in_epochs: int = 5
    relabelling: Callable[[CurriculumConfig, AbstractWeighting], AbstractRelabelling] | None = None


def _learned(_: CurriculumConfig, __: MentorConfig, access: AbstractMentorAccess | None) -> AbstractWeighting:
    assert access is not None, "a learning method is given access to a mentor"
    return Learned(access)


def _published(_: CurriculumConfig, config: MentorConfig, __: AbstractMentorAccess | None) -> AbstractWeighting:
    return Published(pd_mentor(config))


def _frozen(_: CurriculumConfig, config: MentorConfig, __: AbstractMentorAccess | None) -> AbstractWeighting:
    if config.mentor_from is None:
        raise UserError(
            "method is 'mentornet-frozen', which takes another run's mentor; give --mentor-from RUN, a run "
            "whose mentor learned"
        )
    return Frozen(frozen_from(config.mentor_from))


def _ruled(config: CurriculumConfig, _: MentorConfig, __: AbstractMentorAccess | None) -> AbstractWeighting:
    return Ruled(rule_of(config))


def _co_teaching(config: CurriculumConfig, _: MentorConfig, __: AbstractMentorAccess | None) -> AbstractWeighting:
    return CoTeaching(config.forget_rate, config.forget_epochs)


def _dividemix(config: CurriculumConfig, weighting: AbstractWeighting) -> AbstractRelabelling:
    assert isinstance(weighting, CoDivide)
    return DivideMix(weighting, config.unlabelled_weight)


def _taught(curriculum: CurriculumConfig, config: MentorConfig, __: AbstractMentorAccess | None) -> AbstractWeighting:
    return Taught(config, curriculum.taught_at)


def _group_dro(curriculum: CurriculumConfig, config: MentorConfig, __: AbstractMentorAccess | None) -> GroupDRO:
    if config.normalisation != "sum":
        raise UserError(
            f"method is 'group-dro', whose sample weights are shares of a sum, but normalisation is "
            f"{config.normalisation!r}; leave it out"
        )
    return GroupDRO(curriculum.group_rate)


METHODS: dict[str, Method] = {
    "mentornet": Method(_learned, learns=True, burn_in=0.15),
    "mentornet-pd": Method(_published),
    "uniform": Method(lambda *_: Uniform(), says_same=True),
    "oracle": Method(lambda *_: Oracle(), needs_truth=True),
    "self-paced": Method(lambda curriculum, *_: SelfPaced(curriculum.pace)),
    "l2rw": Method(lambda *_: LearningToReweight()),
    "spcl": Method(lambda *_: LinearSPCL()),
    "predefined": Method(lambda *_: Predefined()),
    "focal": Method(lambda *_: FocalWeights()),
    "hard-mining": Method(lambda *_: HardMining()),
    "group-dro": Method(_group_dro, needs_groups=True),
    FROZEN: Method(_frozen, burn_in=0.15),
    "co-teaching": Method(_co_teaching, students=2),
    "dividemix": Method(
        lambda config, *_: CoDivide(burn_in_of(config)),
        students=2,
        burn_in=0.15,
        burn_in_epochs=10,
        relabelling=_dividemix,
    ),
    "mentornet-dd": Method(_taught),
    REFINED: Method(_learned, learns=True, burn_in=0.15),
    RULE: Method(_ruled, burn_in=0.15),
}


def parts_of(
    curriculum: CurriculumConfig,
    mentor: MentorConfig,
    access: AbstractMentorAccess | None,
    loss: PerSampleLoss | None,
    meta_batch: Callable[[int], MetaBatch],
    *,
    floats: bool = True,
    class_sizes: Sequence[int] | None = None,
    trusted_sizes: Sequence[int] | None = None,
    meta_sizes: Sequence[int] | None = None,
    group_sizes: Mapping[str, int] | None = None,
) -> Parts:
    """The parts of the method that ``curriculum`` names.

    Args:
        curriculum: names method and mixing.
        mentor: settings of the mentor.
        access: to the learning mentor; read by methods that have one.
        loss: the user's own; None for the method's.
        meta_batch: this rank's share of the n-th meta batch.
        floats: whether the inputs are floats, which can be blended, and no ids or codes.
        class_sizes: training samples of each class, by given label; for a loss that goes by them.
        trusted_sizes: trusted samples of each class that are trained on beside them.
        meta_sizes: samples of each class of the meta set; for a meta loss that goes by them.
        group_sizes: samples that are trained on of each group, by name; for a method that goes by them.
    """
    method = method_of(curriculum.method)
    own = loss is not None
    train_loss = loss if loss is not None else named_loss_of(curriculum)
    if not own and isinstance(train_loss, BySize) and class_sizes is not None:
        train_loss.take_sizes(class_sizes, trusted_sizes)
    shown_loss = train_loss if own else cross_entropy
    is_pair = method.students > 1
    weighting = method.weighting(curriculum, mentor, access)
    if isinstance(weighting, GroupDRO):
        weighting.take_groups(group_sizes)
    return Parts(
        loss=OfBoth(cross_entropy) if is_pair else train_loss,
        seen_loss=None if is_pair else shown_loss,
        meta_loss=_meta_loss(meta_loss_of(mentor, own_loss=own), shown_loss, meta_sizes, in_doubt=own),
        weighting=weighting,
        relabelling=None if method.relabelling is None else method.relabelling(curriculum, weighting),
        mixing=make_mixing(mixing_of(curriculum, mentor, own_loss=own, floats=floats), curriculum.mixup_alpha),
        gradient_rule=gradient_rule_of(curriculum),
        mentor=access if method.learns else None,
        meta_batch=meta_batch,
        in_nats=is_in_nats(mentor, own_loss=own),
        burn_in=burn_in_of(curriculum),
        by_given=curriculum.meta_from == "pseudo-clean",
    )


def _meta_loss(name: str, loss: PerSampleLoss, meta_sizes: Sequence[int] | None, *, in_doubt: bool) -> PerSampleLoss:
    if name == "loss":
        return loss
    if name == "error":
        return ExpectedError(loss, in_doubt=in_doubt)
    if meta_sizes is None:
        raise UserError(
            f"meta_loss is {name!r}, which goes by how many meta samples each class has, but nobody says; give "
            "--meta-loss error"
        )
    return MeanOverClasses(loss, meta_sizes, worst=name == "worst-class", in_doubt=in_doubt)


def named_loss_of(curriculum: CurriculumConfig) -> PerSampleLoss:
    """The loss that is named, or else the method's own.

    Raises:
        UserError: an unknown name, or numbers that it can't have.
    """
    text = method_of(curriculum.method).loss if curriculum.loss is None else curriculum.loss
    return reweighted(make_loss(text), curriculum.reweight, text)


def gradient_rule_of(curriculum: CurriculumConfig) -> AbstractGradientRule:
    """What happens to the train gradient.

    Raises:
        UserError: an unknown name.
    """
    return GRADIENT_RULES[one_of(curriculum.gradient_rule, GRADIENT_RULES, "gradient_rule")]()


def _check_remembers(curriculum: CurriculumConfig) -> None:
    """Refuses what a target of each sample's own can't go with."""
    if curriculum.mixing not in (None, "none"):
        raise UserError(
            f"mixing is {curriculum.mixing!r}, but the loss {curriculum.loss} remembers what the student makes of each "
            "sample by itself; give --mixing none"
        )
    if curriculum.method == "l2rw":
        raise UserError(
            f"method is 'l2rw', which weighs samples before the student has seen them, and so before the loss "
            f"{curriculum.loss} has its targets; choose another of the two"
        )


def check_one_loss(curriculum: CurriculumConfig, own: PerSampleLoss | None) -> None:
    """Refuses a name that none has, and a name beside a loss of one's own.

    Raises:
        UserError: naming both, or what :func:`named_loss_of` says.
    """
    if isinstance(named_loss_of(curriculum), TargetLoss):
        _check_remembers(curriculum)
    if own is not None and curriculum.reweight != "none":
        raise UserError(
            f"reweight is {curriculum.reweight!r}, but a loss of your own was given; multiply it there, and leave "
            "reweight out"
        )
    if own is not None and curriculum.loss is not None:
        raise UserError(f"loss is {curriculum.loss!r}, but a loss of your own was given, too; leave one of them out")


def burn_in_of(curriculum: CurriculumConfig, epochs: int | None = None) -> float:
    """Share of training before a mentor learns: what is given, or the method's own, which is no more than some epochs.

    A student knows wrong labels by heart when it has met them some ten times, however long it is to be trained.

    Args:
        epochs: of the run; None: nobody knows.
    """
    if curriculum.burn_in is not None:
        return curriculum.burn_in
    method = method_of(curriculum.method)
    return method.burn_in if epochs is None else min(method.burn_in, method.burn_in_epochs / epochs)


def meta_loss_of(mentor: MentorConfig, *, own_loss: bool) -> str:
    """The name of the meta loss: where it is not given, the error of a method's own loss, but a user's own as it is.

    Args:
        own_loss: whether the user gave the loss: nobody else knows whether exp(−ℓ) is a probability.
    """
    return mentor.meta_loss or ("loss" if own_loss else "error")


def is_in_nats(mentor: MentorConfig, *, own_loss: bool) -> bool:
    """Whether a mentor is shown losses as they are: where they are a cross-entropy, or said to be a likelihood's."""
    return not own_loss or meta_loss_of(mentor, own_loss=own_loss) != "loss"


def mixing_of(curriculum: CurriculumConfig, mentor: MentorConfig, *, own_loss: bool, floats: bool) -> str:
    """The name of the mixing; by weight only where it can be known how much the student memorises.

    Args:
        own_loss: whether the user gave the loss.
        floats: whether the inputs are floats, which can be blended, and no ids or codes.

    Raises:
        UserError: where it was asked for and can't.
    """
    if curriculum.mixing not in (None, "none"):
        require_floats(curriculum.mixing, is_float=floats)
    learns = method_of(curriculum.method).learns
    by_trusted = curriculum.in_training > 0 and mentor.meta_holdout > 0
    measured = by_trusted or curriculum.meta_from == "pseudo-clean"
    if curriculum.mixing == "mentormix" and not measured:
        raise UserError(
            "mixing is 'mentormix', which mixes as often as the student memorises, and that shows where of the "
            f"trusted samples some are trained on and some held out; with meta_in_training "
            f"{curriculum.in_training:g} and meta_holdout {mentor.meta_holdout:g} give --mixing mixup, or none"
        )
    if curriculum.mixing is None:
        if not own_loss and isinstance(named_loss_of(curriculum), TargetLoss):
            return "none"
        shows_memory = not own_loss or mentor.meta_loss not in (
            None,
            "loss",
        )  # a loss that may fall below 0 has no share to speak of
        return "mentormix" if learns and measured and floats and shows_memory else "none"
    return curriculum.mixing


def method_of(name: str) -> Method:
    """The method of this name.

    Raises:
        UserError: if there is none; the message lists those there are.
    """
    return METHODS[one_of(kind_of(name), METHODS, "method")]
