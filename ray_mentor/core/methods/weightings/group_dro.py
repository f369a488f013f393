"""Group DRO (Sagawa et al. 2020): the loss of the worst group, by shares of groups that grow with their losses."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from ray_mentor.core.epoch import AtEpoch, EpochEnd
from ray_mentor.core.methods.weightings.base import AbstractWeighting
from ray_mentor.core.step.observation import Observation
from ray_mentor.errors import UserError, listed

GROUPS_MISSING = (
    "method is 'group-dro', which goes by groups, but nobody says of which each sample is; name their column: "
    "--group-column, of a table that the trainer is given"
)
_SHOWN = 10  # groups that a note names


class GroupDRO(AtEpoch, AbstractWeighting):
    """q_g ← q_g·exp(η·L_g)/Σ, then the student's loss is Σ_g q_g·L_g, over the groups that the global batch has.

    L_g is the mean loss of the n_g samples of group g in the global batch; a group that is absent keeps its share but
    for the sum. So w_i = q_g/n_g, in units of the largest, and ŵ_i = (q_g/n_g)/Σ of the q of those groups that are
    there. Trusted samples that are trained on count as others of their group do. L_g is of the loss that features are
    made of: cross-entropy, where the student is trained on a robust one.

    What is kept is log q: the share of a group whose losses were small for long may be less than a number holds
    (q < 1e-308), and it comes back by its losses all the same.

    This is the released code's step, without its adjustments by group sizes. There, batches have as many of each group
    in the mean, which is what the mixture `uniform` over groups gives; without it, batches are what they are, and a
    group that few samples are of is absent from some.

    Args:
        rate: η, >= 0.

    Attributes:
        state: log q of each group, float64, after the last step that was taken; of a group that nobody trains on a
            number whose exponential is 0. None before the groups are known.
        shares: q, likewise.
    """

    weighs_trusted = True

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._names: tuple[str, ...] = ()
        self._log_shares: Float[Tensor, " groups"] | None = None
        self._next: Float[Tensor, " groups"] | None = None

    @property
    def state(self) -> Tensor | None:
        """On the host."""
        return None if self._log_shares is None else self._log_shares.cpu()

    @state.setter
    def state(self, log_shares: Tensor | None) -> None:
        self._log_shares, self._next = log_shares, None

    @property
    def shares(self) -> Tensor | None:
        """On the host."""
        return None if self.state is None else self.state.exp()

    @property
    def named(self) -> dict[str, float]:
        """Share q of each group, by name; empty before they are known."""
        return {} if self.shares is None else dict(zip(self._names, self.shares.tolist(), strict=True))

    def take_groups(self, sizes: Mapping[str, int] | None) -> None:
        """Begins with equal shares of the groups that are trained on, and 0 of others.

        Args:
            sizes: samples of each that are trained on, by name; None: nobody knows.

        Raises:
            UserError: nobody does.
        """
        if sizes is None:
            raise UserError(GROUPS_MISSING)
        there = torch.tensor(list(sizes.values())) > 0
        self._names = tuple(sizes)
        self.state = (there.double() / there.sum()).log().clamp(min=_NONE)

    @override
    def __call__(self, observation: Observation) -> Float[Tensor, " batch"]:
        groups, losses = observation.groups, observation.features.loss.double()
        assert groups is not None, "a method that goes by groups is told of them"
        assert self._log_shares is not None, "and begins with shares of them"
        groups, log_shares = groups.to(losses.device), self._log_shares.to(losses.device)
        counts = torch.zeros_like(log_shares).index_add(0, groups, torch.ones_like(losses))
        means = torch.zeros_like(log_shares).index_add(0, groups, losses) / counts.clamp(min=1)
        self._next = torch.log_softmax(log_shares + self._rate * means, dim=0)  # what is 0 stays 0
        each = (self._next - counts.clamp(min=1).log())[groups]
        return (each - each.max()).exp().to(observation.features.loss)

    @override
    def stepped(self) -> None:
        if self._next is not None:
            self._log_shares, self._next = self._next, None

    @override
    def at_epoch(self, end: EpochEnd) -> None:
        """Says at the end of training what the shares have come to."""
        if end.progress < 1 or self.shares is None:
            return
        shares = sorted(((q, name) for name, q in self.named.items()), reverse=True)
        end.tell(f"group-dro ends with shares {listed((f'{name} {q:.3f}' for q, name in shares if q > 0), _SHOWN)}")

    @override
    def could_be(self, state: Tensor, n_classes: int) -> bool:
        one_each = self._log_shares is not None and state.shape == self._log_shares.shape
        return one_each and bool((state <= 0).all()) and abs(float(state.logsumexp(0))) < _ROUNDING


_ROUNDING = 1e-6
_NONE = -1e300  # log q of nobody's group: a checkpoint holds finite numbers, and no sum of losses comes near
