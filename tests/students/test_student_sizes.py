"""The students are the published ones: counts of params from the papers and from their closed forms."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ray_mentor.errors import UserError
from ray_mentor.students import ResNet, WideResNet, make_student
from ray_mentor.students.resnet import BasicBlock


def n_params(student: nn.Module) -> int:
    return sum(p.numel() for p in student.parameters())


def on_meta(name: str, input_shape: tuple[int, ...], n_classes: int = 10) -> nn.Module:
    with torch.device("meta"):
        return make_student(name, input_shape, n_classes)


def test_mlp() -> None:
    assert n_params(on_meta("mlp", (64,))) == 64 * 256 + 256 + 256 * 256 + 256 + 256 * 10 + 10


def test_cnn() -> None:
    convs = 9 * (3 * 32 + 32 * 64 + 64 * 128)
    norms = 2 * (32 + 64 + 128)
    assert n_params(on_meta("cnn", (3, 32, 32))) == convs + norms + 128 * 10 + 10


def resnet_params(n_blocks: int) -> int:
    """Convolutions of 9·in·out and batch norms of 2·out; option A has no params."""
    stem = 9 * 3 * 16 + 2 * 16
    first = 2 * n_blocks * (9 * 16 * 16 + 2 * 16)
    second = (9 * 16 * 32 + 2 * 32) + (2 * n_blocks - 1) * (9 * 32 * 32 + 2 * 32)
    third = (9 * 32 * 64 + 2 * 64) + (2 * n_blocks - 1) * (9 * 64 * 64 + 2 * 64)
    return stem + first + second + third + 64 * 10 + 10


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_resnet_has_the_params_of_the_papers_table_6(depth: int, millions: float) -> None:
    with torch.device("meta"):
        count = n_params(ResNet(3, 10, depth=depth))
    assert count == resnet_params((depth - 2) // 6)
    assert count / 1e6 == pytest.approx(millions, abs=0.05 if depth == 110 else 0.006)


def test_resnet32_is_the_resnet_of_depth_32() -> None:
    assert n_params(on_meta("resnet32", (3, 32, 32))) == 464_154


def test_resnet32_has_32_weighted_layers() -> None:
    layers = [m for m in on_meta("resnet32", (3, 32, 32)).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 32


# Zagoruyko and Komodakis, table 4 and section 3: params in millions.
@pytest.mark.parametrize(
    ("depth", "widen", "millions"),
    [(40, 1, 0.6), (40, 2, 2.2), (40, 4, 8.9), (40, 8, 35.7), (28, 10, 36.5), (28, 12, 52.5), (22, 8, 17.2)],
)
def test_wide_resnet_has_the_params_of_the_paper(depth: int, widen: int, millions: float) -> None:
    with torch.device("meta"):
        assert n_params(WideResNet(3, 10, depth=depth, widen=widen)) / 1e6 == pytest.approx(millions, abs=0.051)


def test_wrn_28_10_in_closed_form() -> None:
    count, n_in = 9 * 3 * 16, 16
    for n_out in (160, 320, 640):
        count += (2 * n_in + 9 * n_in * n_out) + (2 * n_out + 9 * n_out * n_out) + n_in * n_out  # first block
        count += 3 * 2 * (2 * n_out + 9 * n_out * n_out)
        n_in = n_out
    count += 2 * 640 + 640 * 10 + 10
    assert n_params(on_meta("wrn-28-10", (3, 32, 32))) == count == 36_479_194


def test_a_block_with_a_zero_residual_is_relu_of_the_option_a_shortcut() -> None:
    block = BasicBlock(4, 6, stride=2)
    for p in block.parameters():
        nn.init.zeros_(p)
    x = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    output = block(x)
    assert output.shape == (2, 6, 3, 3)
    assert torch.equal(output[:, :4], F.relu(x[:, :, ::2, ::2]))
    assert torch.count_nonzero(output[:, 4:]) == 0


def test_convolutions_start_from_he_s_distribution() -> None:
    torch.manual_seed(0)
    kernel = next(m for m in ResNet(3, 10, depth=8, widths=(16, 32, 256)).body[3].modules() if isinstance(m, nn.Conv2d))
    assert kernel.weight.std().item() == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.02)


def test_dropout_acts_in_train_mode_only_and_has_no_params() -> None:
    torch.manual_seed(0)
    student = WideResNet(1, 3, depth=10, widen=1, dropout=0.5)
    plain = WideResNet(1, 3, depth=10, widen=1)
    plain.load_state_dict(student.state_dict())
    x = torch.randn(4, 1, 8, 8)
    assert not torch.equal(student.train()(x), student(x))
    plain.load_state_dict(student.state_dict())
    assert torch.equal(student.eval()(x), plain.eval()(x))


@pytest.mark.parametrize("depth", [2, 30, 0])
def test_a_resnet_of_another_depth_is_refused(depth: int) -> None:
    message = rf"^depth is {depth}, but a CIFAR ResNet has 6n \+ 2 layers; use 8, 14, 20, 32, 44, 56, \.\.\.$"
    with pytest.raises(UserError, match=message):
        ResNet(3, 10, depth=depth)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 4}, r"^depth is 4, but a wide ResNet has 6n \+ 4 layers; use 10, 16, 22, 28, 40, \.\.\.$"),
        ({"depth": 32}, r"^depth is 32, but a wide ResNet has 6n \+ 4 layers"),
        ({"widen": 0}, r"^widen is 0, but it must be at least 1; WRN-28-10 has 10$"),
        ({"dropout": 1.0}, r"^dropout is 1.0, but it must lie in \[0, 1\); the paper uses 0 or 0.3$"),
    ],
)
def test_a_wide_resnet_of_another_form_is_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        WideResNet(3, 10, **options)
