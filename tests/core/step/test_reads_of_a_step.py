"""An ordinary step asks the device for nothing, whatever it weighs by: counted below autograd, on a CPU."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from costs.step_overhead import Counting
from ordinary_loops import LOOPS, NEVER
from own_loop import Loop, momentum, noisy, per_sample, student

from ray_mentor import MentorConfig
from ray_mentor.core.mentor.learner import MetaUpdate

READS = ("_local_scalar_dense", "nonzero", "_unique2", "is_nonzero", "equal", "masked_select")
"""Operators that make the host wait until the device has come to them."""


def plain_steps(count: int) -> Counter[str]:
    """Operators of so many steps without a curriculum."""
    model = student()
    optimizer = momentum(model)
    found: Counter[str] = Counter()
    for place, (inputs, labels, _) in enumerate(noisy(count + 2)):
        with Counting() as mode:
            losses = per_sample(model(inputs), labels)
            optimizer.zero_grad()
            losses.mean().backward()
            optimizer.step()
        if place > 1:  # the first steps make the optimizer's state
            found += mode.by_name
    return found


def steps_of(name: str, *, trusted: bool, count: int = 20) -> Counter[str]:
    """Operators of so many ordinary steps, behind the first look of the run."""
    changes = {"mentor": MentorConfig(update_interval=NEVER), **LOOPS[name]}
    loop = Loop(n_classes=3, total_steps=NEVER, **changes)
    loop.curriculum.curriculum.step_number = 1  # at step 0 a meta update is due
    factor = 3.0 if "loss" in changes else 1.0

    def step(inputs: torch.Tensor, labels: torch.Tensor, ids: torch.Tensor) -> None:
        outputs = loop.student(inputs)
        losses = factor * per_sample(outputs, labels)
        mask = ids % 4 == 1 if trusted else None
        loop.finish(loop.curriculum.weigh(losses, labels=labels, sample_ids=ids, outputs=outputs, trusted=mask))

    batches = list(noisy(count + 2))
    for batch in batches[:2]:
        step(*batch)
    with Counting() as mode:
        for batch in batches[2:]:
            step(*batch)
    return mode.by_name


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("name", LOOPS)
def test_twenty_ordinary_steps_read_nothing(name: str, trusted: bool) -> None:
    found = steps_of(name, trusted=trusted)
    assert {operator: found[operator] for operator in READS if found[operator]} == {}


@pytest.mark.parametrize(("name", "most"), [("a mentor", 90), ("uniform", 40)])
def test_an_ordinary_step_runs_few_operators_beyond_a_plain_one(name: str, most: int) -> None:
    beyond = steps_of(name, trusted=False).total() - plain_steps(20).total()
    assert beyond <= 20 * most


def test_a_meta_step_reads_four_times_at_most_beside_the_mentors_own_on_the_host() -> None:
    loop = Loop(n_classes=3, total_steps=NEVER, mentor=MentorConfig(update_interval=1))
    mentor, own = loop.curriculum.mentor, Counting()
    assert mentor is not None
    learn = mentor.learn

    def counted(update: MetaUpdate) -> None:
        with own:
            learn(update)

    mentor.learn = counted  # type: ignore[method-assign]
    batches = list(noisy(4))
    for batch in batches[:3]:
        loop.step(*batch)
    own.by_name.clear()
    with Counting() as mode:
        loop.step(*batches[3])
    assert loop.curriculum.curriculum.meta.done == 4
    assert own.by_name["_local_scalar_dense"] > 0, "they are counted apart"
    assert mode.by_name["_local_scalar_dense"] - own.by_name["_local_scalar_dense"] <= 4
    assert not any(mode.by_name[name] - own.by_name[name] for name in ("nonzero", "_unique2"))
