"""A mixture in a loop of one's own: what it learns, goes on from, shares among ranks, and refuses."""

from __future__ import annotations

import copy
import dataclasses
import io
import threading
from typing import Any

import numpy as np
import pytest
import torch
from same_values import assert_same_values
from thread_ranks import Meeting, on_ranks
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from ray_mentor import LearnedMixture, MixtureConfig, NonFiniteLossError, UserError
from ray_mentor.core.domains.influences import DomainProbe
from ray_mentor.core.exchange import AbstractExchange, Alone
from ray_mentor.core.losses.cross_entropy import sequence_cross_entropy
from ray_mentor.core.own_loop.mixture_parts import Targets
from ray_mentor.core.own_loop.sources import sources_of

ONE_AT_A_TIME = threading.RLock()
"""Of ranks that are threads: forward mode and random state are the process's."""

STEPS, CLASSES = 120, 3
SETTINGS = MixtureConfig(shares_interval=5, prior="uniform", share_floor=0.02, probes=12)
CENTRES = torch.eye(CLASSES, 6, dtype=torch.float64) * 2


def pool(seed: int, n: int, *, junk: bool = False) -> tuple[Tensor, Tensor]:
    """Three clusters, and their numbers, or any numbers."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (n,), generator=draw)
    inputs = CENTRES[labels] + torch.randn(n, 6, generator=draw, dtype=torch.float64)
    return inputs, torch.randint(CLASSES, (n,), generator=draw) if junk else labels


SOURCES = {"good": pool(1, 200), "junk": pool(2, 300, junk=True), "more": TensorDataset(*pool(3, 90))}


def student() -> nn.Module:
    with ONE_AT_A_TIME:  # ranks that are threads draw from the same generator
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.1), nn.Linear(8, CLASSES)).double()


class Loop:
    """A student, its optimizer and its mixture."""

    def __init__(self, exchange: AbstractExchange | None = None, **changes: Any) -> None:
        self.student = student()
        self.optimizer = torch.optim.AdamW(self.student.parameters(), 0.01)
        given = {"sources": SOURCES, "target": pool(4, 60), "total_steps": STEPS, "settings": SETTINGS, **changes}
        self.exchange = exchange or Alone()
        self.mixture = LearnedMixture(
            self.student, self.optimizer, given.pop("sources"), exchange=self.exchange, **given
        )

    def run(self, until: int = STEPS, batch_size: int = 24) -> Loop:
        if self.mixture.step >= until:
            return self
        for batch in self.mixture.batches(batch_size):
            torch.manual_seed(batch.step)
            loss = self.mixture.weigh(sequence_cross_entropy(self.student(batch.inputs), batch.labels), batch)
            self.optimizer.zero_grad()
            loss.backward()
            grads = [p.grad for p in self.student.parameters() if p.grad is not None]
            for grad, whole in zip(grads, self.exchange.sum_of(grads), strict=True):
                grad.copy_(whole / self.exchange.world_size)
            self.optimizer.step()
            self.mixture.after_step()
            if self.mixture.step == until:
                break
        return self


def test_junk_goes_to_the_floor_and_what_helps_stays() -> None:
    mixture = Loop().run().mixture
    assert mixture.shares["junk"] < 0.05
    assert min(mixture.shares["good"], mixture.shares["more"]) > 0.2
    assert len(mixture.updates) == STEPS // 5 - 2  # burn-in is 5 % of the steps: the first window, and some of the next
    assert all(update.gap is not None and update.gap >= 0 for update in mixture.updates)
    assert sum(mixture.drawn.values()) == STEPS * 24
    last = mixture.updates[-1]
    assert last.influence["junk"] > last.influence["good"]


@pytest.mark.parametrize(("by", "expected"), [("uniform", [1 / 3] * 3), ("size", [200 / 590, 300 / 590, 90 / 590])])
def test_shares_that_are_not_learnt_stay(by: str, expected: list[float]) -> None:
    mixture = Loop(settings=dataclasses.replace(SETTINGS, mixture=by)).run(until=20).mixture
    assert list(mixture.shares.values()) == pytest.approx(expected)
    assert mixture.updates == []
    np.testing.assert_allclose(list(mixture.drawn.values()), np.array(expected) * 20 * 24, atol=4)


@pytest.mark.parametrize("until", [1, 37, 65])
def test_it_goes_on_to_the_same_bits(until: int) -> None:
    whole = Loop().run()
    first = Loop().run(until)
    stored = io.BytesIO()
    torch.save([first.mixture.state_dict(), first.student.state_dict(), first.optimizer.state_dict()], stored)
    stored.seek(0)
    mixture, params, moments = torch.load(stored, weights_only=True)
    second = Loop()
    second.mixture.load_state_dict(mixture)
    second.student.load_state_dict(params)
    second.optimizer.load_state_dict(moments)
    second.run()
    assert_same_values(second.mixture.state_dict(), whole.mixture.state_dict())
    assert_same_values(second.student.state_dict(), whole.student.state_dict())


def test_two_ranks_are_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for rounding: without dropout, whose masks each rank draws for its own samples."""
    swap = Meeting.swap

    def in_turns(self: Meeting, rank: int, value: Any) -> list[Any]:
        ONE_AT_A_TIME.release()
        try:
            return swap(self, rank, value)
        finally:
            ONE_AT_A_TIME.acquire()

    monkeypatch.setattr(Meeting, "swap", in_turns)

    def main(exchange: AbstractExchange) -> LearnedMixture:
        with ONE_AT_A_TIME:
            loop = Loop(exchange)
            loop.student.eval()
            return loop.run(until=60, batch_size=25).mixture

    alone = main(Alone())
    ranks = on_ranks(2, main)
    for mixture in ranks:
        assert list(mixture.shares.values()) == pytest.approx(list(alone.shares.values()), abs=1e-9)
        for update, own in zip(mixture.updates, alone.updates, strict=True):
            assert update.target_loss == pytest.approx(own.target_loss, abs=1e-9)
            assert list(update.influence.values()) == pytest.approx(list(own.influence.values()), abs=1e-9)
    assert ranks[0].shares == ranks[1].shares


def test_ranks_share_a_batch() -> None:
    def main(exchange: AbstractExchange) -> Tensor:
        with ONE_AT_A_TIME:
            batch = next(Loop(exchange).mixture.batches(7))
        return batch.inputs if isinstance(batch.inputs, Tensor) else torch.empty(0)

    (whole,) = [main(Alone())]
    parts = on_ranks(3, main)
    assert [len(part) for part in parts] == [3, 2, 2]
    for rank, part in enumerate(parts):
        assert torch.equal(part, whole[rank::3])


class Many(Alone):
    """As one of many ranks sees itself."""

    world_size = 61


def test_more_ranks_than_there_are_samples_for_are_refused() -> None:
    with pytest.raises(UserError, match="target 'target' has 60 samples, but each of the 61 ranks needs one"):
        Loop(Many(), settings=dataclasses.replace(SETTINGS, probes=30))
    with pytest.raises(UserError, match="probes is 12, 36 in all, but each of the 61 ranks needs one"):
        Loop(Many(), target=pool(4, 61))


@pytest.mark.parametrize("by", ["learned", "uniform", "size"])
@pytest.mark.parametrize(("repeats", "interval"), [(6.0, 5), (4.9, 50), (5.0, 7)])
def test_no_sample_comes_more_often_than_it_may(by: str, repeats: float, interval: int) -> None:
    changes = {"max_repeats": repeats, "share_floor": 0.0, "mixture": by, "shares_interval": interval}
    mixture = Loop(settings=dataclasses.replace(SETTINGS, **changes)).run().mixture
    for name, rows in SOURCES.items():
        size = len(rows[1]) if isinstance(rows, tuple) else len(rows)
        assert mixture.drawn[name] <= repeats * size + 1
    assert sum(mixture.drawn.values()) == STEPS * 24


def test_a_loop_that_broke_off_goes_on() -> None:
    whole = Loop().run()
    parts = Loop()
    for until in (1, 12, 33, 70, STEPS):
        parts.run(until)
    assert_same_values(parts.mixture.state_dict(), whole.mixture.state_dict())
    assert_same_values(parts.student.state_dict(), whole.student.state_dict())
    again = Loop().run(10)
    with pytest.raises(UserError, match="batch_size is 25, but the mixture goes on from batches of 24"):
        next(again.mixture.batches(25))


def test_a_batch_that_nobody_trains_on_is_refused() -> None:
    batches = Loop().mixture.batches(24)
    next(batches)
    with pytest.raises(UserError, match="the batch of step 0 was drawn, but not trained on"):
        next(batches)


def test_an_optimizer_without_a_formula_is_measured() -> None:
    loop = Loop(total_steps=40)
    loop.optimizer = torch.optim.Adamax(loop.student.parameters(), 0.02)
    loop.mixture = LearnedMixture(
        loop.student, loop.optimizer, SOURCES, target=pool(4, 60), total_steps=40, settings=SETTINGS
    )
    mixture = loop.run(40).mixture
    assert mixture.updates[-1].influence["junk"] > mixture.updates[-1].influence["good"]


def test_each_target_draws_samples_of_its_own() -> None:
    rows = (torch.arange(100.0)[:, None], torch.arange(100))
    targets = Targets(sources_of({"a": rows, "b": rows}, "target"), (0.5, 0.5), 10, 0, Alone(), torch.device("cpu"))
    first, second = (target.batch.labels.tolist() for target in targets(3))
    assert first != second
    assert [target.batch.labels.tolist() for target in targets(3)] == [first, second]
    assert first != targets(4)[0].batch.labels.tolist()


def test_the_shares_that_a_horizon_goes_by_are_those_of_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, ahead = [], DomainProbe._ahead

    def noted(self: DomainProbe, *given: Any) -> Any:
        seen.append(given[-1])
        return ahead(self, *given)

    monkeypatch.setattr(DomainProbe, "_ahead", noted)
    mixture = Loop(settings=dataclasses.replace(SETTINGS, horizon=1)).run(until=40).mixture
    before = [list(update.shares.values()) for update in mixture.updates]
    np.testing.assert_allclose(seen[1:], before[:-1])
    np.testing.assert_allclose(seen[0], np.ones(3) / 3)


def test_padding_is_no_place() -> None:
    logits, labels = torch.randn(3, 6, 5), torch.randint(5, (3, 6))
    labels[0, 2:], labels[2] = -100, -100
    found = sequence_cross_entropy(logits, labels)
    assert found[0] == pytest.approx(float(sequence_cross_entropy(logits[:1, :2], labels[:1, :2])))
    assert found[2] == 0


def test_several_targets_have_weights() -> None:
    targets = {"a": pool(5, 40), "b": pool(6, 40, junk=True)}
    heavy = Loop(target=targets, target_weights={"a": 3.0, "b": 0.0}).run(until=30).mixture
    only = Loop(target={"a": targets["a"]}).run(until=30).mixture
    assert_same_values(heavy.updates[0].influence, only.updates[0].influence)
    huge = Loop(target=targets, target_weights={"a": 1e308, "b": 1e308}).run(until=30).mixture
    both = Loop(target=targets).run(until=30).mixture
    assert_same_values(huge.updates[0].influence, both.updates[0].influence)
    assert both.updates[0].target_loss != only.updates[0].target_loss


DATA_SET = TensorDataset(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sources": {}}, "sources is dict, but it must map names to data"),
        ({"sources": {"a": (torch.zeros(2, 3), torch.zeros(1))}}, "source 'a' has 2 inputs and 1 labels"),
        ({"sources": {"a": 3}}, "source 'a' is a int, but it must be"),
        ({"sources": {"a": TensorDataset(torch.zeros(0))}}, "source 'a' has no samples"),
        ({"total_steps": 0}, "total_steps is 0"),
        ({"total_steps": 2.5}, "total_steps is 2.5, but it must be a whole number from 1 on"),
        ({"seed": -1}, "seed is -1, but it must be a whole number from 0 on"),
        ({"sources": {1: pool(0, 3)}}, "sources has the name 1, but names are text"),
        (
            {"sources": {"a": pool(0, 3), "b": pool(1, 3), "c": pool(0, 3)}},
            "'a' and 'c' have the same samples; leave one",
        ),
        ({"sources": {"a": DATA_SET, "b": DATA_SET}}, "'a' and 'b' have the same samples; leave one"),
        ({"sources": {"a": pool(0, 3)}, "target": pool(0, 3)}, "target 'target' is source 'a' as well"),
        ({"target": {"t": pool(0, 3)}, "target_weights": {"t": float("inf")}}, "weights are at least 0"),
        ({"target": {"t": pool(0, 3)}, "target_weights": {"u": 1.0}}, "target_weights names"),
        ({"target": {"t": pool(0, 3)}, "target_weights": {"t": 0.0}}, "weights are at least 0, and one is above"),
        ({"settings": MixtureConfig(share_floor=0.4)}, "share_floor is 0.4, but 3 sources"),
    ],
)
def test_what_makes_no_mixture_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Loop(**changes)


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        (
            "mixture",
            "best",
            "unknown mixture 'best'; valid: learned, uniform, size, odm, doge, doremi, or shares such as",
        ),
        ("mixture", "fixed:a=0.7,b", "'b' is no source with a share in"),
        ("mixture", "fixed:", "'' is no source with a share in"),
        ("mixture", "fixed:a=0.7,b=nan", "'b=nan' is no source with a share"),
        ("mixture", "fixed:a=-0.2,b=1.2", "'a=-0.2' is no source with a share"),
        ("mixture", "fixed:a=0.5,a=0.5", "it names 'a' twice"),
        ("mixture", "fixed:a=0.6,b=0.3", "its shares add up to 0.9; they must add up to 1"),
        ("share_floor", 1.0, r"share_floor is 1.0, but it must lie in \[0, 1\)"),
        ("probes", 1, "probes is 1, but it must be a whole number, and at least 2"),
        ("max_repeats", 0.5, "max_repeats is 0.5, but it must be at least 1"),
        ("shares_rate", -1.0, "shares_rate is -1.0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(setting: str, value: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        MixtureConfig(**{setting: value})


def test_fixed_shares_are_named_and_stay() -> None:
    settings = dataclasses.replace(SETTINGS, mixture="fixed:more=0.33, good=0.66,junk=0")
    mixture = Loop(settings=settings).run(until=20).mixture
    assert mixture.shares == pytest.approx({"good": 2 / 3, "junk": 0, "more": 1 / 3}, abs=1e-8)
    assert mixture.drawn == {"good": 320, "junk": 0, "more": 160}
    with pytest.raises(UserError, match=r"names more, good, but the sources are good, junk, more; give each its share"):
        Loop(settings=dataclasses.replace(SETTINGS, mixture="fixed:more=0.3,good=0.7"))


@pytest.mark.parametrize("rule", ["odm", "doge", "doremi"])
def test_a_published_rule_goes_on_to_the_same_bits(rule: str) -> None:
    settings = dataclasses.replace(SETTINGS, mixture=rule, max_repeats=50.0)
    given = {"settings": settings, "reference": student() if rule == "doremi" else None}
    whole, first, second = (Loop(**given) for _ in range(3))
    whole.run(until=60)
    first.run(until=37)
    second.mixture.load_state_dict(copy.deepcopy(first.mixture.state_dict()))
    second.student.load_state_dict(first.student.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.run(until=60)
    assert len(whole.mixture.updates) == 10
    assert_same_values(second.mixture.state_dict(), whole.mixture.state_dict())
    shares = whole.mixture.shares
    assert sum(shares.values()) == pytest.approx(1)
    if rule != "doremi":  # the reference is an untrained one
        assert shares["junk"] > 0.4 if rule == "odm" else shares["junk"] < 0.3


def test_a_reference_is_doremis_alone() -> None:
    with pytest.raises(UserError, match=r"mixture is 'doremi', and reference was not given; give it to doremi"):
        Loop(settings=dataclasses.replace(SETTINGS, mixture="doremi"))
    with pytest.raises(UserError, match=r"mixture is 'learned', and reference was given; give it to doremi, and to"):
        Loop(reference=student())


def test_calls_out_of_turn_are_refused() -> None:
    loop = Loop()
    with pytest.raises(UserError, match="after_step was called before weigh"):
        loop.mixture.after_step()
    batches = loop.mixture.batches(24)
    first = next(batches)
    losses = sequence_cross_entropy(loop.student(first.inputs), first.labels)
    with pytest.raises(UserError, match="one loss a sample"):
        loop.mixture.weigh(losses.mean(), first)
    loop.mixture.weigh(losses, first)
    with pytest.raises(UserError, match="after_step was not called"):
        next(batches)


def test_more_steps_than_samples_may_be_repeated_are_refused() -> None:
    loop = Loop(settings=dataclasses.replace(SETTINGS, max_repeats=2.0))
    with pytest.raises(UserError, match=r"2,880 samples are asked of sources that have 590; give at least 4.88"):
        next(loop.mixture.batches(24))


def test_gradients_that_are_gone_and_losses_that_are_no_numbers_are_refused() -> None:
    loop = Loop(settings=dataclasses.replace(SETTINGS, shares_burn_in=0.0))
    batch = next(loop.mixture.batches(24))
    losses = sequence_cross_entropy(loop.student(batch.inputs), batch.labels)
    with pytest.raises(NonFiniteLossError, match="a loss of step 0 is not finite"):
        loop.mixture.weigh(losses * float("nan"), batch)
    loop.mixture.weigh(losses, batch).backward()
    loop.optimizer.step()
    loop.optimizer.zero_grad()
    with pytest.raises(UserError, match="the gradients are gone"):
        loop.mixture.after_step()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format_version": 9}, "no state of a mixture of version 2"),
        ({"names": ["a", "b", "c"]}, "give the same sources and targets in the same order"),
        ({"seed": 3}, "seed of the mixture's state is 3"),
        ({"settings": dataclasses.asdict(MixtureConfig())}, "settings of the mixture's state is"),
    ],
)
def test_a_state_of_another_mixture_is_refused(change: dict[str, Any], says: str) -> None:
    loop = Loop().run(until=10)
    with pytest.raises(UserError, match=says):
        Loop().mixture.load_state_dict({**loop.mixture.state_dict(), **change})


def changed(state: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """A copy with another value at a place such as "shares.sum"."""
    found: dict[str, Any] = copy.deepcopy(state)
    *tables, name = place.split(".")
    table: Any = found
    for each in tables:
        table = table[int(each)] if isinstance(table, list) else table[each]
    table[int(name) if isinstance(table, list) else name] = value
    return found


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("step", -1),
        ("step", "3"),
        ("step", 2**70),
        ("shares.shares", [0.5, 0.5, 0.5]),
        ("shares.shares", [1.0, 0.0]),
        ("shares.sum", [float("nan")] * 3),
        ("windows.windows", [[0, 1, 2]]),
        ("windows.sizes", [0, 1, 2]),
        ("windows.steps", 0),
        ("windows", "none"),
        ("updates", [{"step": 1}]),
        ("updates.0.influence", {"good": "much"}),
        ("updates.0.more", 1),
        ("step", 21),
        ("step", 4.5),
        ("windows", None),
        ("windows.windows.0.0", 5),
        ("windows.windows", [1]),
        ("windows.windows", [[0, 10**30, 1, 2]]),
        ("windows.total_steps", 121),
        ("shares.weight", ["a"] * 3),
        ("shares.weight", [-1.0] * 3),
        ("targets", []),
        ("settings", {}),
        ("seed", 1),
        ("shares", None),
    ],
)
def test_a_state_that_is_damaged_is_refused(place: str, value: Any) -> None:
    settings = dataclasses.replace(SETTINGS, shares_burn_in=0.0)
    state = Loop(settings=settings).run(until=10).mixture.state_dict()
    mixture = Loop(settings=settings).mixture
    Loop(settings=settings).mixture.load_state_dict(copy.deepcopy(state))
    before = mixture.state_dict()
    with pytest.raises(UserError, match="state"):
        mixture.load_state_dict(changed(state, place, value))
    assert_same_values(mixture.state_dict(), before)
