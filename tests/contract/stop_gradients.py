"""Students and losses whose gradient, as autograd has it, is not the derivative of their values."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ray_mentor.core.losses import PerSampleLoss, cross_entropy

FEATURES, WIDTH, CLASSES = 5, 7, 3


class Student(nn.Module):
    """Two layers, with something between them."""

    def __init__(self, between: Callable[[Tensor], Tensor] | None = None, scale: float = 1.0) -> None:
        super().__init__()
        self.enter = nn.Linear(FEATURES, WIDTH)
        self.leave = nn.Linear(WIDTH, CLASSES)
        self.change = between
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.leave(self.between(torch.tanh(self.enter(x))))

    def between(self, hidden: Tensor) -> Tensor:
        return hidden if self.change is None else self.change(hidden)


# What lies between the layers


def rms_without_gradient(hidden: Tensor) -> Tensor:
    with torch.no_grad():
        rms = hidden.square().mean(dim=1, keepdim=True).sqrt()
    return hidden / rms


@torch.no_grad()
def rounded(hidden: Tensor) -> Tensor:
    return (3 * hidden).round() / 3


def rounded_straight_through(hidden: Tensor) -> Tensor:
    """By no_grad."""
    with torch.no_grad():
        residue = rounded(hidden) - hidden
    return hidden + residue


def detached_straight_through(hidden: Tensor) -> Tensor:
    return hidden + (rounded(hidden) - hidden).detach()


def gate_without_gradient(hidden: Tensor) -> Tensor:
    with torch.set_grad_enabled(False):
        gate = torch.sigmoid(2 * hidden)
    return hidden * gate


def gate_in_inference_mode(hidden: Tensor) -> Tensor:
    with torch.inference_mode():
        gate = torch.sigmoid(2 * hidden)
    return hidden * gate.clone()


def gradient_again_inside(hidden: Tensor) -> Tensor:
    """enable_grad inside no_grad: there the gradient flows."""
    with torch.no_grad():
        stopped = torch.sigmoid(2 * hidden)
        with torch.enable_grad():
            flows = torch.sigmoid(hidden)
        stopped = stopped * flows
    return hidden * stopped + flows.square()


def scaled_in_place(hidden: Tensor) -> Tensor:
    """The value changes under no_grad, the gradient stays that of the value before."""
    hidden = 1.0 * hidden
    with torch.no_grad():
        hidden.mul_(hidden.abs() + 0.3)
        hidden[:, :2] = hidden[:, 2:4] ** 2
        hidden[:, 4].copy_(hidden[:, 5])
        hidden.T[3].add_(1.0)
    return torch.sin(hidden)


def masked_by_dropout(hidden: Tensor) -> Tensor:
    with torch.no_grad():
        mask = functional.dropout(torch.ones_like(hidden), 0.4) * hidden.cos()
    return functional.dropout(hidden * mask, 0.2)


def attended_without_gradient(hidden: Tensor) -> Tensor:
    """Attention whose pattern is a constant."""
    with torch.no_grad():
        pattern = torch.softmax(hidden @ hidden.T, dim=1)
    return pattern @ hidden


def checkpointed(hidden: Tensor) -> Tensor:
    kept: Tensor = checkpoint(rms_without_gradient, hidden, use_reentrant=False)
    return kept


class Hidden(nn.Module):
    """A tensor hook: the gradient is turned round."""

    def forward(self, hidden: Tensor) -> Tensor:
        turned = 1.0 * hidden
        turned.register_hook(lambda slope: -0.4 * slope)
        return turned


class Sign(torch.autograd.Function):
    """Binarised, with a surrogate gradient, and no forward mode."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.sign(x)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return slope * (x.abs() < 0.6)


class SignWithForwardMode(Sign):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        return torch.sign(x)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return tangent * (x.abs() < 0.6)


class Reversal(torch.autograd.Function):
    """Gradient reversal (Ganin & Lempitsky 2015)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:  # type: ignore[override]
        return -0.4 * slope


class ReversalWithForwardMode(Reversal):
    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:  # type: ignore[override]
        return -0.4 * tangent


def surrogate_without_gradient(hidden: Tensor) -> Tensor:
    """Custom functions under no_grad, with and without forward mode: constants."""
    with torch.no_grad():
        gate = 1.5 + Sign.apply(hidden) * SignWithForwardMode.apply(hidden - 0.1) / 2
    return hidden * gate


# Students with params or buffers of their own for it


class Quantised(Student):
    """The nearest of a few codes, straight through (van den Oord et al. 2017), and codes that are drawn along."""

    def __init__(self) -> None:
        super().__init__()
        self.codes = nn.Parameter(torch.randn(6, WIDTH))

    def between(self, hidden: Tensor) -> Tensor:
        nearest = (self.codes.square().sum(dim=1) - 2 * hidden @ self.codes.T).argmin(dim=1)
        code = self.codes[nearest]
        pull = (code - hidden.detach()).square().mean(dim=1, keepdim=True)
        return hidden + (code - hidden).detach() + 0.1 * pull


class RunningMean(Student):
    """Centres by a running mean that it updates under no_grad."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(WIDTH))

    def between(self, hidden: Tensor) -> Tensor:
        with torch.no_grad():
            self.mean.mul_(0.5).add_(hidden.mean(dim=0), alpha=0.5)
        return hidden - self.mean


class SpectralNorm(Student):
    """Power iteration under no_grad."""

    def __init__(self) -> None:
        super().__init__()
        nn.utils.parametrizations.spectral_norm(self.enter)


class Teacher(Student):
    """A copy of the first layer, without gradients, says under no_grad how much each unit counts."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher = copy.deepcopy(self.enter)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.enter(x))
        with torch.no_grad():
            count = torch.sigmoid(self.teacher(x) + self.enter(x))
        return self.leave(hidden * count)


class CheckpointedLayer(Student):
    """A layer of its own whose activations are computed again in the backward pass."""

    def __init__(self, use_reentrant: bool = False) -> None:
        super().__init__()
        self.middle = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Dropout(0.3))
        self.use_reentrant = use_reentrant

    def between(self, hidden: Tensor) -> Tensor:
        kept: Tensor = checkpoint(self.middle, hidden, use_reentrant=self.use_reentrant)
        return kept


class ClippedWeights(Student):
    """Its weights are clipped, under no_grad, in each forward pass."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.enter.weight.clamp_(-0.25, 0.25)
        return super().forward(x)


class Forces(Student):
    """Returns the slope of an energy: a gradient inside the forward pass."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            place = x.detach().requires_grad_()
            energy = torch.tanh(self.enter(place)).pow(2).sum()
            (force,) = torch.autograd.grad(energy, place, create_graph=True)
        return self.leave(torch.cat([force, x[:, :2]], dim=1))


# Losses


def self_weighted(logits: Tensor, labels: Tensor) -> Tensor:
    losses = cross_entropy(logits, labels)
    with torch.no_grad():
        weights = torch.exp(-losses)
    return weights * losses


def focal_without_gradient(logits: Tensor, labels: Tensor) -> Tensor:
    losses = cross_entropy(logits, labels)
    with torch.no_grad():
        factor = (1 - torch.exp(-losses)) ** 2
    return factor * losses


def focal_detached(logits: Tensor, labels: Tensor) -> Tensor:
    losses = cross_entropy(logits, labels)
    return (1 - torch.exp(-losses.detach())) ** 2 * losses


def bootstrapped(logits: Tensor, labels: Tensor) -> Tensor:
    """A share of the target is the student's own prediction (Reed et al. 2014)."""
    with torch.no_grad():
        target = 0.7 * functional.one_hot(labels, CLASSES) + 0.3 * torch.softmax(logits, dim=1)
    return -(target * torch.log_softmax(logits, dim=1)).sum(dim=1)


def bootstrapped_detached(logits: Tensor, labels: Tensor) -> Tensor:
    target = 0.7 * functional.one_hot(labels, CLASSES) + 0.3 * torch.softmax(logits, dim=1).detach()
    return -(target * torch.log_softmax(logits, dim=1)).sum(dim=1)


def normal_with_small_variance(outputs: Tensor, labels: Tensor) -> Tensor:
    """PyTorch's own clamps the variance under no_grad; here about half of them lie below."""
    variance = torch.sigmoid(outputs[:, 1] - outputs[:, 1].detach().median())
    return functional.gaussian_nll_loss(outputs[:, 0], labels.to(outputs), variance, eps=0.5, reduction="none")


@dataclass(frozen=True)
class Stop:
    """A student and its loss.

    Attributes:
        jvp: whether forward mode is exact; else it is refused.
        unrolled: likewise for double backward.
        values: whether its gradient is the derivative of its values after all.
    """

    student: Callable[[], nn.Module]
    loss: PerSampleLoss = cross_entropy
    jvp: bool = True
    unrolled: bool = True
    values: bool = False


def between(change: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
    return lambda: Student(change)


STOPS: dict[str, Stop] = {
    "loss: self-weighted": Stop(lambda: Student(scale=3.0), self_weighted),
    "loss: focal factor": Stop(Student, focal_without_gradient),
    "loss: focal factor, detached": Stop(Student, focal_detached),
    "loss: bootstrapped": Stop(lambda: Student(scale=3.0), bootstrapped),
    "loss: bootstrapped, detached": Stop(lambda: Student(scale=3.0), bootstrapped_detached),
    "loss: normal, small variance": Stop(lambda: Student(scale=3.0), normal_with_small_variance),
    "root mean square": Stop(between(rms_without_gradient)),
    "straight through": Stop(between(rounded_straight_through)),
    "straight through, detached": Stop(between(detached_straight_through)),
    "gate, set_grad_enabled": Stop(between(gate_without_gradient)),
    "gate, inference_mode": Stop(between(gate_in_inference_mode)),
    "enable_grad inside no_grad": Stop(between(gradient_again_inside)),
    "in place": Stop(between(scaled_in_place)),
    "dropout": Stop(between(masked_by_dropout)),
    "attention": Stop(between(attended_without_gradient)),
    "checkpointed": Stop(between(checkpointed), unrolled=False),
    "checkpointed layer": Stop(CheckpointedLayer, unrolled=False, values=True),
    "custom functions under no_grad": Stop(between(surrogate_without_gradient), values=True),
    "sign": Stop(between(Sign.apply), jvp=False),
    "sign with jvp": Stop(between(SignWithForwardMode.apply)),
    "reversal": Stop(between(Reversal.apply), jvp=False),
    "reversal with jvp": Stop(between(ReversalWithForwardMode.apply)),
    "reversal by a hook": Stop(between(Hidden()), jvp=False),
    "quantised": Stop(Quantised),
    "running mean": Stop(RunningMean),
    "spectral norm": Stop(SpectralNorm, values=True),
    "teacher": Stop(Teacher),
    "clipped weights": Stop(ClippedWeights),
    "forces": Stop(Forces, values=True),
}


def make_stop(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return STOPS[name].student().double().train()


def stop_samples(n: int, seed: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, FEATURES, generator=draw, dtype=torch.float64), torch.randint(CLASSES, (n,), generator=draw)
