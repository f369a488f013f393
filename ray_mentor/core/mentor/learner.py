"""The mentor with its optimizer and version: everything that a meta update changes."""

from __future__ import annotations

import copy
import functools
import io
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ray_mentor.config import MentorConfig
from ray_mentor.core.mentor.networks import AbstractMentor, make_mentor
from ray_mentor.core.mentor.networks.base import initial_logit
from ray_mentor.core.mentor.networks.evidence import weight_of
from ray_mentor.core.mentor.pace import interval_of, rate_of
from ray_mentor.core.plain_load import load_plain
from ray_mentor.core.step.features import Features
from ray_mentor.core.step.normalisation import normalise
from ray_mentor.core.step.percentile import percentile_on_host
from ray_mentor.core.student.copies import named_copies

EVIDENCE = "evidence."
"""What the names of a mentor's buffers begin with that say something of one data set's classes."""


@dataclass(frozen=True)
class MetaUpdate:
    """The rows of one meta update: per-sample scalars of the global batch, and nothing of the student.

    Attributes:
        update_id: the global step it belongs to; an update is applied once, whoever repeats it.
        features: of the whole global batch.
        influence: s_i = ∂M/∂ŵ_i; NaN where it was not computed, infinite where what was computed is not finite, or does
            not add up.
        keep: False where example dropout set the sample weight to 0.
    """

    update_id: int
    features: Features
    influence: Float[Tensor, " batch"]
    keep: Bool[Tensor, " batch"]

    def on_host(self) -> MetaUpdate:
        """The same in the host's memory, by one copy."""
        if self.influence.device.type == "cpu":
            return self
        beside = torch.stack([self.influence.double(), self.keep.double()], dim=1)
        table = torch.cat([self.features.table(), beside], dim=1).cpu()
        features = Features.of_table(table[:, :-2], self.features.loss.dtype)
        return MetaUpdate(self.update_id, features, table[:, -2].to(self.influence.dtype), table[:, -1].bool())


@dataclass(frozen=True)
class MentorState:
    """A mentor as bytes: what the actor sends back after every update, and what a checkpoint holds.

    Attributes:
        version: meta updates applied so far.
        update_id: the last one applied; -1 for none.
        payload: params and optimizer state, readable with ``weights_only=True``.
        skipped: how many of those updates changed nothing, because something about them was not finite.
    """

    version: int
    update_id: int
    payload: bytes
    skipped: int = 0


class MentorLearner:
    """Scores features and learns from influences; deterministic, on the CPU, on one thread.

    One thread, because a matrix product's rounding may depend on how it is split: scores must be the
    same bits in the actor and in a worker's replica. Features that lie on an accelerator are scored there, by a copy of
    the network as it is after the last update: within rounding the same.
    """

    def __init__(self, config: MentorConfig, n_classes: int, seed: int) -> None:
        self.made_with = (config, n_classes, seed)
        self._config = config
        self._mentor: AbstractMentor = make_mentor(
            config.mentor,
            features=config.mentor_features,
            hidden=config.mentor_hidden,
            n_classes=n_classes,
            history_length=config.history_length,
            initial_sample_weight=config.initial_sample_weight,
            seed=seed,
            embedding=config.mentor_embedding,
            class_evidence=weight_of(config.class_evidence),
        )
        self.version = 0
        self.update_id = -1
        self.skipped = 0
        self._beside: AbstractMentor | None = None  # the network as it is, on another device

    @functools.cached_property
    def _optimizer(self) -> torch.optim.Optimizer:
        """Made when it is needed: PyTorch loads its compiler for it, some seconds."""
        return torch.optim.AdamW([p for p in self._mentor.parameters() if p.requires_grad], **self._rates)

    @property
    def n_params(self) -> int:
        """How many numbers learn."""
        return sum(param.numel() for param in self._mentor.parameters() if param.requires_grad)

    @property
    def _rates(self) -> dict[str, Any]:
        """What the settings say of the optimizer in the update that comes."""
        interval = interval_of(self._config)
        rate = rate_of(self._config, (self.version + 1) * interval) * interval
        return {"lr": rate, "weight_decay": self._config.mentor_weight_decay}

    @property
    def network(self) -> AbstractMentor:
        """The mentor itself."""
        return self._mentor

    def begin_as(self, params: Mapping[str, Tensor]) -> None:
        """Takes another mentor's params, as a fresh one with nothing learnt since, of these classes either."""
        own = {name: value for name, value in self._mentor.state_dict().items() if name.startswith(EVIDENCE)}
        self._mentor.load_state_dict({**params, **own})
        self._beside = None

    def move(self, how: Callable[[AbstractMentor], None]) -> None:
        """Lets ``how`` change the params, on one thread as all that the mentor does; no update is counted."""
        with _one_thread():
            how(self._mentor)
        self._beside = None

    def score(self, features: Features) -> Float[Tensor, " batch"]:
        """w_i = mentor_φ(x_i): a pure function of the features and the version."""
        with torch.no_grad(), _one_thread():
            return self._on(features.loss.device).sample_weights(features)

    def _on(self, device: torch.device) -> AbstractMentor:
        """The network, or what it is like, where features lie."""
        if device.type == "cpu":
            return self._mentor
        if self._beside is None:
            self._beside = copy.deepcopy(self._mentor).to(device, non_blocking=True)
        return self._beside

    def learn(self, update: MetaUpdate) -> None:
        """One Adam step on φ along ∂M/∂φ = Σ_i s_i ∂ŵ_i/∂φ; then the evidence of classes, and the anchor.

        The influences are scaled to unit mean size over the batch, so that Adam's memory means the same
        early and late in training, and for any student.

        An update is skipped, and the mentor stays as it was, if an influence is infinite, or if params, optimizer state
        or the batch's weights are not finite after it. It counts as applied all the same: whoever repeats it gets the
        same answer.
        """
        with _one_thread():
            dtype = next(self._mentor.parameters()).dtype
            if update.influence.to(dtype).isinf().any() or not self._stepped(update):
                self.skipped += 1
        self._beside = None
        self.version += 1
        self.update_id = update.update_id

    def _stepped(self, update: MetaUpdate) -> bool:
        """Takes the step, or leaves everything as it was."""
        held = self._mentor.state_dict()
        before = named_copies(held), {param: named_copies(of) for param, of in self._optimizer.state.items()}
        self._set_rates()
        self._optimizer.zero_grad()
        self.objective(update).backward()
        self._optimizer.step()
        if self._mentor.evidence is not None:
            self._mentor.evidence.take_in(update.features, update.influence)
        with torch.no_grad():
            logits = self._mentor.logits(update.features)[~update.features.trusted]
        if not logits.isnan().any():  # any other gives a weight, and still does when all are shifted
            self._anchor(logits)
            if self._is_finite(held.values()):
                return True
        self._put_back(*before)
        return False

    def _put_back(self, state: dict[str, Tensor], moments: dict[Tensor, dict[str, Tensor]]) -> None:
        self._mentor.load_state_dict(state)
        self._optimizer.state.clear()
        self._optimizer.state.update(moments)

    def _is_finite(self, held: Iterable[Tensor]) -> bool:
        """Whether these params and buffers are, and the optimizer's state."""
        moments = [value for state in self._optimizer.state.values() for value in state.values()]
        largest = torch._foreach_norm([*held, *moments], math.inf)
        return bool(torch.stack([each.double() for each in largest]).isfinite().all())

    def objective(self, update: MetaUpdate) -> Float[Tensor, ""]:
        """Σ_i s̄_i ŵ_i(φ) + λ·KL(p(φ) ‖ uniform): its first part's gradient in φ is the hypergradient, scaled.

        s̄ is s over its mean size; where influences are known of some samples alone, they stand for the others too.
        p = w/Σw, without the trusted samples, whose weight is 1 whatever φ is. The first part is linear in ŵ: alone,
        it pays to put all weight on the samples that help most, and the mentor ends with weights of 0 and 1 that shut
        whole classes out. With λ the best weights are p_i ∝ exp(−E[s̄ | x_i]/λ): as far apart as the evidence is strong.
        """
        w = self._mentor.sample_weights(update.features)
        kept = torch.where(update.keep, w, 0.0)
        known = update.influence.to(w.dtype).isfinite()
        influence = torch.where(known, update.influence, 0.0).to(w.dtype)
        mean_size = influence.abs().sum() / known.sum().clamp(min=1)
        scaled = influence / mean_size.clamp(min=torch.finfo(w.dtype).tiny)
        share = len(known) / known.sum().clamp(min=1).to(w.dtype)
        hyper = share * (scaled * normalise(kept, self._config.normalisation)).sum()
        weighed = update.keep & ~update.features.trusted
        return hyper + self._config.entropy * divergence(kept[weighed]) if self._config.entropy else hyper

    @torch.no_grad()
    def _anchor(self, logits: Float[Tensor, " untrusted"]) -> None:
        """Shifts all logits together until the upper quartile of the batch's sample weights is the anchor.

        Of those that the mentor gives: a trusted sample's is no mentor's doing.

        Under ``sum`` normalisation w and c·w train the student alike, so M says nothing about the scale of
        w: left free, it drifts to where the sigmoid is flat and the mentor learns no more (all weights 1),
        or to 0.01, right in ratio and useless to read. A shift of the logits scales small weights and
        compresses those near 1; it never changes the order of two samples.
        """
        if self._config.anchor == 0 or self._config.normalisation != "sum":
            return
        if len(logits) == 0:
            return
        shift = initial_logit(self._config.anchor) - percentile_on_host(logits.numpy(), 0.75)
        if shift.isfinite():
            self._mentor.shift(shift)

    def state(self) -> MentorState:
        """Everything that :meth:`load` needs."""
        buffer = io.BytesIO()
        torch.save({"mentor": self._mentor.state_dict(), "optimizer": self._optimizer.state_dict()}, buffer)
        return MentorState(self.version, self.update_id, buffer.getvalue(), self.skipped)

    def load(self, state: MentorState) -> None:
        """Becomes the mentor that ``state`` was taken of, whatever this one was; it learns by its own settings."""
        payload = load_plain(state.payload)
        self._mentor.load_state_dict(payload["mentor"])
        self._optimizer.load_state_dict(payload["optimizer"])
        self.version = state.version
        self.update_id = state.update_id
        self.skipped = state.skipped
        self._beside = None
        self._set_rates()

    def _set_rates(self) -> None:
        for group in self._optimizer.param_groups:
            group.update(self._rates)


def divergence(sample_weights: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """KL(p ‖ uniform) = Σ_i p_i log(n·p_i), p = w/Σw, in nats: 0 for equal weights, log n for all on one sample."""
    tiny = torch.finfo(sample_weights.dtype).tiny
    p = sample_weights.clamp(min=tiny) / sample_weights.sum().clamp(min=tiny)
    return (p * (len(p) * p).clamp(min=tiny).log()).sum()


class _one_thread:  # noqa: N801 - a context manager, read as a phrase
    """Runs a block on one intra-op thread."""

    def __enter__(self) -> None:
        self._threads = torch.get_num_threads()
        if self._threads != 1:
            torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        if self._threads != 1:
            torch.set_num_threads(self._threads)
