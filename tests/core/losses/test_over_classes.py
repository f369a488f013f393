"""A meta loss that is averaged over classes, of all alike or of the worst above all."""

from __future__ import annotations

import pytest
import torch

from ray_mentor import CurriculumConfig, MentorConfig, UserError
from ray_mentor.core.batch import MetaBatch
from ray_mentor.core.epoch import EpochEnd
from ray_mentor.core.losses import MeanOverClasses, cross_entropy, values_of
from ray_mentor.core.mentor.access import LocalMentor
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.methods.parts import Parts
from ray_mentor.core.methods.table import parts_of
from ray_mentor.core.methods.trusted import check_meta_set

LABELS = torch.tensor([0, 0, 0, 0, 1, 1, 3])
LOGITS = torch.randn(7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
ERRORS = 1 - torch.softmax(LOGITS, 1)[torch.arange(7), LABELS]
SIZES = [4, 2, 0, 1]
OF_CLASSES = torch.stack([ERRORS[:4].mean(), ERRORS[4:6].mean(), ERRORS[6]])


def parts_with(meta_loss: str, meta_sizes: list[int] | None) -> Parts:
    config = MentorConfig(meta_loss=meta_loss)
    access = LocalMentor(MentorLearner(config, 4, 0))
    meta = MetaBatch(torch.zeros(1), torch.zeros(1), 1)
    return parts_of(CurriculumConfig(), config, access, None, lambda _: meta, meta_sizes=meta_sizes)


def test_its_mean_is_that_over_the_classes_there_are() -> None:
    loss = parts_with("balanced", SIZES).meta_loss
    assert isinstance(loss, MeanOverClasses)
    torch.testing.assert_close(loss(LOGITS, LABELS).mean(), OF_CLASSES.mean(), rtol=1e-12, atol=0)
    losses = cross_entropy(LOGITS, LABELS)
    torch.testing.assert_close(values_of(loss)(losses), ERRORS)


def test_the_worst_class_has_the_most_say() -> None:
    parts = parts_with("worst-class", SIZES)
    loss = parts.meta_loss
    assert isinstance(loss, MeanOverClasses)
    assert loss in parts.at_epoch
    torch.testing.assert_close(loss(LOGITS, LABELS).mean(), OF_CLASSES.mean())
    predicted = torch.zeros(4, 5, dtype=torch.float64)
    predicted[0, [0, 1, 4]] = torch.tensor([3.6, 0.4, 4.0], dtype=torch.float64)  # .1 wrong
    predicted[1, [1, 0, 4]] = torch.tensor([1.6, 0.4, 2.0], dtype=torch.float64)  # .2
    predicted[3, [3, 0, 4]] = torch.tensor([0.7, 0.3, 1.0], dtype=torch.float64)  # .3
    loss.at_epoch(EpochEnd(1, 0.5, predicted=lambda: predicted))
    q = torch.softmax(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), 0)
    torch.testing.assert_close(loss(LOGITS, LABELS).mean(), (q * OF_CLASSES).sum())
    assert loss.state is not None
    assert loss.state[2] == 0
    assert loss.could_be(loss.state, 4)
    assert not loss.could_be(2 * loss.state, 4)


def test_what_it_needs() -> None:
    with pytest.raises(UserError, match="meta_loss is 'balanced', which goes by how many meta samples each class has"):
        parts_with("balanced", None)
    with pytest.raises(UserError, match="meta_loss is 'balanced', which goes by the classes of a meta set that stays"):
        check_meta_set(
            CurriculumConfig(meta_from="pseudo-clean"), MentorConfig(meta_loss="balanced"), 0, 100, own_loss=False
        )
    with pytest.raises(UserError, match="unknown meta_loss 'macro'; valid: error, loss, balanced, worst-class"):
        MentorConfig(meta_loss="macro")
