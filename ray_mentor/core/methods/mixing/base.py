"""The interface of a mixing, what all of them do, and the one that mixes nothing."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ray_mentor.core.batch import Arguments, Batch
from ray_mentor.errors import UserError


class AbstractMixing(ABC):
    """A batch in, a batch of the same rows out.

    Attributes:
        by_weight: whether it draws by sample weight. The student then looks at the batch as it is first, without
            learning, and the batch is mixed when it has been weighed. Others mix before it sees a batch.
        as_memorised: whether it mixes in as many steps as the student memorises
            (:class:`~ray_mentor.core.step.memorising.Memorising`), rather than in all; by weight only.
        weighs_anew: whether the mixed batch is weighed, too, and learnt from under these weights; by weight only.
    """

    by_weight: ClassVar[bool] = False
    as_memorised: ClassVar[bool] = False
    weighs_anew: ClassVar[bool] = False

    @abstractmethod
    def __call__(
        self, batch: Batch, generator: torch.Generator, sample_weights: Float[Tensor, " batch"] | None = None
    ) -> Batch:
        """Mixes one rank's batch; all randomness comes from ``generator`` (on the CPU).

        Args:
            sample_weights: of this rank's samples; given where ``by_weight``.
        """


class NoMixing(AbstractMixing):
    """Every sample as it is."""

    def __call__(
        self, batch: Batch, generator: torch.Generator, sample_weights: Float[Tensor, " batch"] | None = None
    ) -> Batch:
        return batch


def mixed(batch: Batch, share: float | Float[Tensor, " batch"], partner: Int[Tensor, " batch"], mixing: str) -> Batch:
    """x̃_i = λ·x_i + (1 − λ)·x_π(i), and the labels beside each other, for a loss that is mixed likewise.

    Args:
        share: λ, one for all or one each.
        partner: π, rows of the batch.
        mixing: its name, for the error.

    Raises:
        UserError: inputs that are more than one tensor, or integers wider than the bytes of an image.
    """
    if isinstance(batch.inputs, Arguments):
        raise UserError(f"mixing is {mixing!r}, which mixes one tensor of inputs; a student of several cannot be mixed")
    require_floats(mixing, is_float=batch.inputs.is_floating_point() or batch.inputs.dtype == torch.uint8)
    partner = partner.to(batch.labels.device)
    dtype = batch.inputs.dtype if batch.inputs.is_floating_point() else torch.get_default_dtype()
    exact = torch.as_tensor(share, dtype=torch.float64).expand(len(batch))
    own, theirs = (value.to(batch.inputs.device, dtype) for value in (exact, 1 - exact))
    shape = (len(batch), *(1,) * (batch.inputs.ndim - 1))
    inputs = own.view(shape) * batch.inputs + theirs.view(shape) * batch.inputs[partner]
    return dataclasses.replace(
        batch,
        inputs=inputs,
        partner_labels=batch.labels[partner],
        partner_trusted=None if batch.trusted is None else batch.trusted[partner],
        share=own,
    )


def require_floats(mixing: str, *, is_float: bool) -> None:
    """Refuses to blend ids or codes.

    Raises:
        UserError: unless the inputs are floats.
    """
    if not is_float:
        raise UserError(
            f"mixing is {mixing!r}, which blends inputs, but these are integers, and between two ids or codes lies no "
            "third; give mixing='none', or inputs that are floats"
        )


def drawn_partners(chances: Float[Tensor, " batch"], generator: torch.Generator) -> Int[Tensor, " batch"]:
    """As many rows as there are, each drawn with P(j) ∝ chances, with replacement, where the chances lie.

    To the bit what torch.multinomial draws on the CPU; nothing is read by the host.

    Args:
        chances: in float64, at least 0, their sum above 0.
        generator: on the CPU.
    """
    drawn = torch.rand(len(chances), generator=generator, dtype=torch.float64)
    reached = chances.cumsum(dim=0)
    places = torch.searchsorted(reached / reached[-1:], drawn.to(chances.device, non_blocking=True))
    return places.clamp(max=len(chances) - 1)


def own_share(alpha: float, generator: torch.Generator) -> float:
    """λ ~ Beta(α, α), folded to [1/2, 1].

    A row's own sample keeps the larger share, and the row's sample weight, history and ledger entry are about it.
    """
    share = float(drawn_shares(alpha, generator, 1))
    return max(share, 1 - share)


def drawn_shares(alpha: float, generator: torch.Generator, count: int) -> Float[Tensor, " count"]:
    """So many draws of λ ~ Beta(α, α), in float64."""
    seed = int(torch.randint(2**31, (1,), generator=generator))
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, count))
