"""What a mentor is before its first update."""

from __future__ import annotations

from collections.abc import Sequence

from ray_mentor.config import MentorConfig
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.mentor.mentor_file import begun_as
from ray_mentor.core.mentor.networks import CMWMentor
from ray_mentor.errors import UserError


def first_mentor(
    config: MentorConfig, n_classes: int, seed: int, class_sizes: Sequence[int] | None, *, in_nats: bool
) -> MentorLearner:
    """A fresh mentor, or one that begins as another ended.

    Args:
        class_sizes: training samples of each class, by given label; read where the mentor looks at them.
        in_nats: whether it will be shown losses in nats.

    Raises:
        UserError: no sizes for a mentor that needs them, or what :func:`~.mentor_file.begun_as` says.
    """
    if config.mentor_from is None:
        learner = MentorLearner(config, n_classes, seed)
    else:
        learner = begun_as(config.mentor_from, config, n_classes, seed, in_nats=in_nats)
    if isinstance(learner.network, CMWMentor):
        if class_sizes is None:
            raise UserError(
                "class_sizes is None, but mentor cmw looks at how large a sample's class is; give the number of "
                "training samples of each class"
            )
        learner.network.take_sizes(class_sizes)
    return learner


def starts_otherwise(config: MentorConfig) -> bool:
    """Whether a mentor made with these settings, and nothing else, is not yet what :func:`first_mentor` gives."""
    return config.mentor_from is not None or config.mentor == "cmw"
