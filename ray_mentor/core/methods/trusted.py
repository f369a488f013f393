"""What a method needs trusted samples for."""

from __future__ import annotations

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.losses.forward import Forward
from ray_mentor.core.methods.table import gradient_rule_of, method_of, named_loss_of
from ray_mentor.errors import NoTrustedSamplesError


def check_has_trusted(curriculum: CurriculumConfig, mentor: MentorConfig, n_trusted: int) -> None:
    """Refuses a run without trusted samples that needs some.

    Args:
        n_trusted: samples of the trusted set, held-out ones included.

    Raises:
        NoTrustedSamplesError: naming what needs them, and what to do.
        UserError: a method, loss or gradient rule that there is none of.
    """
    needs = what_needs_a_meta_set(curriculum) or _what_needs_trust(curriculum, mentor)
    if needs is not None and n_trusted == 0:
        raise NoTrustedSamplesError(
            f"{needs}, but there is no trusted sample (meta_size is 0); give some, e.g. --meta-size 100 or --meta-data "
            "FILE, or train with what needs none, e.g. --method self-paced or --loss gce"
        )


def what_needs_a_meta_set(curriculum: CurriculumConfig) -> str | None:
    """The setting that takes meta batches; None where nobody does."""
    rule = gradient_rule_of(curriculum)
    if method_of(curriculum.method).learns:
        return f"method is {curriculum.method!r}, whose mentor learns from a meta set"
    if curriculum.method == "l2rw":
        return "method is 'l2rw', which weighs samples by a meta set"
    if rule.needs_meta_gradient:
        return f"gradient_rule is {curriculum.gradient_rule!r}, which takes the gradient of a meta set"
    return None


def _what_needs_trust(curriculum: CurriculumConfig, mentor: MentorConfig) -> str | None:
    """The setting that asks for labels that are right, or for samples that are held out of a trusted set."""
    if isinstance(named_loss_of(curriculum), Forward):
        return f"loss is {curriculum.loss!r}, which estimates from trusted samples how labels go wrong"
    if curriculum.mixing == "mentormix":
        return "mixing is 'mentormix', which reads off trusted samples how much the student memorises"
    if mentor.mentor_patience > 0 and method_of(curriculum.method).learns:
        return f"mentor_patience is {mentor.mentor_patience}, which goes by held-out trusted samples"
    return None
