"""A factor on a student's learning rates, learnt while it trains."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ray_mentor.config.groups.learned import LearnConfig
from ray_mentor.core.influence.meta_gradient import unwrapped
from ray_mentor.core.learned_rate.log_factor import LogFactor
from ray_mentor.core.learned_rate.snapshot import Snapshot, on_host, values_of
from ray_mentor.core.learned_rate.trace import Trace
from ray_mentor.core.schema import A_FLOAT, COUNT, AbstractSchema, Each, Fields, Is, Like, Maybe, check
from ray_mentor.core.student.copies import copy_into, named_copies
from ray_mentor.errors import UserError, shown

MOST_IN_A_ROW = 20
"""Steps that are taken back one after the other; a millionth of the rate would not help then."""


class LearnedRate:
    """Learning rates e^a times what the user's schedule says; a is learnt in the first part of training, then it stays.

    So the scale is learnt, and the shape is the schedule's. Every ``learn_interval`` steps, before the student steps,

        ∂L/∂a = ⟨g, z⟩,  g = ∇L(θ),  z ← γ·z + (θ' − θ)  (:class:`Trace`),  a ← LogFactor's step along it

    with L the weighted loss of the batch at hand, of which the student has not learnt yet, and whose gradient is there
    anyway: hypergradient descent (Baydin et al. 2018), but for z, in which earlier steps count, because one step ahead
    a small rate looks best (Wu et al. 2018). The step itself is taken at the rate as it was. It begins at a thousandth,
    and doubles every five steps while ⟨g, z⟩ is below 0. When it no longer is, student, optimizers and rate are put
    back to what they were two to three doublings before, since a rate that is too high may break what no other rate
    mends (units that are dead); and z is 0, since it holds steps of another size.

    When the mean training loss has doubled since the last look and is above where it began, or is not finite, student,
    optimizers and z are put back as they were then, and the rate is halved. All those steps are the schedule's all the
    same.

    Args:
        student: bare, the same on every rank.
        optimizers: the student's own, whose steps are in proportion to their learning rates.
        total_steps: planned.

    Raises:
        UserError: too few steps for a rate to be found in.

    Attributes:
        factor: a.
        rejected: how often student and optimizers were put back.
        slope: the last ∂L/∂a; None before the first.
    """

    def __init__(
        self,
        student: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        settings: LearnConfig,
        *,
        total_steps: int,
    ) -> None:
        self._student, self._optimizers, self._settings = student, tuple(optimizers), settings
        self._total_steps = total_steps
        check_room(settings, total_steps)
        self._interval = settings.learn_interval
        self.factor = LogFactor(settings.learn_step, climb=math.log(2) * settings.learn_interval / DOUBLES_IN)
        self.rejected = 0
        self.slope: float | None = None
        self._step = 0
        self._in_a_row = 0
        self._losses = _Losses()
        self._trace = Trace(student, settings.learn_trace)
        self._then: _Then | None = None
        self._below: list[tuple[float, _Then]] = []  # a, and what there was, every five steps of the climb
        self._beside: Mapping[str, torch.Tensor] = {}
        self._is_bad = False
        self._is_under_way = self._has_seen = self._has_entered = False
        self._depth = [0] * len(self._optimizers)
        self._own: list[list[Any]] = [[] for _ in self._optimizers]
        self._hooks = [
            hook
            for place, optimizer in enumerate(self._optimizers)
            for hook in (
                optimizer.register_step_pre_hook(functools.partial(self._enter, place)),
                optimizer.register_step_post_hook(functools.partial(self._leave, place)),
            )
        ]

    @property
    def multiplier(self) -> float:
        """e^a."""
        return math.exp(self.factor.value)

    @property
    def learns(self) -> bool:
        """Whether a still changes."""
        return self._step < self._settings.learn_until * self._total_steps

    @property
    def is_bad(self) -> bool:
        """Whether the step that is under way is going to be taken back."""
        return self._is_bad

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Inside, the optimizers' settings are those that their steps are taken with."""
        for place in range(len(self._optimizers)):
            self._multiply(place)
        try:
            yield
        finally:
            for place in range(len(self._optimizers)):
                self._restore(place)

    def begins(self) -> None:
        """A step is under way: the optimizers' next one is its."""
        for place, depth in enumerate(self._depth):
            if depth:  # the last one ended in an error
                self._restore(place)
                self._depth[place] = 0
        self._is_under_way = True

    def sees(self, mean: float, error: float = 0.0) -> bool:
        """Takes in the mean training loss of the step that is under way, over all ranks, before the student steps.

        Args:
            error: its standard error: by three of those of the last look a loss may be higher by chance.

        Returns:
            Whether the student may go on from here. If not, whatever it does now is taken back.
        """
        if self._then is None and not math.isfinite(mean):  # there is nothing to go back to
            return True
        is_first, self._has_seen = not self._has_seen, True
        if not self._losses.is_fine(mean) and self._in_a_row < MOST_IN_A_ROW:
            self._is_bad = True
        if is_first and self.factor.climbs and self._step % DOUBLES_IN == 0 and not self._is_bad:
            self._below = [*self._below[1 - GENERATIONS :], (self.factor.value, self._taken())]
        begins = self._then is None or self._step % self._interval == 0
        if is_first and begins and not self._is_bad:
            self._losses.note(mean, error)
            self._keep()
        return not self._is_bad

    def keep_beside(self, values: Mapping[str, torch.Tensor]) -> None:
        """Puts these tensors back as well, with the student that they follow; say so before the first step."""
        self._beside = values

    def after_step(self) -> None:
        """The student has stepped, or has not where all that it did is taken back."""
        if self._is_bad:
            self._go_back()
        elif self._is_due and self._has_entered:
            self._in_a_row = 0
            if self.learns:
                self._learn()
        self._is_under_way = self._has_entered = self._has_seen = False
        self._step += 1

    def has_not_stepped(self) -> None:
        """The step that was under way did not happen: what is gone back to is so at once."""
        if self._is_bad:
            self._go_back()
        self._is_under_way = self._has_entered = self._has_seen = False

    def state(self) -> dict[str, Any]:
        """What it carries from one step to the next, in plain types: a copy, in the host's memory."""
        return {
            "step": self._step,
            "rejected": self.rejected,
            "in_a_row": self._in_a_row,
            "slope": self.slope,
            "factor": self.factor.state(),
            "losses": self._losses.state(),
            "trace": on_host(self._trace.average),
            "then": None if self._then is None else self._then.state(),
            "below": [{"value": value, **then.state()} for value, then in self._below],
        }

    def load(self, state: Any) -> None:
        """Goes on where :meth:`state` was taken.

        Raises:
            UserError: a state of another student, or one that is none; then nothing has changed.
        """
        check(state, self._schema(), "the learnt rate's state", "it is damaged, or of a run with other settings")
        self._step, self.rejected = state["step"], state["rejected"]
        self._in_a_row, self.slope = state["in_a_row"], state["slope"]
        self.factor.load(state["factor"])
        self._losses.load(state["losses"])
        self._trace.load(state["trace"])
        self._is_bad = self._is_under_way = self._has_seen = self._has_entered = False
        self._then = None if state["then"] is None else self._loaded(state["then"])
        self._below = [(each["value"], self._loaded(each)) for each in state["below"]]

    def close(self) -> None:
        """Takes its hooks off the optimizers."""
        for hook in self._hooks:
            hook.remove()

    def _loaded(self, state: dict[str, Any]) -> _Then:
        found = self._taken()
        found.load(state)
        return found

    def _schema(self) -> AbstractSchema:
        average, values = Like(on_host(self._trace.average)), Like(on_host(values_of(self._student, self._beside)))
        a_table = Is(lambda value: isinstance(value, dict), "a table")
        taken = {"values": values, "states": Each(Each(a_table, keys=COUNT)), "trace": average}
        return Fields(
            step=COUNT,
            rejected=COUNT,
            in_a_row=COUNT,
            slope=Maybe(A_FLOAT),
            factor=Like(self.factor.state()),
            losses=Fields(first=Maybe(A_FLOAT), last=Maybe(A_FLOAT), error=A_FLOAT),
            trace=average,
            then=Maybe(Fields(**taken)),
            below=Each(Fields(value=A_FLOAT, **taken)),
        )

    @property
    def _is_due(self) -> bool:
        return self._step % self._interval == self._interval - 1

    def _keep(self) -> None:
        if self._then is None:
            self._then = self._taken()
        else:
            self._then.snapshot.take()
            copy_into(list(self._then.trace.values()), list(self._trace.average.values()))

    def _taken(self) -> _Then:
        snapshot = Snapshot(self._student, self._optimizers, self._beside)
        return _Then(snapshot, named_copies(self._trace.average))

    def _go_back(self) -> None:
        assert self._then is not None
        climbed = self.factor.climbs
        self._put_back(self._then)
        self.factor.halve()
        self.rejected += 1
        self._in_a_row += 1
        self._is_bad = False
        if climbed:
            self._climb_down()

    def _put_back(self, then: _Then) -> None:
        then.snapshot.put_back()
        self._trace.load(then.trace)

    def _learn(self) -> None:
        """From the slope that was looked at before the step, which was still taken at the rate before."""
        if self.slope is None:
            return
        climbed = self.factor.climbs
        self.factor.step(self.slope)
        if climbed and not self.factor.climbs:
            self._climb_down()

    def _climb_down(self) -> None:
        """The climb was too high."""
        self.factor.value, then = self._below[0]
        self._below = []
        self._put_back(then)
        self._trace.forget()
        self._keep()

    def _enter(self, place: int, *_: Any) -> None:
        self._depth[place] += 1
        if self._depth[place] > 1:  # a class's step may call that of the class below it
            return
        if self._is_under_way and not self._has_entered:  # not a step beside, of a penalty
            self._has_entered = True
            if self.learns:
                self._look()
        self._multiply(place)

    def _look(self) -> None:
        """The slope at θ along the steps so far, where it is due; then the trace takes θ in."""
        if self._is_due and not self._is_bad:
            given = {name: param.grad for name, param in self._student.named_parameters() if param.grad is not None}
            self.slope = self._trace.slope(given)
        self._trace.before_step()

    def _leave(self, place: int, *_: Any) -> None:
        self._depth[place] -= 1
        if self._depth[place] == 0:
            self._restore(place)

    def _multiply(self, place: int) -> None:
        groups = self._optimizers[place].param_groups
        self._own[place] = [group["lr"] for group in groups]
        for group in groups:
            group["lr"] = group["lr"] * self.multiplier

    def _restore(self, place: int) -> None:
        for group, rate in zip(self._optimizers[place].param_groups, self._own[place], strict=True):
            group["lr"] = rate


def check_room(settings: LearnConfig, total_steps: int) -> None:
    """Raises a UserError where there are too few steps for a rate to be found in."""
    steps = int(settings.learn_until * total_steps)
    if steps < FEWEST * DOUBLES_IN:
        raise UserError(
            f"learn is {shown(list(settings.learn))}, but a learning rate takes {FEWEST * DOUBLES_IN} steps or more to "
            f"be found, and it is learnt in {steps} (learn_until is {settings.learn_until:g}, of {total_steps} steps); "
            "give more epochs, or a learning rate without --learn"
        )


DOUBLES_IN, FEWEST, GENERATIONS = 5, 20, 3
"""Steps in which the rate doubles while it climbs: fewer, and momentum hides for how long that has been too much;
doublings that a run has room for, to a thousand times the given rate; and how many of them can be undone."""


def learned_rate(
    learn: Sequence[str] | LearnConfig,
    student: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    total_steps: int,
) -> LearnedRate | None:
    """The factor on the optimizers' learning rates; None where they are as they are given.

    Args:
        learn: what is learnt, by name, or how as well.

    Raises:
        UserError: the name of something that can't be learnt.
    """
    if isinstance(learn, str):
        raise UserError(f"learn is {shown(learn)}, but it must be a sequence of names; e.g. ({shown(learn)},)")
    settings = learn if isinstance(learn, LearnConfig) else LearnConfig(learn=tuple(learn))
    if "lr" not in settings.learn:
        return None
    return LearnedRate(unwrapped(student), optimizers, settings, total_steps=total_steps)


@dataclass(frozen=True)
class _Then:
    """What is gone back to."""

    snapshot: Snapshot
    trace: dict[str, torch.Tensor]

    def state(self) -> dict[str, Any]:
        return {**self.snapshot.state(), "trace": on_host(self.trace)}

    def load(self, state: dict[str, Any]) -> None:
        self.snapshot.load(state)
        copy_into([self.trace[name] for name in state["trace"]], list(state["trace"].values()))


class _Losses:
    """Mean training losses: of the first step, and of the last look, with its standard error."""

    def __init__(self) -> None:
        self.first: float | None = None
        self.last: float | None = None
        self.error = 0.0

    def is_fine(self, value: float) -> bool:
        if self.first is None or self.last is None or not math.isfinite(value):
            return math.isfinite(value)
        return value <= max(self.last + abs(self.last), self.first) + 3 * self.error  # a loss may lie below 0

    def note(self, value: float, error: float) -> None:
        self.first = value if self.first is None else self.first
        self.last, self.error = value, error

    def state(self) -> dict[str, float | None]:
        return {"first": self.first, "last": self.last, "error": self.error}

    def load(self, state: dict[str, Any]) -> None:
        self.first, self.last, self.error = state["first"], state["last"], state["error"]
