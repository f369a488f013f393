"""The contract that every mentor passes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ray_mentor.config import FEATURES
from ray_mentor.core.mentor.networks import (
    MENTORS,
    AbstractMentor,
    CMWMentor,
    LSTMMentor,
    MentorNet,
    MLPMentor,
    make_mentor,
)
from ray_mentor.core.step.features import Features
from ray_mentor.errors import UserError

C, H = 5, 3


def mlp(features: tuple[str, ...], hidden: tuple[int, ...] = (7,)) -> Callable[[int], AbstractMentor]:
    return lambda seed: MLPMentor(features, hidden, C, H, 0.9, seed)


MAKERS: dict[str, Callable[[int], AbstractMentor]] = {
    "mlp on all features": mlp(FEATURES),
    "mlp on the loss": mlp(("loss",)),
    "mlp on label and history, two layers": mlp(("label", "history"), (6, 4)),
    "mlp without hidden layers": mlp(("loss", "progress"), ()),
    "mentornet, original": lambda seed: MentorNet(initial_sample_weight=0.9, seed=seed),
    "mentornet, public checkpoint's shape": lambda seed: MentorNet(
        n_labels=C,
        label_width=5,
        percent_width=10,
        train_percent=True,
        label_feature=True,
        initial_sample_weight=0.9,
        seed=seed,
    ),
    "lstm": lambda seed: LSTMMentor(history_length=H, initial_sample_weight=0.9, seed=seed),
    "lstm that sees the label, of three cells": lambda seed: LSTMMentor(
        history_length=H, n_labels=C, cells=3, initial_sample_weight=0.9, seed=seed
    ),
}


def cmw(seed: int) -> AbstractMentor:
    mentor = CMWMentor(C, 0.9, seed)
    mentor.take_sizes((9, 3, 5, 3, 9))
    return mentor


MAKERS["cmw"] = cmw


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Callable[[int], AbstractMentor]:
    return MAKERS[request.param]


def features(n: int = 12, dtype: torch.dtype = torch.float64) -> Features:
    generator = torch.Generator().manual_seed(3)
    loss = 5 * torch.rand(n, generator=generator, dtype=dtype)
    difference = torch.randn(n, generator=generator, dtype=dtype)
    progress = torch.rand(n, generator=generator, dtype=dtype)
    history = torch.rand(n, H, generator=generator, dtype=dtype)
    return Features(loss, difference, torch.arange(n) % C, progress, history)


def used(mentor: AbstractMentor, seed: int = 4) -> AbstractMentor:
    """A mentor whose params are no longer the initial ones, in float64."""
    generator = torch.Generator().manual_seed(seed)
    mentor = mentor.double()
    with torch.no_grad():
        for p in mentor.parameters():
            p.add_(torch.randn(p.shape, generator=generator, dtype=p.dtype), alpha=0.5)
    return mentor


def test_one_logit_per_sample_in_the_dtype_of_the_params(make: Callable[[int], AbstractMentor]) -> None:
    for mentor in (make(0), make(0).double()):
        logits = mentor(features())
        assert logits.shape == (12,)
        assert logits.dtype == next(mentor.parameters()).dtype


def test_a_fresh_mentor_gives_every_sample_the_same_weight(make: Callable[[int], AbstractMentor]) -> None:
    torch.testing.assert_close(make(0).sample_weights(features()), torch.full((12,), 0.9))


def test_sample_weights_are_the_sigmoid_of_the_logits(make: Callable[[int], AbstractMentor]) -> None:
    mentor = used(make(0))
    assert torch.equal(mentor.sample_weights(features()), torch.sigmoid(mentor(features())))
    assert mentor.sample_weights(features()).std() > 0


def test_row_wise_in_any_slices_and_any_order(make: Callable[[int], AbstractMentor]) -> None:
    mentor, rows = used(make(0)), features()
    logits = mentor(rows)
    alone = torch.cat([mentor(rows[i : i + 1]) for i in range(len(rows))])
    torch.testing.assert_close(alone, logits)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(mentor(rows[order]), logits[order])


def test_row_wise_seen_by_the_gradient(make: Callable[[int], AbstractMentor]) -> None:
    mentor, rows = used(make(0)), features()
    loss, history = rows.loss.requires_grad_(), rows.history.requires_grad_()
    gradients = torch.autograd.grad(mentor(rows)[4], (loss, history), allow_unused=True)
    for gradient in gradients:
        if gradient is not None:
            others = torch.cat((gradient[:4], gradient[5:]))
            assert torch.count_nonzero(others) == 0
            assert torch.count_nonzero(gradient[4]) > 0


def test_train_and_eval_mode_agree(make: Callable[[int], AbstractMentor]) -> None:
    mentor = used(make(0))
    assert torch.equal(mentor.train()(features()), mentor.eval()(features()))


def test_an_empty_batch_gives_no_weights(make: Callable[[int], AbstractMentor]) -> None:
    assert make(0).sample_weights(features()[:0]).shape == (0,)


def test_every_param_is_trainable_and_is_reached_by_the_gradient(make: Callable[[int], AbstractMentor]) -> None:
    mentor = used(make(0))
    gradients = torch.autograd.grad(mentor(features()).square().sum(), list(mentor.parameters()))
    for (name, _), gradient in zip(mentor.named_parameters(), gradients, strict=True):
        assert gradient.abs().sum() > 0, name


# PyTorch's own forward mode calls a function that it has deprecated.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
def test_gradients_agree_with_a_central_difference(make: Callable[[int], AbstractMentor]) -> None:
    mentor, rows = used(make(0)), features(4)
    names = [name for name, _ in mentor.named_parameters()]

    def logits(*params: Tensor) -> Tensor:
        state = dict(zip(names, params, strict=True))
        output: Tensor = torch.func.functional_call(mentor, state, (rows,))
        return output

    params = tuple(p.detach().requires_grad_() for p in mentor.parameters())
    assert torch.autograd.gradcheck(logits, params, fast_mode=True, check_forward_ad=True)


def test_a_fresh_mentor_learns_from_its_first_step_on(make: Callable[[int], AbstractMentor]) -> None:
    mentor = make(0).double()
    optimizer = torch.optim.Adam(mentor.parameters(), lr=0.05)
    target = (features().loss < 2.5).double()
    values = []
    for _ in range(60):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(mentor(features()), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[1] < values[0]
    assert values[-1] < 0.7 * values[0]


def test_the_seed_decides(make: Callable[[int], AbstractMentor]) -> None:
    first, again, other = make(1).state_dict(), make(1).state_dict(), make(2).state_dict()
    assert all(torch.equal(first[k], again[k]) for k in first)
    if len(list(make(1).parameters())) > 2:  # the linear mentor has nothing random
        assert not all(torch.equal(first[k], other[k]) for k in first)


def test_the_global_random_state_is_neither_read_nor_changed(make: Callable[[int], AbstractMentor]) -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first = make(1).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(12)
    assert all(torch.equal(first[k], v) for k, v in make(1).state_dict().items())


def test_state_dict_round_trip(make: Callable[[int], AbstractMentor]) -> None:
    mentor, other = used(make(0)), make(9).double()
    other.load_state_dict(mentor.state_dict())
    assert torch.equal(other(features()), mentor(features()))


def test_copies_and_pickles(make: Callable[[int], AbstractMentor]) -> None:
    mentor = used(make(0))
    for other in (copy.deepcopy(mentor), pickle.loads(pickle.dumps(mentor))):  # noqa: S301
        assert torch.equal(other(features()), mentor(features()))


@pytest.mark.parametrize("weight", [0.0, 1.0, -0.1, float("nan")])
@pytest.mark.parametrize("kind", MENTORS)
def test_an_initial_sample_weight_without_a_finite_logit_is_refused(kind: str, weight: float) -> None:
    message = (
        rf"^initial_sample_weight is {weight}, but it must lie in \(0, 1\); "
        r"e\.g\. 0\.9 to start with every sample trusted$"
    )
    with pytest.raises(UserError, match=message):
        made(kind, initial_sample_weight=weight, history_length=H)


def made(kind: str, **changes: object) -> AbstractMentor:
    options: dict[str, object] = {
        "features": ("loss",),
        "hidden": (4,),
        "n_classes": C,
        "history_length": 0,
        "initial_sample_weight": 0.9,
        "seed": 0,
    }
    return make_mentor(kind, **{**options, **changes})  # type: ignore[arg-type]


def test_make_mentor_by_name() -> None:
    assert isinstance(made("mlp"), MLPMentor)
    mentor = made("mentornet")
    assert isinstance(mentor, MentorNet)
    assert not mentor.label_feature
    assert mentor.label_embedding.shape == (2, 2)


def test_mentornet_sees_the_label_if_it_is_named() -> None:
    mentor = made("mentornet", features=("loss", "label"))
    assert isinstance(mentor, MentorNet)
    assert mentor.label_feature
    assert mentor.label_embedding.shape == (C, 2)


def test_an_unknown_mentor_is_refused() -> None:
    with pytest.raises(UserError, match=r"^unknown mentor 'gru'; valid: mlp, mentornet, lstm, cmw$"):
        made("gru")


def test_mentornet_refuses_history() -> None:
    message = (
        r"^features is \('loss', 'history'\), but mentor mentornet can't see 'history' "
        r"\(it sees loss, loss_difference, progress and, if named, label\); use mentor mlp or lstm$"
    )
    with pytest.raises(UserError, match=message):
        made("mentornet", features=("loss", "history"))
