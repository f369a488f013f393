"""What a method needs trusted samples for."""

from __future__ import annotations

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.losses.forward import Forward
from ray_mentor.core.methods.table import gradient_rule_of, meta_loss_of, method_of, named_loss_of
from ray_mentor.errors import NoTrustedSamplesError, UserError


def check_meta_set(
    curriculum: CurriculumConfig, mentor: MentorConfig, n_trusted: int, n_validation: int, *, own_loss: bool
) -> None:
    """Refuses a run without trusted samples that needs some, or without what stands in for them.

    Args:
        n_trusted: samples of the trusted set, held-out ones included.
        n_validation: samples of the validation split.
        own_loss: whether the user gave the loss.

    Raises:
        NoTrustedSamplesError: naming what needs them, and what to do.
        UserError: a method, loss or gradient rule that there is none of.
    """
    needs = _what_needs_a_meta_set(curriculum)
    if needs is not None and curriculum.meta_from == "pseudo-clean":
        _check_pseudo_clean(curriculum, mentor, n_validation, own_loss=own_loss)
        needs = None
    can_choose = "draw a meta set from labels that look right, --meta-from pseudo-clean, " if needs else ""
    if isinstance(named_loss_of(curriculum), Forward):
        needs, can_choose = f"loss is {curriculum.loss!r}, which estimates from trusted samples how labels go wrong", ""
    if curriculum.method == "mentornet-dd":
        needs, can_choose = "method is 'mentornet-dd', whose mentor is taught on trusted samples", ""
    if needs is not None and n_trusted == 0:
        raise NoTrustedSamplesError(
            f"{needs}, but there is no trusted sample (meta_size is 0); give some, e.g. --meta-size 100 or --meta-data "
            f"FILE, {can_choose}or train with what needs none, e.g. --method self-paced or --loss gce"
        )


def _check_pseudo_clean(
    curriculum: CurriculumConfig, mentor: MentorConfig, n_validation: int, *, own_loss: bool
) -> None:
    if n_validation == 0:
        raise UserError(
            "meta_from is 'pseudo-clean', which chooses from the validation split, but there is none; give "
            "--validation-share 0.1 (of a trainer: validation=...)"
        )
    if mentor.meta_loss in ("balanced", "worst-class"):
        raise UserError(
            f"meta_loss is {mentor.meta_loss!r}, which goes by the classes of a meta set that stays what it is, but "
            "meta_from is 'pseudo-clean', which chooses anew after each epoch; give --meta-loss error"
        )
    if own_loss and meta_loss_of(mentor, own_loss=True) != "error":
        raise UserError(
            "meta_from is 'pseudo-clean', which goes by the probability exp(−loss) of a given label, but a loss of "
            "your own was given; if it is the negative log-likelihood of a label, say so with meta_loss='error', else "
            "give trusted samples"
        )
    if mentor.mentor_patience > 0 and method_of(curriculum.method).learns:
        raise UserError(
            f"mentor_patience is {mentor.mentor_patience}, which goes by samples that the mentor does not learn from, "
            "but meta_from is 'pseudo-clean', and it learns from those that there are; give --mentor-patience 0"
        )


def _what_needs_a_meta_set(curriculum: CurriculumConfig) -> str | None:
    """The setting that takes meta batches, or samples to compare with them; None where nobody does."""
    rule = gradient_rule_of(curriculum)
    if method_of(curriculum.method).learns:
        return f"method is {curriculum.method!r}, whose mentor learns from a meta set"
    if curriculum.method == "l2rw":
        return "method is 'l2rw', which weighs samples by a meta set"
    if rule.needs_meta_gradient:
        return f"gradient_rule is {curriculum.gradient_rule!r}, which takes the gradient of a meta set"
    if curriculum.mixing == "mentormix":
        return "mixing is 'mentormix', which reads off a meta set how much the student memorises"
    return None
