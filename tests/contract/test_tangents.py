"""Forward mode as the estimator uses it: the derivative of every function is that of the backward pass."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional
from torch.overrides import get_overridable_functions

from ray_mentor.core.influence.estimators.tangents import tangents_where_gradients_flow

EDGES = torch.tensor([-3.0, -1.0, -0.5, 0.0, 0.0, 0.5, 1.0, 1.0, 3.0, 6.0, 20.0], dtype=torch.float64)
"""Where functions have corners; each twice or once."""

PROBABILITIES = torch.tensor([0.0, 0.0, 1.0, 1.0, 0.5, 0.3], dtype=torch.float64)
TARGETS = torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0, 0.2], dtype=torch.float64)
WEIGHTS = torch.tensor([1.0, 0.5, 2.0, 1.0, 3.0, 1.0], dtype=torch.float64)

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "adaptive max pool": lambda x: functional.adaptive_max_pool1d(x.round()[None, None], 2),
    "amax": lambda x: torch.stack([x, x.flip(0)]).amax(0),
    "celu": functional.celu,
    "clamp": lambda x: x.clamp(0, 1),
    "clamp, in place": lambda x: (1 * x).clamp_(0, 1),
    "clamp by tensors": lambda x: x.clamp(torch.zeros_like(x), torch.ones_like(x)),
    "cummax": lambda x: x.cummax(0)[0],
    "elu": functional.elu,
    "fmax": lambda x: torch.fmax(x, torch.ones_like(x)),
    "gelu": functional.gelu,
    "hardshrink": lambda x: functional.hardshrink(x, 1.0),
    "hardsigmoid": functional.hardsigmoid,
    "hardswish": functional.hardswish,
    "hardtanh": functional.hardtanh,
    "hinge embedding": lambda x: functional.hinge_embedding_loss(x, -torch.ones_like(x), reduction="none"),
    "huber": lambda x: functional.huber_loss(x, torch.zeros_like(x), reduction="none"),
    "l1": lambda x: functional.l1_loss(x, torch.zeros_like(x), reduction="none"),
    "leaky relu": functional.leaky_relu,
    "logsigmoid": functional.logsigmoid,
    "max": lambda x: x.round().max(),
    "max pool": lambda x: functional.max_pool1d(x.round()[None, None], 3, 1),
    "maximum": lambda x: torch.maximum(x, torch.ones_like(x)),
    "median": torch.median,
    "minimum": lambda x: torch.minimum(x, torch.ones_like(x)),
    "norm of 0": lambda x: (0 * x).norm(),
    "prelu": lambda x: functional.prelu(x, torch.tensor([0.25], dtype=x.dtype)),
    "prelu, many": lambda x: functional.prelu(x[None, :, None], torch.linspace(0.1, 0.9, len(x), dtype=x.dtype)),
    "relu": functional.relu,
    "relu6": functional.relu6,
    "rrelu": lambda x: functional.rrelu(x, training=False),
    "smooth l1": lambda x: functional.smooth_l1_loss(x, torch.zeros_like(x), reduction="none"),
    "softplus": functional.softplus,
    "softshrink": lambda x: functional.softshrink(x, 1.0),
    "sort": lambda x: x.sort()[0],
    "threshold": lambda x: functional.threshold(x, 1.0, 0.0),
    "topk": lambda x: x.topk(4)[0],
}
OF_PROBABILITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "binary cross-entropy": lambda p: functional.binary_cross_entropy(p, TARGETS, reduction="none"),
    "binary cross-entropy, mean": lambda p: functional.binary_cross_entropy(p, TARGETS),
    "binary cross-entropy, sum": lambda p: functional.binary_cross_entropy(p, TARGETS, WEIGHTS, reduction="sum"),
    "binary cross-entropy, weighted": lambda p: torch.nn.BCELoss(WEIGHTS, reduction="none")(p, TARGETS),
    "binary cross-entropy, sure": lambda p: functional.binary_cross_entropy(
        torch.sigmoid(800 * p - 400), TARGETS, reduction="none"
    ),
    "normal, small variance": lambda p: functional.gaussian_nll_loss(TARGETS - p, TARGETS, p, eps=0.4, full=True),
    "normal, one variance": lambda p: functional.gaussian_nll_loss(TARGETS - p, TARGETS, 0.3, reduction="none"),
    "normal, module": lambda p: torch.nn.GaussianNLLLoss(eps=0.5, reduction="none")(p, TARGETS, p),
}


@pytest.mark.parametrize("name", [*FUNCTIONS, *OF_PROBABILITIES])
def test_tangents_are_those_of_the_backward_pass(name: str) -> None:
    function = (FUNCTIONS | OF_PROBABILITIES)[name]
    at = EDGES if name in FUNCTIONS else PROBABILITIES
    along = torch.linspace(-1, 1.5, len(at), dtype=torch.float64)
    slopes = torch.autograd.functional.jacobian(function, at)
    with forward_ad.dual_level(), tangents_where_gradients_flow():
        value, tangent = forward_ad.unpack_dual(function(forward_ad.make_dual(at, along)))
    torch.testing.assert_close(tangent, slopes @ along, rtol=1e-8, atol=1e-14)
    torch.testing.assert_close(value, function(at), rtol=1e-14, atol=0)


def test_only_one_function_of_pytorchs_stops_gradients_inside_where_no_mode_sees_it() -> None:
    """It has a stand-in. Another that a later PyTorch may have needs one, too."""
    hidden = {
        function.__name__
        for functions in get_overridable_functions().values()
        for function in functions
        if isinstance(function, FunctionType)
        and any(
            line.strip().startswith("with torch.no_grad") for line in inspect.getsource(function.__code__).splitlines()
        )
    }
    assert hidden == {"gaussian_nll_loss", "__deepcopy__"}


def test_gradients_and_tangents_are_as_before_afterwards() -> None:
    def fails() -> None:
        with forward_ad.dual_level(), tangents_where_gradients_flow():
            torch.set_grad_enabled(False)
            assert not forward_ad._is_fwd_grad_enabled()
            raise ZeroDivisionError

    for enabled in (True, False):
        with torch.set_grad_enabled(enabled):
            with pytest.raises(ZeroDivisionError):
                fails()
            assert torch.is_grad_enabled() == enabled
            assert forward_ad._is_fwd_grad_enabled()
