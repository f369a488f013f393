"""The default mentor: a small tanh network on chosen feature columns."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from ray_mentor.config import FEATURES
from ray_mentor.core.mentor.networks.base import AbstractMentor, check_sizes
from ray_mentor.core.step.features import Features
from ray_mentor.errors import UserError, one_of, shown


@final
class MLPMentor(AbstractMentor):
    """z_i = a · h_K(... tanh(W_1 x_i + b_1)) + logit(w_0), with a = 0 in a fresh mentor.

    Columns of x_i, in the order of ``features``:
        loss, loss_difference: as they are, in nats and not squashed: the scale of a loss is meaningful
            (log C is chance), and tanh bounds what an outlier can do.
        label: one-hot, C columns. A linear layer on a one-hot column *is* a learned embedding, as wide as
            the first hidden layer, so an embedding of its own would add a width to choose and nothing else.
        progress: as it is, in [0, 1).
        history: H columns, newest first.
        class_share: log(N_y·C/N), N_y the training samples of the given class; 0 of classes of equal size.

    The output layer starts at a = 0, so a fresh mentor gives every sample exactly the same sample weight
    w_0; the hidden layers get their first gradient one mentor step later. One hidden layer of 100 on the
    loss is the form of Meta-Weight-Net (Shu et al., NeurIPS 2019).
    """

    log_shares: Tensor

    def __init__(
        self,
        features: tuple[str, ...],
        hidden: tuple[int, ...],
        n_classes: int,
        history_length: int,
        initial_sample_weight: float,
        seed: int = 0,
    ) -> None:
        """Builds a fresh mentor; the global random state is neither read nor changed.

        Args:
            features: names out of :data:`ray_mentor.config.FEATURES`, without repeats.
            hidden: widths of the tanh layers, each >= 1; empty for a linear mentor.
            n_classes: C, >= 1; read by the feature ``label`` only.
            history_length: H, >= 1 if ``history`` is among the features.
            initial_sample_weight: w_0, in (0, 1).
            seed: of the hidden layers' initial params.

        Raises:
            UserError: an argument outside these rules.
        """
        super().__init__(initial_sample_weight)
        _check(features, hidden, n_classes, history_length)
        self.feature_names = features
        self._are_plain = {*features} <= {"loss", "loss_difference", "progress"}  # all of the losses' type
        self.n_classes = n_classes
        self.history_length = history_length
        self._widths = {"label": n_classes, "history": history_length}
        widths = (sum(self._widths.get(name, 1) for name in features), *hidden)
        _check_size(widths)
        self.body = nn.Sequential(*(layer for pair in itertools.pairwise(widths) for layer in _tanh_layer(*pair)))
        self.head = _empty_linear(widths[-1], 1)
        # Of the one-hot label's C columns one is non-zero, so C must not shrink the other columns' params.
        active = sum(history_length if name == "history" else 1 for name in features)
        self._initialise((active, *hidden), seed)
        if self.sees_sizes:
            self.register_buffer("log_shares", torch.zeros(n_classes, device="cpu"))

    @property
    @override
    def sees_sizes(self) -> bool:
        return "class_share" in self.feature_names

    @override
    @torch.no_grad()
    def take_sizes(self, sizes: Sequence[int]) -> None:
        check_sizes(sizes, self.n_classes)
        counts = torch.tensor(sizes, dtype=torch.float64, device="cpu").clamp(min=1)
        self.log_shares.copy_((counts * len(counts) / counts.sum()).log())

    def forward(self, features: Features) -> Float[Tensor, " batch"]:
        """Returns the logits z_i; labels lie in 0..C-1."""
        rows = self.columns(features)
        for layer in self.body:
            rows = linear(layer, rows) if isinstance(layer, nn.Linear) else torch.tanh(rows)
        return linear(self.head, rows).squeeze(1) + self.logit_offset

    @torch.no_grad()
    def hold(self, progress: Float[Tensor, " 1"]) -> None:
        """From now on it sees this progress, whatever it is shown: W_1's column of it goes into b_1."""
        if "progress" not in self.feature_names:
            return
        first = next(layer for layer in (*self.body, self.head) if isinstance(layer, nn.Linear))
        before = self.feature_names[: self.feature_names.index("progress")]
        column = sum(self._widths.get(name, 1) for name in before)
        first.bias.add_(first.weight[:, column] * progress.to(first.weight))
        first.weight[:, column] = 0

    def columns(self, features: Features) -> Float[Tensor, "batch columns"]:
        """Returns the network's input rows x_i.

        Raises:
            UserError: a history of another length than the mentor was built for.
        """
        dtype = self.head.weight.dtype
        if self._are_plain:
            return torch.stack([getattr(features, name) for name in self.feature_names], dim=1).to(dtype)
        return torch.cat([self._column(name, features, dtype) for name in self.feature_names], dim=1)

    def _column(self, name: str, features: Features, dtype: torch.dtype) -> Float[Tensor, "batch width"]:
        if name == "label":
            classes = torch.arange(self.n_classes, device=features.label.device)
            return (features.label[:, None] == classes).to(dtype)  # F.one_hot waits for the labels, to look at them
        if name == "class_share":
            return self.log_shares[features.label.long()].to(dtype)[:, None]
        if name == "history":
            return self._history(features).to(dtype)
        column: Tensor = getattr(features, name)
        return column[:, None] if column.dtype == dtype else column.to(dtype)[:, None]

    def _history(self, features: Features) -> Float[Tensor, "batch length"]:
        length = features.history.shape[1]
        if length != self.history_length:
            raise UserError(
                f"the features hold a history of {length} losses, but this mentor was built for history_length "
                f"{self.history_length}; use the same history_length for both"
            )
        return features.history

    @torch.no_grad()
    def _initialise(self, fan_ins: tuple[int, ...], seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        layers = [layer for layer in self.body if isinstance(layer, nn.Linear)]
        for layer, fan_in in zip(layers, fan_ins, strict=False):
            for tensor in (layer.weight, layer.bias):
                tensor.uniform_(-(fan_in**-0.5), fan_in**-0.5, generator=generator)
        self.head.weight.zero_()
        self.head.bias.zero_()


def linear(layer: nn.Linear, rows: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch outputs"]:
    """The layer's outputs; a module's call looks for hooks, for as long as a small product takes."""
    return F.linear(rows, layer.weight, layer.bias)


def _empty_linear(n_inputs: int, n_outputs: int) -> nn.Linear:
    """A linear layer without initial values: PyTorch's own would draw from the global random state."""
    layer = nn.Linear(n_inputs, n_outputs, device="meta")
    layer.weight, layer.bias = (nn.Parameter(torch.empty(of.shape)) for of in (layer.weight, layer.bias))
    return layer


def _tanh_layer(n_inputs: int, n_outputs: int) -> tuple[nn.Module, nn.Module]:
    return _empty_linear(n_inputs, n_outputs), nn.Tanh()


def _check(features: tuple[str, ...], hidden: tuple[int, ...], n_classes: int, history_length: int) -> None:
    for name in features:
        one_of(name, FEATURES, "mentor feature")
    if not features:
        raise UserError(f"features is (), but a mentor needs at least one; valid: {', '.join(FEATURES)}")
    if len(set(features)) != len(features):
        raise UserError(f"features is {features!r}, but a feature may be named only once; drop the repeats")
    if any(width < 1 for width in hidden):
        raise UserError(f"hidden is {hidden!r}, but every width must be at least 1; use () for a linear mentor")
    if n_classes < 1:
        raise UserError(f"n_classes is {n_classes!r}, but it must be at least 1; give the number of classes")
    if "history" in features and history_length < 1:
        raise UserError(
            f"history_length is {history_length!r}, but the feature 'history' needs at least 1; "
            "give a history_length or drop the feature"
        )


_MOST_PARAMS = 10_000_000  # the whole mentor travels after every meta update


def _check_size(widths: tuple[int, ...]) -> None:
    """Before anything is allocated."""
    params = sum((n_inputs + 1) * n_outputs for n_inputs, n_outputs in itertools.pairwise((*widths, 1)))
    if params > _MOST_PARAMS:
        raise UserError(
            f"hidden is {shown(widths[1:])}, which on {widths[0]:,} inputs makes {params:,} params, but a mentor may "
            f"have {_MOST_PARAMS:,}; give smaller widths, or fewer features"
        )
