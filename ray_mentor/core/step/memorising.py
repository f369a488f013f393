"""How much of what the student does right it knows by heart."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class MemorisingState:
    """What is known of a student's memory.

    Attributes:
        share: how much it memorises, in [0, 1]; 0 as long as that is not known.
        total: sum of the meta loss on trusted samples that the student was trained on since that was measured.
        samples: how many they were.
    """

    share: float = 0.0
    total: float = 0.0
    samples: int = 0


class Memorising:
    """1 − trained/unseen, in [0, 1]: 0 for a student that does as well on samples that it has never seen.

    ``trained`` is the mean over an epoch of the meta loss on trusted samples that the student is trained on, each as it
    is met again; ``unseen`` that on trusted samples that are held out, at the epoch's end, without augmentation or
    dropout. Labels of both are right, so that what lies between them is memory and not noise. A meta loss whose mean is
    below 0 has no such share: 0, as long as it is.

    Args:
        meta_loss: per-sample losses, as the student is trained on them → what the held-out loss is the mean of.
    """

    def __init__(self, meta_loss: Callable[[Tensor], Tensor]) -> None:
        self._meta_loss = meta_loss
        self.state = MemorisingState()

    @property
    def share(self) -> float:
        """As at the end of the last epoch."""
        return self.state.share

    def note_trained(self, losses: Float[Tensor, " trusted"]) -> None:
        """Takes in the losses of the trusted samples in one global batch, of which there may be none."""
        if len(losses):
            total = self.state.total + float(self._meta_loss(losses.double()).sum())
            self.state = dataclasses.replace(self.state, total=total, samples=self.state.samples + len(losses))

    def note_unseen(self, meta_loss: float) -> None:
        """Takes in the mean over the held-out samples at an epoch's end."""
        if not self.state.samples or meta_loss == 0:
            return
        trained = self.state.total / self.state.samples
        has_share = trained >= 0 and meta_loss > 0
        self.state = MemorisingState(share=min(max(1 - trained / meta_loss, 0.0), 1.0) if has_share else 0.0)
