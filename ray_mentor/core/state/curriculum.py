"""What a curriculum carries from one step to the next, apart from student and optimizer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.mentor.guards import GuardState
from ray_mentor.core.mentor.learner import MentorState
from ray_mentor.core.step.memorising import MemorisingState
from ray_mentor.core.step.units import Units
from ray_mentor.errors import UserError


@dataclass(frozen=True)
class CurriculumState:
    """A curriculum between two steps.

    Attributes:
        step: steps done.
        meta_updates: meta updates done.
        percentile: the running percentile, None before the first step.
        memorising: what is known of how much the student knows by heart.
        history: the whole loss history's table; None where it is kept apart.
        mentor: the latest mentor, None for methods without a learning one.
        guards: what the guards on it remember, and their counts.
        units: that the mentor is shown losses in; None for a loss in nats, and before the first step.
        gradient_rule: what the gradient rule remembers; None for nothing.
        at_epoch: what each of the method's parts that find something out once an epoch has found; None for nothing yet.
        rate: what the learner of a factor on the learning rates carries; None where there is none.
    """

    step: int
    meta_updates: int
    percentile: float | None
    memorising: MemorisingState
    history: Tensor | None
    mentor: MentorState | None
    guards: GuardState
    units: Units | None = None
    gradient_rule: float | None = None
    at_epoch: list[Tensor | None] = field(default_factory=list)
    rate: dict[str, Any] | None = None

    def table(self) -> dict[str, Any]:
        """The state in plain types, which ``torch.load(weights_only=True)`` reads."""
        table = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        mentor = None if self.mentor is None else dataclasses.asdict(self.mentor)
        units = None if self.units is None else dataclasses.asdict(self.units)
        parts = {"memorising": dataclasses.asdict(self.memorising), "guards": dataclasses.asdict(self.guards)}
        return {**table, "mentor": mentor, "units": units, **parts}

    @staticmethod
    def from_table(table: dict[str, Any]) -> CurriculumState:
        """The inverse of :meth:`table`."""
        mentor = None if table["mentor"] is None else MentorState(**table["mentor"])
        units = None if table["units"] is None else Units(**table["units"])
        parts = {"memorising": MemorisingState(**table["memorising"]), "guards": GuardState(**table["guards"])}
        return CurriculumState(**{**table, "mentor": mentor, "units": units, **parts})


def capture_curriculum(curriculum: Curriculum, history: Tensor | None) -> CurriculumState:
    """The state as it stands; a copy, but for ``history``, which is put in as it is."""
    mentor = curriculum.parts.mentor
    return CurriculumState(
        step=curriculum.step_number,
        meta_updates=curriculum.meta.done,
        percentile=curriculum.percentile.value,
        memorising=curriculum.memorising.state,
        history=history,
        mentor=None if mentor is None else mentor.state,
        guards=curriculum.guards.state,
        units=None if curriculum.units is None else curriculum.units.value,
        gradient_rule=curriculum.parts.gradient_rule.state,
        at_epoch=[None if part.state is None else part.state.clone() for part in curriculum.parts.at_epoch],
        rate=None if curriculum.rate is None else curriculum.rate.state(),
    )


def restore_curriculum(state: CurriculumState, curriculum: Curriculum) -> None:
    """Makes ``curriculum`` go on where ``state`` was captured; the mentor too, wherever it lives.

    A loss history that is kept apart is taken up by whoever keeps it.

    Raises:
        UserError: if the two do not fit together.
    """
    _check_fit(state, curriculum)
    if curriculum.rate is not None:
        curriculum.rate.load(state.rate)
    curriculum.percentile.value = state.percentile
    if curriculum.units is not None:
        curriculum.units.value = state.units
    curriculum.memorising.state = state.memorising
    curriculum.parts.gradient_rule.state = state.gradient_rule
    for part, found in zip(curriculum.parts.at_epoch, state.at_epoch, strict=True):
        part.state = found
    if state.history is not None:
        curriculum.history.load(state.history)
    curriculum.step_number = state.step
    curriculum.meta.done = state.meta_updates
    curriculum.guards.state = state.guards
    if curriculum.parts.mentor is not None and state.mentor is not None:
        curriculum.parts.mentor.load(state.mentor)


def _check_fit(state: CurriculumState, curriculum: Curriculum) -> None:
    if state.history is not None:
        curriculum.history.check_shape(tuple(state.history.shape))
    own = curriculum.parts.at_epoch
    fits = len(state.at_epoch) == len(own) and all(
        found is None or part.could_be(found, curriculum.n_classes)
        for part, found in zip(own, state.at_epoch, strict=True)
    )
    if not fits:
        raise UserError(
            "what the state's method has found out at the ends of epochs is not what this curriculum's could have; "
            "method and loss must be as they were"
        )
    if (state.rate is None) != (curriculum.rate is None):
        one, other = ("no", "learns one") if state.rate is None else ("a", "learns none")
        raise UserError(
            f"the state holds {one} learnt learning rate, but this curriculum {other}; learn must be as it was"
        )
    if (state.mentor is None) != (curriculum.parts.mentor is None):
        one, other = ("no", "one") if state.mentor is None else ("a", "none")
        raise UserError(f"the state holds {one} mentor, but this curriculum has {other}; the method must be as it was")
    if state.percentile is not None and (state.units is None) != (curriculum.units is None):
        one, other = ("", " not") if state.units is None else (" not", "")
        raise UserError(
            f"the state is of a loss that is{one} in nats, but this curriculum's is{other}; loss and meta_loss must be "
            "as they were"
        )
