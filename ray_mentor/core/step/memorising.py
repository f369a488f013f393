"""How much of what the student does right it knows by heart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Bool, Float
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
    below 0 has no such share: 0, as long as it is. The sums live where the losses are until an epoch ends.

    Args:
        meta_loss: per-sample losses, as the student is trained on them → what the held-out loss is the mean of.

    Attributes:
        share: as at the end of the last epoch.
        sums: total and number of the losses since, in tensors or numbers. Never written over.
    """

    def __init__(self, meta_loss: Callable[[Tensor], Tensor]) -> None:
        self._meta_loss = meta_loss
        self.state = MemorisingState()

    @property
    def state(self) -> MemorisingState:
        """What is known, read from the device."""
        total, samples = self.sums
        return MemorisingState(self.share, float(total), int(samples))

    @state.setter
    def state(self, state: MemorisingState) -> None:
        self.share = state.share
        self.sums: tuple[Tensor | float, Tensor | int] = state.total, state.samples

    def note_trained(self, losses: Float[Tensor, " batch"], of: Bool[Tensor, " batch"] | None = None) -> None:
        """Takes in the losses of one global batch.

        Args:
            of: whose loss counts; None: everybody's.
        """
        total, samples = self.sums
        found = self._meta_loss(losses.double())
        if of is None:
            self.sums = total + found.sum(), samples + len(losses)
        else:
            self.sums = total + found.where(of, 0.0).sum(), samples + of.sum()

    def note_unseen(self, meta_loss: float) -> None:
        """Takes in the mean over the held-out samples at an epoch's end."""
        state = self.state
        if not state.samples or meta_loss == 0:
            return
        trained = state.total / state.samples
        has_share = trained >= 0 and meta_loss > 0
        self.state = MemorisingState(share=min(max(1 - trained / meta_loss, 0.0), 1.0) if has_share else 0.0)
