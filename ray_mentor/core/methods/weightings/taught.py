"""MentorNet DD: a mentor that is taught, at chosen points of training, which labels are right (Jiang et al. 2018)."""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.config import MentorConfig
from ray_mentor.core.epoch import AtEpoch, EpochEnd
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.mentor.networks import MentorNet, MLPMentor
from ray_mentor.core.mentor.offline.lesson import check_can_be_taught, teach
from ray_mentor.core.mentor.offline.supervised import Rows
from ray_mentor.core.methods.weightings.base import AbstractWeighting
from ray_mentor.core.step.features import Features
from ray_mentor.core.step.observation import Observation
from ray_mentor.errors import UserError

_SEED = 0  # of the mentor's first params and of what is held out from it
_LEAST, _MOST = 0.01, 0.99  # noise rate that rows are made for


class Taught(AtEpoch, AbstractWeighting):
    """w_i = mentor(ℓ_i, d_i, ...), taught at the first end of an epoch behind each point; before the first one, 1.

    The rows that it is taught on are the trusted samples that are not held out, each with every label: its own, which
    is right, and the C − 1 others. Together they count as labels do that are wrong at the noise rate of the training
    data (:func:`noise_rate`), whichever class they are wrong by. Their losses are those of the student as it is then,
    in evaluation mode, their difference that from the running percentile. Between two points the mentor is frozen, and
    the progress that it sees, too.

    Attributes:
        state: progress when it was taught last, number of classes, params.
    """

    def __init__(self, config: MentorConfig, points: tuple[float, ...]) -> None:
        """Takes what the mentor is made of, and the shares of training at which it is taught.

        Raises:
            UserError: no point, or a mentor that sees what trusted samples don't have.
        """
        check_can_be_taught(config)
        if not points:
            raise UserError(
                "taught_at is (), but the mentor of mentornet-dd is taught during training; give at least one point, "
                "e.g. --taught-at 0.21 0.75, or take one that was taught before: --method mentornet-frozen "
                "--mentor-from RUN"
            )
        self._config = dataclasses.replace(
            config, initial_sample_weight=0.5, class_evidence=0.0
        )  # it is taught what to say
        self._points = points
        self._learner: MentorLearner | None = None
        self._made_of: Tensor | None = None

    def __call__(self, observation: Observation) -> Float[Tensor, " batch"]:
        features = observation.features
        if self.state is None:
            return torch.ones_like(features.loss)
        progress = torch.full_like(features.progress, float(self.state[0]))
        return self._mentor().score(dataclasses.replace(features, progress=progress)).to(features.loss)

    def at_epoch(self, end: EpochEnd) -> None:
        last = 0.0 if self.state is None else float(self.state[0])
        if not any(last < point <= end.progress for point in self._points):
            return
        table, percentile = end.labelled(), end.percentile
        if percentile is None or not table.isfinite().all():
            return
        classes = table.shape[1] - 1
        learner = MentorLearner(self._config, classes, _SEED) if self.state is None else self._mentor()
        rate = noise_rate(table, percentile, self._config.loss_percentile)
        rows, sample = rows_of(table, percentile, rate, end.progress)
        lesson = teach(learner, rows, sample, _SEED)
        about = torch.tensor([end.progress, classes], dtype=torch.float64)
        self.state = end.agreed(torch.cat([about, _flat(learner)]))
        end.tell(f"at {100 * end.progress:.0f} % of training {lesson}")

    def could_be(self, state: Tensor, n_classes: int) -> bool:
        size = 2 + len(_flat(MentorLearner(self._config, n_classes, _SEED)))
        return state.shape == (size,) and 0 < float(state[0]) <= 1 and float(state[1]) == n_classes

    @property
    def frozen(self) -> MentorLearner | None:
        """The mentor as it weighed last, whatever progress another run shows it; None before its first lesson."""
        if self.state is None:
            return None
        learner = MentorLearner(self._config, int(self.state[1]), _SEED)
        learner.begin_as(self._mentor().network.state_dict())
        network, progress = learner.network, torch.full((1,), float(self.state[0]))
        assert isinstance(network, MLPMentor | MentorNet), "others are not taught"
        network.hold(progress)
        return learner

    def _mentor(self) -> MentorLearner:
        """The one that the state is of."""
        assert self.state is not None, "it was taught"
        if self._learner is None or self._made_of is not self.state:
            self._learner = MentorLearner(self._config, int(self.state[1]), _SEED)
            params, start = self._learner.network.state_dict(), 2
            for name, value in params.items():
                params[name] = self.state[start : start + value.numel()].view(value.shape).to(value.dtype)
                start += value.numel()
            self._learner.begin_as(params)
            self._made_of = self.state
        return self._learner


def noise_rate(table: Float[Tensor, "samples classes+1"], percentile: float, share: float) -> float:
    """ρ with share = (1 − ρ)·F(q) + ρ·G(q), F and G being how many right and wrong labels have a loss of at most q.

    q is the running percentile of the training losses, of which ``share`` lie below it: so many of each kind there must
    be among them. A half where F(q) ≤ G(q), since then nothing tells the two apart.

    Args:
        table: the loss of each trusted sample under each label, and behind them the right one.
        percentile: q.
        share: of training losses up to q.
    """
    right = _is_right(table)
    below = table[:, :-1] <= percentile
    of_right, of_wrong = below[right].double().mean(), below[~right].double().mean()
    if of_right <= of_wrong:
        return 0.5
    return float(((of_right - share) / (of_right - of_wrong)).clamp(_LEAST, _MOST))


def rows_of(
    table: Float[Tensor, "samples classes+1"], percentile: float, rate: float, progress: float
) -> tuple[Rows, Tensor]:
    """A row for each trusted sample and label, and which sample it is of; 1 − ρ of the mass lies on right labels."""
    n, classes = table.shape[0], table.shape[1] - 1
    right, loss = _is_right(table), table[:, :-1].float()
    mass = torch.where(right, 1 - rate, rate / (classes - 1))
    flat = loss.flatten()
    label = torch.arange(classes).expand(n, classes).flatten()
    features = Features(flat, flat - percentile, label, torch.full_like(flat, progress), flat.new_empty(len(flat), 0))
    return Rows(features, right.flatten().float(), mass.flatten()), torch.arange(n).repeat_interleave(classes)


def _is_right(table: Float[Tensor, "samples classes+1"]) -> Tensor:
    return torch.arange(table.shape[1] - 1) == table[:, -1:]


def _flat(learner: MentorLearner) -> Float[Tensor, " params"]:
    return torch.cat([value.detach().double().flatten() for value in learner.network.state_dict().values()])
