"""The student of plain text: its size, what each place may see, and forward-mode derivatives through it."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from ray_mentor.core.losses.cross_entropy import sequence_cross_entropy
from ray_mentor.errors import UserError
from ray_mentor.students import ByteGPT


def test_it_has_the_params_of_its_closed_form() -> None:
    width, depth, context = 128, 4, 128
    block = (
        4 * width + (3 * width + 3) * width + (width + 1) * width + (4 * width + 4) * width + (4 * width + 1) * width
    )
    expected = (256 + context) * width + depth * block + 2 * width + (width + 1) * 256
    assert sum(param.numel() for param in ByteGPT().parameters()) == expected == 875_520


def test_a_place_sees_itself_and_those_before_it() -> None:
    torch.manual_seed(0)
    student = ByteGPT(context=8, width=16, depth=2, heads=2)
    shown = torch.randint(256, (1, 8), dtype=torch.uint8)
    other = shown.clone()
    other[0, 5] ^= 1
    moved = (student(shown) - student(other)).abs().amax(dim=2)[0] > 0
    assert moved.tolist() == [False] * 5 + [True] * 3
    assert student(shown[:, :3]).shape == (1, 3, 256)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`")
def test_its_forward_mode_derivative_is_that_of_steps() -> None:
    torch.manual_seed(0)
    student = ByteGPT(context=6, width=8, depth=2, heads=2).double()
    inputs, labels = torch.randint(256, (2, 3, 6))
    params = dict(student.named_parameters())
    along = {name: torch.randn_like(param) for name, param in params.items()}

    def loss(by: float) -> torch.Tensor:
        moved = {name: param + by * along[name] for name, param in params.items()}
        return sequence_cross_entropy(functional_call(student, moved, (inputs,)), labels)

    with forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH):
        duals = {name: forward_ad.make_dual(param, along[name]) for name, param in params.items()}
        tangent = forward_ad.unpack_dual(
            sequence_cross_entropy(functional_call(student, duals, (inputs,)), labels)
        ).tangent
    torch.testing.assert_close(tangent, (loss(1e-6) - loss(-1e-6)) / 2e-6, rtol=1e-6, atol=1e-7)


def test_what_it_can_not_be_shown_is_refused() -> None:
    with pytest.raises(UserError, match="shown 9 bytes at a time, but its context is 8; cut shorter"):
        ByteGPT(context=8, width=8, depth=1)(torch.zeros(1, 9, dtype=torch.uint8))
    with pytest.raises(UserError, match="width is 10, but it must be a multiple of the 4 heads"):
        ByteGPT(width=10)
