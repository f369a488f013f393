"""Normalising layers by their backward kernels have the tangents that PyTorch's own formulas have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call

from ray_mentor.core.influence.estimators import make_estimator, norms
from ray_mentor.core.influence.estimators.tangents import tangents_where_gradients_flow

CHANNELS = 6
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "batch norm": (lambda: nn.BatchNorm1d(CHANNELS), (9, CHANNELS)),
    "batch norm, images": (lambda: nn.BatchNorm2d(CHANNELS, eps=0.1), (5, CHANNELS, 3, 4)),
    "batch norm, plain": (lambda: nn.BatchNorm2d(CHANNELS, affine=False), (5, CHANNELS, 3, 4)),
    "batch norm, no running figures": (
        lambda: nn.BatchNorm2d(CHANNELS, track_running_stats=False).eval(),
        (5, CHANNELS, 3, 4),
    ),
    "batch norm, evaluation": (lambda: nn.BatchNorm2d(CHANNELS).eval(), (5, CHANNELS, 3, 4)),
    "batch norm, evaluation, plain": (lambda: nn.BatchNorm2d(CHANNELS, affine=False).eval(), (5, CHANNELS, 3, 4)),
    "group norm": (lambda: nn.GroupNorm(3, CHANNELS), (5, CHANNELS, 3, 4)),
    "group norm, vectors": (lambda: nn.GroupNorm(2, CHANNELS), (5, CHANNELS)),
    "group norm, plain": (lambda: nn.GroupNorm(3, CHANNELS, affine=False), (5, CHANNELS, 7)),
    "instance norm": (lambda: nn.InstanceNorm2d(CHANNELS, affine=True), (5, CHANNELS, 3, 4)),
    "instance norm, running figures": (
        lambda: nn.InstanceNorm2d(CHANNELS, affine=True, track_running_stats=True),
        (5, CHANNELS, 3, 4),
    ),
    "layer norm": (lambda: nn.LayerNorm(CHANNELS), (5, 4, CHANNELS)),
    "layer norm, two dimensions": (lambda: nn.LayerNorm((4, CHANNELS), eps=0.1), (5, 4, CHANNELS)),
    "layer norm, plain": (lambda: nn.LayerNorm(CHANNELS, elementwise_affine=False), (5, CHANNELS)),
    "layer norm, no bias": (lambda: nn.LayerNorm(CHANNELS, bias=False), (5, CHANNELS)),
}
MOVED = (("input", "params"), ("input",), ("params",))


def made(name: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Tensor, Tensor, dict[str, Tensor]]:
    """A layer with params and running figures of no special value, its input, and tangents of both."""
    make, shape = LAYERS[name]
    generator = torch.Generator().manual_seed(3)
    layer = make().to(torch.float64)
    for part in (*layer.parameters(), *layer.buffers()):
        if part.is_floating_point():
            part.data.copy_(torch.rand(part.shape, generator=generator, dtype=torch.float64) + 0.5)
    x, dx = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    moves = {
        key: torch.randn(param.shape, generator=generator, dtype=torch.float64).to(dtype)
        for key, param in layer.named_parameters()
    }
    return layer.to(dtype).requires_grad_(False), (3 * x + 2).to(dtype), dx.to(dtype), moves


def tangent_of(layer: nn.Module, x: Tensor, dx: Tensor | None, moves: dict[str, Tensor], ours: bool) -> Tensor:
    """Through the estimator's forward mode, or through PyTorch's alone."""
    state = {key: buffer.clone() for key, buffer in layer.named_buffers()}
    with forward_ad.dual_level():
        params = {
            key: forward_ad.make_dual(value, moves[key]) for key, value in layer.named_parameters() if key in moves
        }
        given = x if dx is None else forward_ad.make_dual(x, dx)
        if ours:
            with tangents_where_gradients_flow():
                found = functional_call(layer, {**params, **state}, (given,))
        else:
            found = functional_call(layer, {**params, **state}, (given,))
        value, tangent = forward_ad.unpack_dual(found)
    with torch.no_grad():
        expected = functional_call(layer, {key: buffer.clone() for key, buffer in layer.named_buffers()}, (x,))
    assert torch.equal(value, expected)
    assert tangent is not None
    return tangent


@pytest.fixture(autouse=True, scope="module")
def _pytorchs_formulas() -> None:
    make_estimator("jvp")  # it loads them, and keeps a warning of PyTorch's own to itself


@contextmanager
def nobody_asks_pytorch() -> Iterator[None]:
    """PyTorch's formulas are not asked: in the block no layer that ours serve is given anything that has a tangent."""
    served = norms._served

    def always(*parts: Tensor | None) -> bool:
        assert served(*parts)
        return True

    with patch.object(norms, "_served", always):
        yield


@pytest.mark.parametrize("moved", MOVED, ids=" and ".join)
@pytest.mark.parametrize("name", LAYERS)
def test_tangents_are_pytorchs(name: str, moved: tuple[str, ...]) -> None:
    layer, x, dx, moves = made(name)
    if "params" not in moved:
        moves = {}
    elif not moves:
        pytest.skip("it has no params")
    along = dx if "input" in moved else None
    expected = tangent_of(layer, x, along, moves, ours=False)
    torch.testing.assert_close(tangent_of(layer, x, along, moves, ours=True), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "instance norm, running figures"])
def test_none_of_them_is_left_to_pytorchs_formula(name: str) -> None:
    layer, x, dx, moves = made(name)
    with nobody_asks_pytorch():
        tangent_of(layer, x, dx, moves, ours=True)


@pytest.mark.parametrize("name", ["batch norm, images", "group norm", "instance norm"])
@pytest.mark.parametrize("last", ["input", "tangent", "both"])
def test_whatever_the_layout_in_memory(name: str, last: str) -> None:
    layer, x, dx, moves = made(name)
    expected = tangent_of(layer, x, dx, moves, ours=False)
    if last != "tangent":
        x = x.contiguous(memory_format=torch.channels_last)
    if last != "input":
        dx = dx.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(tangent_of(layer, x, dx, moves, ours=True), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("mixed", [False, True], ids=["bfloat16", "params in float32"])
@pytest.mark.parametrize("name", LAYERS)
def test_short_types(name: str, mixed: bool) -> None:
    """As near as the type allows, where PyTorch's own may be three times as far away."""
    layer, x, dx, moves = made(name)
    expected = tangent_of(layer, x.bfloat16().double(), dx.bfloat16().double(), moves, ours=False)
    params = torch.float32 if mixed and not name.startswith(("layer", "group")) else torch.bfloat16
    layer, moves = layer.to(params), {key: move.to(params) for key, move in moves.items()}
    found = tangent_of(layer, x.bfloat16(), dx.bfloat16(), moves, ours=True)
    assert found.dtype == torch.bfloat16
    assert float((found.double() - expected).norm() / expected.norm()) < 0.01


@pytest.mark.parametrize("name", LAYERS)
def test_autocast_of_the_student(name: str) -> None:
    layer, x, dx, moves = made(name)
    expected = tangent_of(layer, x, dx, moves, ours=False)
    layer, moves = layer.float(), {key: move.float() for key, move in moves.items()}
    with torch.autocast("cpu", torch.bfloat16):
        found = tangent_of(layer, x.bfloat16(), dx.bfloat16(), moves, ours=True)
    assert float((found.double() - expected).norm() / expected.norm()) < 0.02


class TestLeftToPyTorch:
    """What needs PyTorch's own formula has it, and so the right tangent."""

    def test_gradients_inside_of_a_student(self) -> None:
        """‖∂y/∂x‖² is itself a function with a tangent."""
        layer, x, dx, _ = made("batch norm, images")

        def penalty(x: Tensor) -> Tensor:
            y = functional_call(layer, {}, (x.requires_grad_() if not x.requires_grad else x,))
            (slope,) = torch.autograd.grad((y**3).sum(), x, create_graph=True)
            return (slope**2).sum()

        with forward_ad.dual_level(), tangents_where_gradients_flow():
            found = forward_ad.unpack_dual(penalty(forward_ad.make_dual(x, dx))).tangent
        step = 1e-5
        expected = (penalty((x + step * dx).detach()) - penalty((x - step * dx).detach())) / (2 * step)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)

    def test_running_figures_that_have_a_tangent_are_refused(self) -> None:
        """They would be lost without a word."""
        layer, x, dx, _ = made("batch norm, images")
        with forward_ad.dual_level(), tangents_where_gradients_flow():
            dual = forward_ad.make_dual(x, dx)
            mean, var = dual.mean((0, 2, 3)), dual.var((0, 2, 3))
            with pytest.raises(RuntimeError, match="not differentiable wrt running_mean"):
                nn.functional.batch_norm(dual, mean, var, layer.weight, layer.bias)

    def test_a_vmap(self) -> None:
        layer, x, dx, moves = made("layer norm, plain")
        expected = tangent_of(layer, x, dx, moves, ours=True)
        with forward_ad.dual_level(), tangents_where_gradients_flow():
            found = forward_ad.unpack_dual(torch.func.vmap(layer)(forward_ad.make_dual(x, dx))).tangent
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)

    def test_no_grad_stops_the_tangent(self) -> None:
        layer, x, dx, _ = made("layer norm")
        with forward_ad.dual_level(), tangents_where_gradients_flow():
            with torch.no_grad():
                stopped = layer(forward_ad.make_dual(x, dx))
            assert forward_ad.unpack_dual(stopped).tangent is None

    @pytest.mark.parametrize("name", ["batch norm", "instance norm"])
    def test_a_batch_too_small_is_pytorchs_error(self, name: str) -> None:
        layer, x, dx, _ = made(name)
        x, dx = (part[:1, :, :1, :1] if part.dim() == 4 else part[:1] for part in (x, dx))
        with (
            forward_ad.dual_level(),
            tangents_where_gradients_flow(),
            pytest.raises(ValueError, match="more than 1"),
        ):
            layer(forward_ad.make_dual(x, dx))
