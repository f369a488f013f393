"""What students are trained for, other than one class a sample: a loss, a student, and samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from taken_steps import Samples
from torch import Tensor, nn
from torch.nn import functional

from ray_mentor.core.losses import ROBUST, PerSampleLoss, TargetLoss, cross_entropy, make_loss

FEATURES, CLASSES, TOKENS, VOCABULARY = 5, 3, 6, 11


class Recurrent(nn.Module):
    """Reads a sample value by value; two layers with dropout between them."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.cells = kind(1, 4, num_layers=2, dropout=0.3, batch_first=True)
        self.leave = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.cells(x[..., None])[0][:, -1])


class Encoder(nn.Module):
    """Reads a sample as five tokens; its encoder is in evaluation mode, where PyTorch has a fast path of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(1, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.1, batch_first=True)
        self.leave = nn.Linear(8, CLASSES)

    def train(self, mode: bool = True) -> Encoder:
        super().train(mode)
        self.layer.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.layer(self.enter(x[..., None])).mean(dim=1))


class LanguageModel(nn.Module):
    """A causal transformer of one pre-norm layer, whose last layer is the embedding of its tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, 8)
        self.layer = nn.TransformerEncoderLayer(
            8, 2, 12, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.leave = nn.Linear(8, VOCABULARY, bias=False)
        self.leave.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1], dtype=self.leave.weight.dtype)
        return self.leave(self.layer(self.tokens(tokens), src_mask=mask, is_causal=True))


def mlp(outputs: int, *after: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 7), nn.Tanh(), nn.Linear(7, outputs), *after)


def normed() -> nn.Module:
    """Two layers under weight norm, along either dimension."""
    enter = nn.utils.parametrizations.weight_norm(nn.Linear(FEATURES, 7))
    leave = nn.utils.parametrizations.weight_norm(nn.Linear(7, CLASSES), dim=1)
    return nn.Sequential(enter, nn.Tanh(), leave)


def head(outputs: int) -> nn.Module:
    body = nn.Sequential(nn.Linear(FEATURES, 7), nn.Tanh()).requires_grad_(False)
    return nn.Sequential(body, nn.Linear(7, outputs))


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs[:, 0] - targets).square()


def normal(outputs: Tensor, targets: Tensor) -> Tensor:
    """−log density of a normal distribution, of which mean and variance are returned; may be below 0."""
    variance = functional.softplus(outputs[:, 1])
    return functional.gaussian_nll_loss(outputs[:, 0], targets, variance, reduction="none")


def multi_label(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").sum(dim=1)


def multi_label_of_probabilities(p: Tensor, labels: Tensor) -> Tensor:
    return functional.binary_cross_entropy(p, labels, reduction="none").mean(dim=1)


def of_tokens(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over a sample's tokens but those that are padding, −100."""
    losses = functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    return losses.sum(dim=1) / (labels != -100).sum(dim=1)


def contrastive(outputs: Tensor, labels: Tensor) -> Tensor:
    """InfoNCE: each sample's loss depends on all others of the batch."""
    embedded = functional.normalize(outputs)
    similar = embedded @ embedded.T / 0.5 - 10 * torch.eye(len(labels), dtype=outputs.dtype)
    same = (labels[:, None] == labels) & ~torch.eye(len(labels), dtype=torch.bool)
    return torch.logsumexp(similar, 1) - (similar * same).sum(1) / same.sum(1).clamp(min=1)


def values(n: int, seed: int) -> Tensor:
    return torch.randn(n, FEATURES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_classes(n: int, seed: int) -> Samples:
    return values(n, seed), torch.randint(CLASSES, (n,), generator=torch.Generator().manual_seed(seed + 1000))


def with_numbers(n: int, seed: int) -> Samples:
    return values(n, seed), 2 + values(n, seed + 1000)[:, 0]


def with_many_labels(n: int, seed: int) -> Samples:
    return values(n, seed), (values(n, seed + 1000)[:, :4] > 0.3).double()


def texts(n: int, seed: int) -> Samples:
    """Each token's label is the next one; the ends of some texts are padding."""
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(VOCABULARY, (n, TOKENS + 1), generator=draw)
    labels = tokens[:, 1:].clone()
    labels[::2, -2:] = -100
    return tokens[:, :-1], labels


def loss_of(name: str) -> PerSampleLoss:
    """The loss of this name; with targets that are what they are where it remembers some."""
    loss = make_loss(name, class_sizes=range(5, 5 + 3 * CLASSES, 3))  # where it goes by these
    if not isinstance(loss, TargetLoss):
        return loss

    def with_given_targets(outputs: Tensor, labels: Tensor) -> Tensor:
        targets = torch.softmax(values(len(labels), 77)[:, :CLASSES], dim=1)
        return loss(outputs, labels, 0.6 * targets.to(outputs))

    return with_given_targets


@dataclass(frozen=True)
class Task:
    """A student, its loss and its samples: n and a seed to (inputs, labels).

    Attributes:
        head_only: whether the last layer alone is trained.
    """

    student: Callable[[], nn.Module]
    loss: PerSampleLoss
    samples: Callable[[int, int], Samples]
    head_only: bool = False


TASKS: dict[str, Task] = {
    "regression": Task(lambda: mlp(1), squared_error, with_numbers),
    "regression with a variance": Task(lambda: mlp(2), normal, with_numbers),
    "multi-label": Task(lambda: mlp(4), multi_label, with_many_labels),
    "multi-label, probabilities": Task(lambda: mlp(4, nn.Sigmoid()), multi_label_of_probabilities, with_many_labels),
    "tokens": Task(LanguageModel, of_tokens, texts),
    "contrastive": Task(lambda: mlp(6), contrastive, with_classes),
    "lstm": Task(lambda: Recurrent(nn.LSTM), cross_entropy, with_classes),
    "gru": Task(lambda: Recurrent(nn.GRU), cross_entropy, with_classes),
    "encoder in evaluation mode": Task(Encoder, cross_entropy, with_classes),
    "weight norm": Task(normed, cross_entropy, with_classes),
    "regression, head": Task(lambda: head(1), squared_error, with_numbers, head_only=True),
    "multi-label, head": Task(lambda: head(4), multi_label, with_many_labels, head_only=True),
    **{name: Task(lambda: mlp(CLASSES), loss_of(name), with_classes) for name in ROBUST},
}


def make_task_student(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TASKS[name].student().to(dtype).train()


def task_samples(name: str, n: int, seed: int, dtype: torch.dtype = torch.float64) -> Samples:
    inputs, labels = TASKS[name].samples(n, seed)
    return tuple(each.to(dtype) if each.is_floating_point() else each for each in (inputs, labels))  # type: ignore[return-value]
