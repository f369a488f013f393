"""How much of what the student does right it knows by heart."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor


class Memorising:
    """1 − trained/unseen, in [0, 1]: 0 for a student that does as well on samples that it has never seen.

    ``trained`` is the running mean of the meta loss on trusted samples that the student is trained on, each as it is
    met again; ``unseen`` that of the meta loss on meta batches, which it is not trained on. Labels of both are right,
    so that what lies between them is memory and not noise. A mean of n samples counts n/(n + 300) in the new one.

    Args:
        meta_loss: per-sample losses, as the student is trained on them → what a meta batch's mean is taken of.
    """

    def __init__(self, meta_loss: Callable[[Tensor], Tensor]) -> None:
        self._meta_loss = meta_loss
        self.trained: float | None = None
        self.unseen: float | None = None

    @property
    def share(self) -> float:
        """0 as long as one of the two is not known."""
        if self.trained is None or self.unseen is None or self.unseen <= 0:
            return 0.0
        return min(max(1 - self.trained / self.unseen, 0.0), 1.0)

    def note_trained(self, losses: Float[Tensor, " trusted"]) -> None:
        """Takes in the losses of the trusted samples in one global batch, of which there may be none."""
        if len(losses):
            self.trained = _moved(self.trained, float(self._meta_loss(losses.double()).mean()), len(losses))

    def note_unseen(self, meta_loss: float, size: int) -> None:
        """Takes in the mean over a meta batch of ``size`` samples."""
        self.unseen = _moved(self.unseen, meta_loss, size)


_REMEMBERED = 300  # samples


def _moved(before: float | None, value: float, n: int) -> float:
    return value if before is None else before + n / (n + _REMEMBERED) * (value - before)
