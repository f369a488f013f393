"""The mentor over a sample's last losses: PyTorch's own LSTM, the published network, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ray_mentor.config import MentorConfig
from ray_mentor.core.mentor.networks import LSTMMentor, MentorNet, make_mentor
from ray_mentor.core.step.features import Features
from ray_mentor.errors import UserError

N, H, C = 7, 3, 4


def features(length: int = H) -> Features:
    draw = torch.Generator().manual_seed(3)
    loss, difference = (torch.rand(N, generator=draw, dtype=torch.float64) for _ in range(2))
    progress = torch.rand(N, generator=draw, dtype=torch.float64)
    history = 3 * torch.rand(N, length, generator=draw, dtype=torch.float64)
    return Features(3 * loss, difference - 0.5, torch.arange(N) % C, progress, history)


def used(mentor: nn.Module) -> nn.Module:
    draw = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for param in mentor.double().parameters():
            param.add_(torch.randn(param.shape, generator=draw, dtype=param.dtype), alpha=0.5)
    return mentor


@pytest.mark.parametrize("cells", [1, 3])
def test_its_cell_states_are_those_of_pytorchs_lstm(cells: int) -> None:
    mentor, seen = used(LSTMMentor(history_length=H, cells=cells)), features()
    assert isinstance(mentor, LSTMMentor)
    torchs = nn.LSTM(2, cells, bidirectional=True).double()
    own = {"weight_ih": mentor.input_kernel.mT, "weight_hh": mentor.state_kernel.mT, "bias_ih": mentor.bias[:, 0]}
    with torch.no_grad():
        for name, value in own.items():
            for direction, suffix in enumerate(("_l0", "_l0_reverse")):
                getattr(torchs, name + suffix).copy_(value[direction])
        for suffix in ("_l0", "_l0_reverse"):
            getattr(torchs, "bias_hh" + suffix).zero_()
    losses = [*seen.history.unbind(1)[::-1], seen.loss]  # oldest first
    percentile = seen.loss - seen.loss_difference
    pairs = torch.stack([torch.stack((loss, loss - percentile), dim=1) for loss in losses])
    _, (_, cell) = torchs(pairs)
    torch.testing.assert_close(mentor.cell_states(seen), cell, rtol=1e-12, atol=1e-12)


def test_without_a_past_it_is_the_published_network() -> None:
    published = used(MentorNet(n_labels=C, label_feature=True))
    mentor = LSTMMentor(history_length=0, n_labels=C).double()
    assert isinstance(published, MentorNet)

    def gates(of: Tensor) -> Tensor:
        """TensorFlow's order i, j, f, o as PyTorch's i, f, j, o."""
        return of[..., [0, 2, 1, 3]]

    with torch.no_grad():
        assert mentor.label_embedding is not None
        mentor.label_embedding.copy_(published.label_embedding)
        mentor.percent_embedding.copy_(published.percent_embedding)
        for direction, name in enumerate(("forward", "backward")):
            mentor.input_kernel[direction].copy_(gates(getattr(published, f"{name}_kernel")[:2]))
            mentor.bias[direction, 0].copy_(gates(getattr(published, f"{name}_bias")))
        mentor.hidden_matrix.copy_(published.hidden_matrix)
        mentor.hidden_bias.copy_(published.hidden_bias)
        mentor.output_vector.copy_((published.output_matrix + published.output_bias)[:, 0])
    torch.testing.assert_close(mentor(features(0)), published(features(0)), rtol=1e-12, atol=1e-12)


def test_the_order_of_the_past_counts() -> None:
    mentor, seen = used(LSTMMentor(history_length=H)), features()
    turned = Features(seen.loss, seen.loss_difference, seen.label, seen.progress, seen.history.flip(1))
    assert not torch.allclose(mentor(seen), mentor(turned))


def test_it_sees_the_label_where_it_is_named() -> None:
    made = {
        names: make_mentor(
            "lstm",
            features=names,
            hidden=(),
            n_classes=C,
            history_length=H,
            initial_sample_weight=0.9,
            seed=0,
            embedding=(3, 6),
        )
        for names in (("loss",), ("loss", "label"))
    }
    blind, seeing = made.values()
    assert isinstance(blind, LSTMMentor)
    assert isinstance(seeing, LSTMMentor)
    assert blind.label_embedding is None
    assert seeing.label_embedding is not None
    assert seeing.label_embedding.shape == (C, 3)
    assert seeing.hidden_matrix.shape[0] - blind.hidden_matrix.shape[0] == 3
    assert blind.percent_embedding.shape == (100, 6)


def test_without_a_past_there_is_nothing_for_it_to_look_at() -> None:
    with pytest.raises(UserError) as refused:
        MentorConfig(mentor="lstm")
    assert str(refused.value) == (
        "history_length is 0, but mentor lstm looks at a sample's past losses; e.g. --history-length 4"
    )


def test_a_history_of_another_length_is_refused() -> None:
    with pytest.raises(UserError, match="hold a history of 2 losses, but this mentor was built for history_length 3"):
        LSTMMentor(history_length=H)(features(2))
