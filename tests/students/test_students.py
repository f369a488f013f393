"""What every student promises: shapes, forward-mode differentiation, and errors that say what to do."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call

from ray_mentor.errors import UserError
from ray_mentor.students import CNN, MLP, STUDENTS, ResNet, WideResNet, make_student

IMAGE = (3, 8, 8)
SMALL = {
    "mlp": lambda: MLP(math.prod(IMAGE), 4, hidden=(12, 10)),
    "cnn": lambda: CNN(3, 4, widths=(4, 5, 6)),
    "resnet32": lambda: ResNet(3, 4, depth=8, widths=(3, 4, 6)),
    "wrn-28-10": lambda: WideResNet(3, 4, depth=10, widen=1),
}


@pytest.fixture(params=SMALL)
def small(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    student: nn.Module = SMALL[request.param]().double().train()
    return student


def batch(n: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(n, *IMAGE, generator=generator, dtype=torch.float64)
    return images, torch.arange(n) % 4


def losses(student: nn.Module, params: dict[str, Tensor]) -> Tensor:
    images, labels = batch()
    return F.cross_entropy(functional_call(student, params, (images,)), labels, reduction="none")


def test_a_small_member_of_every_student_is_tested() -> None:
    assert set(SMALL) == set(STUDENTS) - {"byte-gpt"}  # which is fed bytes, and tested by itself


# PyTorch's own forward mode calls a function that it has deprecated.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
def test_forward_mode_agrees_with_a_central_difference_in_train_mode(small: nn.Module) -> None:
    params = {name: p.detach().clone() for name, p in small.named_parameters()}
    generator = torch.Generator().manual_seed(2)
    direction = {k: torch.randn(p.shape, generator=generator, dtype=p.dtype) for k, p in params.items()}
    with forward_ad.dual_level():
        duals = {k: forward_ad.make_dual(p, direction[k]) for k, p in params.items()}
        tangent = forward_ad.unpack_dual(losses(small, duals)).tangent
    eps = 1e-7  # 1e-6 already steps over a kink of some ReLU; measured error 6e-9 at most
    with torch.no_grad():
        ahead, behind = (losses(small, {k: p + s * direction[k] for k, p in params.items()}) for s in (eps, -eps))
    torch.testing.assert_close(tangent, (ahead - behind) / (2 * eps), rtol=1e-7, atol=1e-7)


def test_the_gradient_reaches_every_param(small: nn.Module) -> None:
    images, labels = batch()
    F.cross_entropy(small(images), labels).backward()
    for name, p in small.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().sum() > 0, name


def test_state_dict_round_trip(small: nn.Module, request: pytest.FixtureRequest) -> None:
    images, _ = batch()
    small(images)  # moves the running statistics of batch norm
    torch.manual_seed(99)
    other = SMALL[request.node.callspec.params["small"]]().double()
    other.load_state_dict(small.state_dict())
    assert torch.equal(other.eval()(images), small.eval()(images))


def test_the_head_is_linear_on_the_bodys_flat_features(small: nn.Module) -> None:
    images, _ = batch()
    small.eval()
    flat = small.body(images)
    assert flat.ndim == 2
    assert torch.equal(small(images), F.linear(flat, small.head.weight, small.head.bias))


def test_inputs_are_not_changed(small: nn.Module) -> None:
    images, _ = batch()
    before = images.clone()
    small(images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet32"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
def test_students_take_digits_and_cifar(name: str, shape: tuple[int, ...]) -> None:
    assert make_student(name, shape, 10)(torch.zeros(2, *shape)).shape == (2, 10)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
def test_wide_resnet_takes_digits_and_cifar(shape: tuple[int, ...]) -> None:
    assert WideResNet(shape[0], 10, depth=10, widen=1)(torch.zeros(2, *shape)).shape == (2, 10)


def test_the_cnn_takes_sizes_that_do_not_halve_evenly() -> None:
    assert make_student("cnn", (1, 9, 15), 10)(torch.zeros(2, 1, 9, 15)).shape == (2, 10)


def test_the_mlp_takes_flat_inputs() -> None:
    assert make_student("mlp", (64,), 10)(torch.zeros(2, 64)).shape == (2, 10)


def test_an_unknown_student_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"^unknown student 'vgg' \(nearest: torchvision:vgg.*; valid: mlp, cnn, resnet32"
    ):
        make_student("vgg", (3, 32, 32), 10)


@pytest.mark.parametrize("name", ["cnn", "resnet32", "wrn-28-10"])
def test_flat_inputs_are_refused_by_image_students(name: str) -> None:
    message = rf"^student {name} needs images \(channels, height, width\), but the input has shape \(64,\); use mlp$"
    with pytest.raises(UserError, match=message):
        make_student(name, (64,), 10)


@pytest.mark.parametrize(("name", "side"), [("cnn", 8), ("resnet32", 4), ("wrn-28-10", 4)])
def test_too_small_images_are_refused(name: str, side: int) -> None:
    message = rf"^student {name} needs images of at least {side}×{side} pixels, but the input has 3×32; use mlp$"
    with pytest.raises(UserError, match=message):
        make_student(name, (1, 3, 32), 10)


def test_a_single_class_is_refused() -> None:
    with pytest.raises(UserError, match=r"^n_classes is 1, but a student needs at least 2; check the label column$"):
        make_student("mlp", (64,), 1)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 32)])
def test_an_empty_input_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"but every size must be at least 1; check the features$"):
        make_student("mlp", shape, 10)
