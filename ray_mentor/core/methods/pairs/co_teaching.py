"""Co-teaching (Han et al. 2018): each of two students learns from what the other finds easy."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.methods.weightings.base import AbstractWeighting
from ray_mentor.core.step.observation import Observation


class CoTeaching(AbstractWeighting):
    """w_ik = 1[ℓ_i of the other student is among the ⌊(1 − f(t))·n⌋ smallest], f(t) = τ·min(t/T, 1).

    n are the samples of the global batch whose labels are in doubt, of which one is kept at least, t the passes over
    the data so far, as a fraction (published: whole epochs). A student that learnt from its own picks would never be
    told that it is wrong; two that began differently are wrong about different samples. With `normalisation` sum the
    step is along the mean over the picks, as published; with τ = 0 the two are plain students, trained apart.

    Args:
        forget_rate: τ in [0, 1).
        forget_epochs: T >= 0.
    """

    def __init__(self, forget_rate: float, forget_epochs: float) -> None:
        self.forget_rate = forget_rate
        self.forget_epochs = forget_epochs

    def forgotten(self, epochs: float) -> float:
        """f(t)."""
        done = 1.0 if epochs >= self.forget_epochs else epochs / self.forget_epochs
        return self.forget_rate * done

    def __call__(self, observation: Observation) -> Float[Tensor, "batch 2"]:
        assert observation.of_students is not None, "a method of two students is given the losses of both"
        losses, trusted = observation.of_students.flip(1), observation.features.trusted[:, None]
        share = 1 - self.forgotten(observation.epochs)
        keep = (share * (~trusted).sum().double() + 1e-9).floor().clamp(min=1)  # 0.7·10 may be 6.999… in floats
        order = losses.masked_fill(trusted, torch.inf).argsort(dim=0, stable=True)
        return ((order.argsort(dim=0) < keep) & ~trusted).to(losses)
