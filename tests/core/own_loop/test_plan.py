"""A loop that takes other steps than it planned, or in which nothing is ever learnt, is told so."""

from __future__ import annotations

import warnings

import pytest
from own_loop import Loop, noisy

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.errors import UserError

SELDOM = MentorConfig(update_interval=30, meta_batch_size=16)


def said(loop: Loop, steps: int, *, close: bool = False) -> list[str]:
    """The warnings of so many steps."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.run(steps)
        if close:
            loop.curriculum.close()
    assert {warning.filename for warning in caught} <= {__file__, Loop.finish.__code__.co_filename}, "the user's line"
    return [str(warning.message) for warning in caught]


def test_a_mentor_that_never_learns_in_all_planned_steps() -> None:
    loop = Loop(total_steps=10, mentor=SELDOM, curriculum=CurriculumConfig(burn_in=0.2))
    assert said(loop, 9) == []
    assert said(loop, 1) == [
        "total_steps is 10, and all are done, but the mentor never learned, so that all sample weights were equal: it "
        "learns every 30 steps, after 2 of burn-in; give the total_steps that the loop takes, or a smaller "
        "update_interval"
    ]


def test_far_more_steps_than_were_planned_are_said_once() -> None:
    loop = Loop(total_steps=10)
    assert said(loop, 12) == []
    assert said(loop, 20) == [
        "this is step 13, but total_steps is 10: progress, by which the mentor judges and schedules go, ended there; "
        "give the number of steps that the loop takes"
    ]


def test_far_fewer_steps_are_said_at_the_end() -> None:
    loop = Loop(total_steps=100_000, curriculum=CurriculumConfig(burn_in=0.01))
    assert said(loop, 5, close=True) == [
        "the loop ended after 5 of total_steps=100000 steps, but the mentor never learned, so that all sample weights "
        "were equal: it learns every 2 steps, after 1000 of burn-in; give the total_steps that the loop takes, or a "
        "smaller update_interval"
    ]


@pytest.mark.parametrize("steps", [20, 12])
def test_what_goes_as_planned_is_not_spoken_of(steps: int) -> None:
    assert said(Loop(total_steps=20), steps, close=True) == []


def test_a_method_without_a_mentor_has_none_that_could_learn() -> None:
    assert said(Loop(total_steps=4, curriculum=CurriculumConfig(method="uniform")), 4, close=True) == []


def test_no_optimizer_ever_steps() -> None:
    loop = Loop()
    for inputs, labels, ids in noisy(49):
        loop.weigh(inputs, labels, ids).backward()
        assert loop.curriculum.after_step() is None
        loop.optimizer.zero_grad()
    loop.weigh(*next(noisy(1))).backward()
    with pytest.raises(UserError) as raised:
        loop.curriculum.after_step()
    assert str(raised.value) == (
        "after_step was called 50 times in a row, but no optimizer that the curriculum was given has stepped; call "
        "optimizer.step() between weigh and after_step"
    )


def test_a_step_now_and_then_is_enough() -> None:
    """As with a scaler that finds overflows."""
    loop = Loop(total_steps=100)
    for number, batch in enumerate(noisy(120)):
        loop.weigh(*batch).backward()
        if number % 40 == 0:
            loop.optimizer.step()
        loop.curriculum.after_step()
    assert loop.curriculum.curriculum.step_number == 3


def test_many_micro_batches_a_step_are_no_mistake() -> None:
    """Whoever calls after_step after each of them, as Lightning's callback does."""
    loop = Loop(total_steps=100)
    for number, batch in enumerate(noisy(192), 1):
        loop.weigh(*batch).backward()
        if number % 64 == 0:
            loop.optimizer.step()
        loop.curriculum.after_step()
        if number % 64 == 0:
            loop.optimizer.zero_grad()
    assert loop.curriculum.curriculum.step_number == 3


def test_an_error_that_ends_the_loop_is_all_there_is_to_say() -> None:
    loop = Loop(total_steps=100_000, curriculum=CurriculumConfig(burn_in=0.01))

    def stopped() -> None:
        try:
            loop.run(5)
            raise KeyboardInterrupt
        finally:
            loop.curriculum.close()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(KeyboardInterrupt):
            stopped()


def test_closing_twice_says_it_once_and_takes_the_hooks_off_first() -> None:
    loop = Loop(total_steps=100_000, curriculum=CurriculumConfig(burn_in=0.01))
    loop.run(5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="the mentor never learned"):
            loop.curriculum.close()
        loop.curriculum.close()
    assert not loop.optimizer._optimizer_step_post_hooks


@pytest.mark.parametrize(
    ("epochs", "burn_in", "first"),
    [(None, None, 15), (20, None, 15), (50, None, 10), (100, None, 5), (100, 0.3, 30)],
    ids=["not known", "few", "more", "many", "the user's own"],
)
def test_burn_in_ends_before_wrong_labels_are_known_by_heart(
    epochs: int | None, burn_in: float | None, first: int
) -> None:
    """15 % of 100 steps, 5 epochs at most where these are known: the weights of the steps before are 1."""
    curriculum = CurriculumConfig(burn_in=burn_in)
    loop = Loop(total_steps=100, mentor=MentorConfig(update_interval=1), curriculum=curriculum, epochs=epochs)
    equal = [bool((record.sample_weights == 1).all()) for record in loop.run(35)]
    assert equal == [step < first for step in range(35)]


def test_epochs_are_a_whole_number() -> None:
    with pytest.raises(UserError, match="epochs is 0, but it must be a whole number from 1 on"):
        Loop(total_steps=10, epochs=0)
