"""Mentors: networks that turn a sample's features into its sample weight."""

from __future__ import annotations

from ray_mentor.core.mentor.networks.base import AbstractMentor
from ray_mentor.core.mentor.networks.cmw import CMWMentor
from ray_mentor.core.mentor.networks.evidence import ClassEvidence
from ray_mentor.core.mentor.networks.lstm import LSTMMentor
from ray_mentor.core.mentor.networks.mentornet import MentorNet, load_published
from ray_mentor.core.mentor.networks.mlp import MLPMentor
from ray_mentor.errors import UserError, one_of

__all__ = [
    "MENTORS",
    "AbstractMentor",
    "CMWMentor",
    "LSTMMentor",
    "MLPMentor",
    "MentorNet",
    "load_published",
    "make_mentor",
]

MENTORS = ("mlp", "mentornet", "lstm", "cmw")


def make_mentor(
    kind: str,
    *,
    features: tuple[str, ...],
    hidden: tuple[int, ...],
    n_classes: int,
    history_length: int,
    initial_sample_weight: float,
    seed: int,
    embedding: tuple[int, int] = (2, 5),
    class_evidence: float = 0.0,
) -> AbstractMentor:
    """Builds a fresh mentor of the named kind.

    Args:
        kind: ``mlp``, ``mentornet``, ``lstm`` or ``cmw``.
        features: what an mlp sees. A mentornet always sees loss, loss_difference and progress, an lstm the history
            as well, and both the given label if ``label`` is named here. A cmw sees loss and label, no more.
        hidden: widths of an mlp's hidden layers; the others have their own.
        n_classes: number of classes C.
        history_length: past losses per sample in the feature ``history``.
        initial_sample_weight: the sample weight that the fresh mentor gives to every sample, in (0, 1).
        seed: of the initial params; the global random state is untouched.
        embedding: widths of the embeddings of label and percent, of the kinds that have some (for an mlp see
            :class:`MLPMentor`).
        class_evidence: κ, >= 0, the weight of what is known by given and predicted class; 0: none is kept.

    Raises:
        UserError: an unknown kind, or an argument that the kind refuses.
    """
    one_of(kind, MENTORS, "mentor")
    network: AbstractMentor
    if kind == "mlp":
        network = MLPMentor(features, hidden, n_classes, history_length, initial_sample_weight, seed)
    elif kind == "cmw":
        network = CMWMentor(n_classes, initial_sample_weight, seed)
    elif kind == "lstm":
        network = _lstm(features, embedding, n_classes, history_length, initial_sample_weight, seed)
    else:
        network = _mentornet(features, embedding, n_classes, initial_sample_weight, seed)
    if class_evidence:
        network.evidence = ClassEvidence(n_classes, class_evidence)
    return network


def _lstm(
    features: tuple[str, ...],
    embedding: tuple[int, int],
    n_classes: int,
    history_length: int,
    initial_sample_weight: float,
    seed: int,
) -> LSTMMentor:
    if history_length < 1:
        raise UserError(
            f"history_length is {history_length}, but mentor lstm looks at a sample's past losses; give at least 1, "
            "e.g. --history-length 4"
        )
    return LSTMMentor(
        history_length=history_length,
        n_labels=n_classes if "label" in features else None,
        label_width=embedding[0],
        percent_width=embedding[1],
        initial_sample_weight=initial_sample_weight,
        seed=seed,
    )


def _mentornet(
    features: tuple[str, ...], embedding: tuple[int, int], n_classes: int, initial_sample_weight: float, seed: int
) -> MentorNet:
    if "history" in features:
        raise UserError(
            f"features is {features!r}, but mentor mentornet can't see 'history' "
            "(it sees loss, loss_difference, progress and, if named, label); use mentor mlp or lstm"
        )
    label_feature = "label" in features
    return MentorNet(
        n_labels=n_classes if label_feature else 2,
        label_width=embedding[0],
        percent_width=embedding[1],
        label_feature=label_feature,
        initial_sample_weight=initial_sample_weight,
        seed=seed,
    )
