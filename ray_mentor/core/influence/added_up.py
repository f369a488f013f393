"""The sum that influences must have, whatever the student: what tells true ones from false ones.

s_i is linear in ∇ℓ_i, so that along any direction d the influences ⟨d, ∇ℓ_i⟩ of a batch add up to Σ_i ŵ_i s_i =
⟨d, ∇Σ_i ŵ_i ℓ_i⟩. The left side comes from the estimator, which passes through the student once more; the right one
from the backward pass that the student was trained by. They differ where what is differentiated is not what is trained
on: another loss, another mask, another state, another derivative. They cannot tell whether d is right.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.errors import UserError

EXACT, MEASURED = 1e-4, 3e-2
"""Least share of Σ_i |ŵ_i s_i| by which the two sums may differ. Measured, float32, over students of up to 32 layers,
SGD, Adam and AdamW: exact estimators at most 8e-7, and wrong ones (another loss, another mask, a gradient that is
stopped) 4e-5 to 2, of 30 updates the median 3e-3 and more. Finite differences at most 5e-3 where they are within 2 %
of the exact influences, and 4e-2 to 4e-1 where they are 11 to 80 % off."""

ROUNDINGS = 8
"""Of the coarsest type in the forward pass: in bfloat16 exact estimators differ by at most 1.3 of its roundings."""

ALL_LOST = 2.0
"""Share of |ŵ_i s_i| by which an influence may be off of whose loss no digit is left."""


@dataclass(frozen=True)
class Sums:
    """Both sums, this rank's part or all ranks'.

    Attributes:
        found: Σ_i ŵ_i s_i.
        expected: ⟨d, ∇Σ_i ŵ_i ℓ_i⟩.
        allowed: what rounding explains.
        tested: Σ ŵ_i of the samples whose loss is no mere rounding: of the others nothing can be said.
        failed: ranks whose estimator raised.
    """

    found: float
    expected: float
    allowed: float
    tested: float
    failed: float = 0.0

    @property
    def say_something(self) -> bool:
        """Whether there is anything that could be right or wrong."""
        values = (self.found, self.expected, self.allowed)
        return all(map(math.isfinite, values)) and self.tested > 0 and (self.found != 0 or self.expected != 0)

    @property
    def agree(self) -> bool:
        """Whether no more than rounding lies between the two."""
        return abs(self.found - self.expected) <= self.allowed


NO_SUMS = Sums(0.0, 0.0, 0.0, 0.0)
"""Of samples of which some alone were looked at, or of more than one step: nothing can be said."""


def sums_of(
    influence: Float[Tensor, " own"],
    normalised: Float[Tensor, " own"],
    losses: Float[Tensor, " own"],
    expected: Float[Tensor, ""],
    noise: Float[Tensor, ""],
    *,
    measured: bool,
    rounding: float,
) -> Sums:
    """This rank's part; reads the device once.

    A loss ℓ_i that is small for the type it is held in has lost its digits (1 − p, once p is nearly 1), and s_i with
    it: it may be off by rounding/|ℓ_i|, but by no more than :data:`ALL_LOST` of what was found, or one such sample,
    whose influence need not be small, would excuse all others.

    Args:
        influence: of all its samples.
        normalised: their ŵ.
        expected: this rank's part of the right side.
        noise: what rounding alone may have made of it, however small it is.
        measured: whether the influences are finite differences.
        rounding: of the coarsest type in the forward pass.
    """
    columns = [column.detach().double() for column in (influence, normalised, losses)]
    read = torch.cat([*columns, torch.stack([expected.double(), noise.double()])]).cpu().numpy()
    (s, w, size), (of_gradient, off) = read[:-2].reshape(3, -1), read[-2:].tolist()
    parts, size = w * s, abs(size)
    digits = torch.finfo(losses.dtype).eps
    least = max(MEASURED if measured else EXACT, ROUNDINGS * rounding)
    lost = (0.1 * digits**0.5 if measured else digits) / size.clip(min=torch.finfo(torch.float64).tiny)
    lost = lost.clip(max=ALL_LOST)
    tested = w[size > 100 * digits].sum()
    allowed = float((abs(parts) * (least + lost)).sum()) + off
    return Sums(float(parts.sum()), of_gradient, allowed, float(tested))


def over_all_ranks(own: Sums | Exception, exchange: AbstractExchange) -> Sums:
    """The sums of all ranks, the same on each of them.

    Args:
        own: this rank's part, or what it tripped over.

    Raises:
        Exception: on every rank, if one tripped: there what it tripped over, elsewhere a UserError.
    """
    mine = Sums(0.0, 0.0, 0.0, 0.0, failed=1.0) if isinstance(own, Exception) else own
    total = mine
    if exchange.world_size > 1:
        row = torch.tensor([dataclasses.astuple(mine)], dtype=torch.float64)
        total = Sums(*exchange.gather(row, (1,) * exchange.world_size).sum(0).tolist())
    if isinstance(own, Exception):
        raise own
    if total.failed:
        raise UserError("the influences could not be computed on another rank; its error says why")
    return total


def refusal(sums: Sums, estimator: str) -> UserError:
    """What to say of sums that do not agree."""
    causes = [*_CAUSES, *_CAUSES_OF.get(estimator, ())]
    return UserError(
        f"the influences of this step do not add up: weighted they sum to {sums.found:.4g}, by the step's own backward "
        f"pass to {sums.expected:.4g} (rounding explains {sums.allowed:.1g}). What is differentiated is not what the "
        f"student is trained on. Likely causes: {'; '.join(causes)}"
    )


_CAUSES = (
    "another loss than the loop's, or other labels (give the curriculum the loss that the loop computes)",
    "more than one call of the student before weigh",
    "a term added to the loss that weigh returned (call backward on it apart)",
    "masks drawn from a generator of the student's own (compiled dropout needs torch._inductor.config.fallback_random)",
    "state of the student that is no buffer, or params of the loss that have stepped since (let their optimizer step "
    "after after_step)",
)
_CAUSES_OF = {
    "jvp": ("a torch.autograd.Function whose jvp is not its backward (--estimator unrolled needs none)",),
    "finite_difference": (
        "finite differences, which see through detach, no_grad and gradients of one's own, and are too coarse for many "
        "layers and for bf16 (--estimator jvp and unrolled are exact)",
    ),
    "last_layer": ("a last layer whose weight is used elsewhere as well (--estimator jvp sees that)",),
}
