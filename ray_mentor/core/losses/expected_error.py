"""The expected error: what a mentor makes small on the meta set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.losses.base import PerSampleLoss
from ray_mentor.errors import UserError

LEAST_LIKELIHOOD = 1e-3
"""A meta sample whose exp(−ℓ) lies below has next to no say in the mean of 1 − exp(−ℓ)."""


class ExpectedError:
    """1 − exp(−ℓ_i): for cross-entropy 1 − p_y, the probability that a label drawn from the student is wrong.

    As a meta loss it asks for better predictions, where cross-entropy first asks for less confidence: once the
    student memorises, its loss on unseen samples is mostly over-confidence, every wrong label lowers it, and their
    mean influence says "helps". Bounded, too: no single meta sample decides the gradient.

    Its gradient is exp(−ℓ_i)·∇ℓ_i. So it is for the negative log-likelihood of one label: with a sum over many (the
    tokens of a text) exp(−ℓ) is 0, and with a loss that falls below 0 (a density's) it has no bound.

    Args:
        loss: ℓ.
        in_doubt: whether ℓ is a user's, who alone knows what it is: then :meth:`check` looks at it.
    """

    def __init__(self, loss: PerSampleLoss, *, in_doubt: bool = False) -> None:
        self.loss = loss
        self._in_doubt = in_doubt
        self._last: Tensor | None = None

    def __call__(self, outputs: Any, labels: Tensor) -> Float[Tensor, " batch"]:
        """One value per sample, below 1; in [0, 1) where ℓ >= 0."""
        losses = self.loss(outputs, labels)
        self._last = losses.detach() if self._in_doubt else None
        return expected_error(losses)

    def check(self, exchange: AbstractExchange, *, is_first_update: bool) -> None:
        """Looks at the losses of the last call, all ranks' together. A collective call.

        Args:
            is_first_update: whether a mentor is about to learn from that call for the first time. Before, the student
                knows nothing yet, and whatever it has come to know later is no reason to end a run.

        Raises:
            UserError: on every rank: a loss in doubt that is below 0, or exp(−ℓ) next to 0 of most, at that update.
        """
        if self._last is None:
            return
        likelihoods = torch.exp(-self._last.double())
        n_below = exchange.total(float((likelihoods > 1).sum()))
        if n_below:
            raise UserError(
                f"meta_loss is 'error', 1 − exp(−loss), but the loss of {n_below:.0f} meta samples is below 0, as no "
                "negative log-likelihood of a label can be; give meta_loss='loss'"
            )
        if not is_first_update:
            return
        n_small = exchange.total(float((likelihoods < LEAST_LIKELIHOOD).sum()))
        count = exchange.total(float(len(likelihoods)))
        if n_small > count / 2:
            raise UserError(
                f"meta_loss is 'error', 1 − exp(−loss), but exp(−loss) is below {LEAST_LIKELIHOOD:g} for {n_small:.0f} "
                f"of the {count:.0f} samples of the first meta batch, so that they have no say; give meta_loss='loss', "
                "or let the loss be the mean over a sample's parts instead of their sum; if the student has only not "
                "learnt enough yet, give a longer burn_in"
            )


def expected_error(losses: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """1 − exp(−ℓ_i), at least in float32: to full precision near 0, and with the slope exp(−ℓ_i) far from it.

    The slope of expm1 is its result plus 1, which rounds to 0 from 17 nats on (in bfloat16 from 8); that of 1 − exp(−ℓ)
    is right, but its value is not. So it is the one, and what it lacks of the other as a constant.
    """
    losses = losses.to(torch.promote_types(losses.dtype, torch.float32))
    rough = 1 - torch.exp(-losses)
    return rough + (-torch.expm1(-losses.detach()) - rough.detach())


def values_of(meta_loss: PerSampleLoss) -> Callable[[Tensor], Tensor]:
    """What a meta loss makes of per-sample losses that are there already: the expected error, or the losses."""
    return expected_error if isinstance(meta_loss, ExpectedError) else lambda losses: losses
