"""What a method is made of, in one run."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.batch import MetaBatch
from ray_mentor.core.epoch import AtEpoch
from ray_mentor.core.losses import BySize, ClassBalanced, PerSampleLoss
from ray_mentor.core.mentor.access import AbstractMentorAccess
from ray_mentor.core.methods.mixing import AbstractMixing
from ray_mentor.core.methods.relabelling import AbstractRelabelling
from ray_mentor.core.methods.remembering import Remembering
from ray_mentor.core.methods.weightings import AbstractWeighting
from ray_mentor.core.step.gradient_rules import AbstractGradientRule


@dataclass(frozen=True)
class Parts:
    """The exchangeable parts of a method, and how this run's steps reach mentor and meta set.

    Attributes:
        loss: the per-sample loss that the student is trained on; of two students that of each, a column a student.
        meta_loss: the per-sample loss whose mean over a meta batch is M.
        mentor: access to the learning mentor; None for weightings that do not learn.
        meta_batch: this rank's share of the n-th meta batch.
        in_nats: whether the loss is in nats; the size of any other means nothing, and a mentor is shown it in units of
            its own.
        burn_in: share of training, from its start, in which all sample weights are 1 and no mentor learns.
        seen_loss: the one that features, percentile and ledger are made of: cross-entropy where the loss is a robust
            one, whose size says little of a sample that it has given up. None: the loss.
        by_given: whether what the student knows by heart shows in given labels, of samples that it is trained on and of
            others, rather than in those of trusted samples.
        relabelling: makes what is learnt from out of what the student says; None: the given labels are.
    """

    loss: PerSampleLoss
    meta_loss: PerSampleLoss
    weighting: AbstractWeighting
    mixing: AbstractMixing
    gradient_rule: AbstractGradientRule
    mentor: AbstractMentorAccess | None
    meta_batch: Callable[[int], MetaBatch]
    in_nats: bool = True
    burn_in: float = 0.0
    seen_loss: PerSampleLoss | None = None
    by_given: bool = False
    relabelling: AbstractRelabelling | None = None

    @property
    def shown_loss(self) -> PerSampleLoss:
        """The loss that features are made of."""
        return self.loss if self.seen_loss is None else self.seen_loss

    @property
    def class_factors(self) -> Float[Tensor, " classes"] | None:
        """What the loss of each class is multiplied by, on the host; None where by nothing."""
        return self.loss.of(self.loss.sizes) if isinstance(self.loss, ClassBalanced) else None

    @functools.cached_property
    def counts_trust(self) -> bool:
        """Whether the loss goes by what the samples of each class weigh."""
        return any(isinstance(part, BySize) and part.trust > 0 for part in self.at_epoch)

    @functools.cached_property
    def at_epoch(self) -> tuple[AtEpoch, ...]:
        """Those that find something out when an epoch has ended; what they have found is in every checkpoint."""
        return that_find_out(self.loss, self.weighting, self.meta_batch, self.meta_loss)

    @functools.cached_property
    def remembering(self) -> Remembering | None:
        """The one of them that keeps numbers of each sample."""
        return next((part for part in self.at_epoch if isinstance(part, Remembering)), None)


def that_find_out(*parts: object) -> tuple[AtEpoch, ...]:
    """Those of a method's parts that find something out when an epoch has ended, in the order of a checkpoint.

    Args:
        parts: loss, weighting, what gives meta batches and the meta loss, or as many of them, from the first on, as are
            asked for.
    """
    inner = [getattr(part, "loss", None) for part in parts if isinstance(part, ClassBalanced)]
    return tuple(part for part in (*parts, *inner) if isinstance(part, AtEpoch))
