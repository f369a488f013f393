"""Mentors: networks that turn a sample's features into its sample weight."""

from __future__ import annotations

from ray_mentor.core.mentor.networks.base import AbstractMentor
from ray_mentor.core.mentor.networks.mentornet import MentorNet, load_published
from ray_mentor.core.mentor.networks.mlp import MLPMentor
from ray_mentor.errors import UserError, one_of

__all__ = ["MENTORS", "AbstractMentor", "MLPMentor", "MentorNet", "load_published", "make_mentor"]

MENTORS = ("mlp", "mentornet")


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
) -> AbstractMentor:
    """Builds a fresh mentor of the named kind.

    Args:
        kind: ``mlp`` or ``mentornet``.
        features: what an mlp sees. A mentornet always sees loss, loss_difference and progress, and the given
            label if ``label`` is named here.
        hidden: widths of an mlp's hidden layers; a mentornet has its own.
        n_classes: number of classes C.
        history_length: past losses per sample in the feature ``history``.
        initial_sample_weight: the sample weight that the fresh mentor gives to every sample, in (0, 1).
        seed: of the initial params; the global random state is untouched.
        embedding: widths of a mentornet's embeddings of label and percent; an mlp has none (see :class:`MLPMentor`).

    Raises:
        UserError: an unknown kind, or an argument that the kind refuses.
    """
    one_of(kind, MENTORS, "mentor")
    if kind == "mlp":
        return MLPMentor(features, hidden, n_classes, history_length, initial_sample_weight, seed)
    return _mentornet(features, embedding, n_classes, initial_sample_weight, seed)


def _mentornet(
    features: tuple[str, ...], embedding: tuple[int, int], n_classes: int, initial_sample_weight: float, seed: int
) -> MentorNet:
    if "history" in features:
        raise UserError(
            f"features is {features!r}, but mentor mentornet can't see 'history' "
            "(it sees loss, loss_difference, progress and, if named, label); use mentor mlp"
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
