"""Influences of students that are made elsewhere equal the derivative through their real step, by double backward."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from stand_ins import Spy
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from truth_curriculum import CONFIG, as_batch, make_curriculum, make_learner, mentor_of, relative_error

from ray_mentor.students import make_student

sys.path.append(str(Path(__file__).parents[1] / "truth"))
from unrolled import Snapshot, unrolled_step

pytestmark = pytest.mark.long  # seconds each

Student = tuple[nn.Module, Callable[[int, int], tuple[Tensor, Tensor]]]
B, CLASSES, LENGTH = 5, 3, 7
SMALL = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers = pytest.importorskip("transformers")
    made = tmp_path_factory.mktemp("models")
    transformers.ViTConfig(**SMALL, image_size=16, patch_size=8).save_pretrained(made / "vit")
    transformers.BertConfig(**SMALL, vocab_size=20, max_position_embeddings=9).save_pretrained(made / "bert")
    return made


@pytest.fixture(params=["torchvision:resnet18", "torchvision:mobilenet_v3_small", "timm:resnet10t", "vit", "bert"])
def student(request: pytest.FixtureRequest) -> Student:
    """One in float64, in training mode, dropout included, and what draws samples for it."""
    name, shape = request.param, (3, 32, 32) if "mobile" in request.param else (3, 16, 16)
    if name.startswith("timm"):
        pytest.importorskip("timm")
    if name in ("vit", "bert"):
        name = f"hf:{request.getfixturevalue('folder') / name}"
    shape = (LENGTH,) if name.endswith("bert") else shape

    def samples(n: int, seed: int) -> tuple[Tensor, Tensor]:
        draw = torch.Generator().manual_seed(seed)
        ids = torch.randint(0, 20, (n, *shape), generator=draw)
        inputs = ids if len(shape) == 1 else torch.randn(n, *shape, generator=draw, dtype=torch.float64)
        return inputs, torch.randint(CLASSES, (n,), generator=draw)

    torch.manual_seed(0)
    return make_student(name, shape, CLASSES).double().train(), samples


def sgd(student: nn.Module) -> Optimizer:
    return SGD(student.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)


def adamw(student: nn.Module) -> Optimizer:
    *body, weight, bias = student.parameters()
    return AdamW([{"params": body}, {"params": [weight, bias], "lr": 1e-2}], lr=1e-3, eps=1e-4)


class Hardsigmoid(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu6(x + 3) / 6


class Hardswish(Hardsigmoid):
    def forward(self, x: Tensor) -> Tensor:
        return x * super().forward(x)


def twice_differentiable(model: nn.Module) -> nn.Module:
    """A copy with the same values, of whose activations PyTorch knows second derivatives, too."""
    made = copy.deepcopy(model)
    for name, module in model.named_modules():
        if isinstance(module, nn.Hardsigmoid | nn.Hardswish):
            made.set_submodule(name, (Hardsigmoid if isinstance(module, nn.Hardsigmoid) else Hardswish)())
    return made


@pytest.mark.parametrize("optimizer_of", [sgd, adamw])
def test_one_step(
    student: Student,
    optimizer_of: Callable[[nn.Module], Optimizer],
) -> None:
    model, samples = student
    optimizer, batch, meta = optimizer_of(model), samples(B, 1), samples(B - 1, 2)
    access = Spy(make_learner(CONFIG, CLASSES))
    curriculum = make_curriculum(model, optimizer, meta, access=access)
    mentor = mentor_of(access.state, CONFIG, CLASSES)
    before = Snapshot.of(model, optimizer)
    record = curriculum.step(as_batch(batch))
    (update,) = access.updates
    weights = mentor.sample_weights(update.features).detach()
    normalised = (weights / weights.sum()).requires_grad_()
    unrolled = unrolled_step(twice_differentiable(model), optimizer, before, batch, normalised, meta)
    (truth,) = torch.autograd.grad(unrolled.meta_loss, normalised)
    in_float32 = any(isinstance(module, nn.Hardsigmoid | nn.Hardswish) for module in model.modules())  # their sixth is
    assert relative_error(record.influence, truth) <= (1e-5 if in_float32 else 1e-10)
