"""How many operators an ordinary step asks a device for, and how often a meta step waits for it.

That an ordinary step waits for nothing is seen on a stand-in whose reads raise (``test_stand_in_device.py``).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from costs.step_overhead import FREE, Counting
from ordinary_loops import NEVER, ordinary_steps
from own_loop import Loop, momentum, noisy, per_sample, student
from stand_in_device import DEVICE, StandInDevice

from ray_mentor import MentorConfig
from ray_mentor.core.influence.updates import LookedBack
from ray_mentor.core.mentor.learner import MetaUpdate


def plain_steps(count: int) -> None:
    """So many steps without a curriculum, on the device."""
    model = student().to(DEVICE)
    optimizer = momentum(model)
    for inputs, labels, _ in noisy(count):
        losses = per_sample(model(inputs.to(DEVICE)), labels.to(DEVICE))
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()


def operators(steps: Any) -> int:
    """Of twenty steps on the device, behind the first two, which make what is kept; views and shapes count nothing."""
    found = []
    for count in (2, 22):
        with StandInDevice() as device:
            steps(count)
        found.append(sum(times for name, times in device.by_name.items() if name not in FREE))
    return found[1] - found[0]


@pytest.mark.parametrize(("name", "most"), [("a mentor", 90), ("uniform", 40)])
def test_an_ordinary_step_runs_few_operators_beyond_a_plain_one(name: str, most: int) -> None:
    def weighed(count: int) -> None:
        ordinary_steps(name, DEVICE, trusted=False, count=count)

    plain = operators(plain_steps)
    assert plain > 20 * 10
    assert 20 * 20 < operators(weighed) - plain <= 20 * most


def test_a_meta_step_reads_four_times_at_most_beside_the_mentors_own_on_the_host() -> None:
    loop = Loop(n_classes=3, total_steps=NEVER, mentor=MentorConfig(update_interval=1))
    mentor, own, whole = loop.curriculum.mentor, Counting(), Counting()
    meta = loop.curriculum.curriculum.meta
    assert mentor is not None
    learn, look_back = mentor.learn, meta.look_back

    def learnt(update: MetaUpdate) -> None:
        with own:
            learn(update)

    def looked_back(*args: Any, **named: Any) -> LookedBack:
        with whole:
            return look_back(*args, **named)

    mentor.learn, meta.look_back = learnt, looked_back  # type: ignore[method-assign]
    batches = list(noisy(4))
    for batch in batches[:3]:
        loop.step(*batch)
    for mode in (own, whole):
        mode.by_name.clear()
    loop.step(*batches[3])
    assert meta.done == 4
    beside: Counter[str] = whole.by_name - own.by_name
    assert own.by_name["_local_scalar_dense"] > 0, "they are counted apart"
    assert whole.by_name["_local_scalar_dense"] >= own.by_name["_local_scalar_dense"]
    assert beside["_local_scalar_dense"] <= 4
    assert not any(beside[name] for name in ("nonzero", "_unique2"))
