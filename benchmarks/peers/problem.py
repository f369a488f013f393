"""What every contender is given: a student in the middle of its training, data, and a mentor."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from ray_mentor.core.mentor.networks import AbstractMentor, make_mentor
from ray_mentor.core.step.features import Features
from ray_mentor.core.step.normalisation import normalise
from ray_mentor.students import make_student

RATE, MOMENTUM, MENTOR_RATE = 0.1, 0.9, 0.003
CLASSES, SHAPE = 10, (3, 32, 32)
WARM_STEPS, N_BATCHES = 8, 8
NOISE = 0.4

Samples = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Setting:
    """Which problem.

    Attributes:
        student: a name that :func:`ray_mentor.students.make_student` knows.
        batch: samples of a batch, and of the meta batch.
    """

    student: str
    batch: int
    device: str
    dtype: torch.dtype = torch.float32


class Problem:
    """A copy of its own for each contender, all with the same values: made in float32 on the CPU, then moved.

    Args:
        memory_format: of the student's params; it changes no value.
    """

    def __init__(self, setting: Setting, memory_format: torch.memory_format = torch.channels_last) -> None:
        student, optimizer_state, mentor, data = _start(setting.student, setting.batch)
        self.setting = setting
        self.student: nn.Module = copy.deepcopy(student).to(setting.device, setting.dtype, memory_format=memory_format)
        self.optimizer = sgd(self.student)
        self.optimizer.load_state_dict(copy.deepcopy(optimizer_state))
        self.mentor: AbstractMentor = copy.deepcopy(mentor).to(setting.device, setting.dtype)
        self.mentor_optimizer = torch.optim.AdamW(self.mentor.parameters(), lr=MENTOR_RATE, weight_decay=0.0)
        self.meta, *self._batches = [(x.to(setting.device, setting.dtype), y.to(setting.device)) for x, y in data]
        self._next = 0

    def batch(self) -> Samples:
        """The next of the batches, which come round again."""
        self._next += 1
        return self._batches[(self._next - 1) % N_BATCHES]

    def peek(self) -> Samples:
        """The batch that comes next."""
        return self._batches[self._next % N_BATCHES]

    def normalised_weights(self, losses: Tensor) -> Tensor:
        """ŵ = w/Σw, w = mentor_φ(ℓ)."""
        loss = losses.detach()  # the mentor reads nothing else; the other columns are there to be well-formed
        features = Features(loss, loss, loss, loss, loss.unsqueeze(1))
        return normalise(self.mentor.sample_weights(features), "sum")

    def learn(self, hypergradient: Iterable[Tensor]) -> None:
        """One step of the mentor's optimizer; the gradient stays readable."""
        for param, gradient in zip(self.mentor.parameters(), hypergradient, strict=True):
            param.grad = gradient
        self.mentor_optimizer.step()

    def hypergradient_of(self, objective: Tensor) -> tuple[Tensor, ...]:
        """∂objective/∂φ and nothing else: cheaper than ``backward``, which would fill the student's gradients too."""
        return torch.autograd.grad(objective, list(self.mentor.parameters()))


def losses_of(student: nn.Module, samples: Samples) -> Tensor:
    """ℓ_i of each sample."""
    return cross_entropy(student(samples[0]), samples[1], reduction="none")


def losses_with(student: nn.Module, tensors: dict[str, Tensor], samples: Samples) -> Tensor:
    """As :func:`losses_of`, with other params and buffers than the student's own."""
    return cross_entropy(functional_call(student, tensors, (samples[0],)), samples[1], reduction="none")


def sgd(student: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(student.parameters(), lr=RATE, momentum=MOMENTUM)


def true_hypergradient(setting: Setting) -> Tensor:
    """∂M/∂φ of the first step in float64: the real step, momentum and all, differentiated twice."""
    problem = Problem(Setting(setting.student, setting.batch, setting.device, torch.float64))
    student, params = problem.student, dict(problem.student.named_parameters())
    losses = losses_of(student, problem.batch())
    gradients = torch.autograd.grad(
        (problem.normalised_weights(losses) * losses).sum(), list(params.values()), create_graph=True
    )
    moved = {
        name: param - RATE * (MOMENTUM * problem.optimizer.state[param]["momentum_buffer"] + gradient)
        for (name, param), gradient in zip(params.items(), gradients, strict=True)
    }
    return flat(problem.hypergradient_of(losses_with(student, moved, problem.meta).mean()))


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """One float64 vector on the CPU."""
    return torch.cat([tensor.detach().reshape(-1).cpu().double() for tensor in tensors])


@functools.cache
def _start(name: str, batch: int) -> tuple[nn.Module, dict, AbstractMentor, list[Samples]]:
    """Student and optimizer after a few steps, a mentor that weighs samples differently, meta batch and batches."""
    torch.manual_seed(0)
    data = _data(batch)
    student = make_student(name, SHAPE, CLASSES).train()
    optimizer = sgd(student)
    for samples in data[1 : WARM_STEPS + 1]:
        optimizer.zero_grad()
        losses_of(student, samples).mean().backward()
        optimizer.step()
    mentor = make_mentor(
        "mlp", features=("loss",), hidden=(100,), n_classes=CLASSES, history_length=0, initial_sample_weight=0.9, seed=0
    )
    with torch.no_grad():
        for param in mentor.parameters():
            param += 0.2 * torch.randn_like(param)
    return student, optimizer.state_dict(), mentor, data


def _data(batch: int) -> list[Samples]:
    """A meta batch, and batches with wrong labels among them: a pattern for each class, in noise."""
    patterns = torch.randn(CLASSES, *SHAPE)
    data = []
    for i in range(N_BATCHES + 1):
        true = torch.randint(CLASSES, (batch,))
        drawn = torch.randint(CLASSES, (batch,))
        given = torch.where(torch.rand(batch) < NOISE, drawn, true) if i else true
        data.append((0.3 * patterns[true] + torch.randn(batch, *SHAPE), given))
    return data
