"""Which labels a student believes, by the losses that another has: a mixture of two kinds of samples."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.epoch import EpochEnd
from ray_mentor.core.methods.remembering import Remembering
from ray_mentor.core.methods.weightings.base import AbstractWeighting
from ray_mentor.core.mixture import NUMBERS, Mixture, fitted
from ray_mentor.core.step.observation import Observation


class CoDivide(AbstractWeighting, Remembering):
    """w_ik = P(sample i is of the component of small losses), of a mixture over the losses of the other student.

    There is one mixture of two Gaussians a student, fitted at the end of each epoch from the end of burn-in on, over
    all samples whose labels are in doubt. A sample's loss is that of its last visit, which the mixture was fitted to.
    Before there are mixtures all weights are 1.

    Published, both students pass through the whole training set before each epoch, in evaluation mode. Here it is the
    pass that a step takes anyway: in training mode, of augmented images.

    Args:
        burn_in: share of training.

    Attributes:
        state: epochs that were done when the first mixtures were fitted, and the numbers of the latest.
    """

    keeps = 2

    def __init__(self, burn_in: float) -> None:
        self.burn_in = burn_in

    @property
    def began(self) -> float:
        """Epochs that were done when there were first mixtures."""
        return 0.0 if self.state is None else float(self.state[0])

    @property
    def mixtures(self) -> tuple[Mixture, Mixture] | None:
        """Of the losses of each student."""
        if self.state is None:
            return None
        first, second = self.state[1:].split(NUMBERS)
        return Mixture.of_numbers(first.tolist()), Mixture.of_numbers(second.tolist())

    def __call__(self, observation: Observation) -> Float[Tensor, "batch 2"]:
        losses, before, mixtures = observation.of_students, observation.remembered, self.mixtures
        assert losses is not None, "a method of two students is given the losses of both"
        assert before is not None, "what remembers is given what it has kept"
        if mixtures is None:
            return torch.ones_like(losses)
        known = torch.where(before.isnan(), losses, before.to(losses))
        columns = [mixtures[1 - student].low_component(known[:, 1 - student]) for student in (0, 1)]
        return torch.stack(columns, dim=1).to(losses)

    def numbers(self, seen: Observation) -> Float[Tensor, "batch 2"]:
        """The losses of both; nothing of a trusted sample, whose label is in no doubt."""
        assert seen.of_students is not None
        return seen.of_students.masked_fill(seen.features.trusted[:, None], torch.nan)

    def at_epoch(self, end: EpochEnd) -> None:
        if end.progress < self.burn_in:
            return
        found = [fitted(losses) for losses in end.remembered().unbind(dim=1)]
        if None not in found:
            began = self.began if self.state is not None else end.done
            numbers = [number for mixture in found if mixture is not None for number in mixture.numbers()]
            self.state = end.agreed(torch.tensor([began, *numbers], dtype=torch.float64))

    def could_be(self, state: Tensor, n_classes: int) -> bool:
        is_one = state.shape == (1 + 2 * NUMBERS,)
        return is_one and all(Mixture.could_be(each.tolist()) for each in state[1:].split(NUMBERS))
