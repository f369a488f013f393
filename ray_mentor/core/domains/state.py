"""What a mixture's update found, and a mixture's state that is read with care."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray_mentor.core.schema import A_FLOAT, A_SHARE, COUNT, Each, Fields, Is, Maybe, check, whole_number
from ray_mentor.errors import UserError, shown

FORMAT_VERSION = 2


@dataclass(frozen=True)
class MixtureUpdate:
    """What one update found, and what came of it.

    Attributes:
        step: whose step it looked back on.
        target_loss: M(θ'); NaN under odm and doremi, which have no target.
        influence: S_d by source; below 0: it helps. Of another rule what it goes by: under odm losses, under doremi
            losses above the reference's, under doge what S_d would be of plain gradients.
        error: the standard error of each.
        gap: Σ p_d·S_d − min S_d; None where the influences were not finite, and of another rule.
        shares: from the next window on.
    """

    step: int
    target_loss: float
    influence: dict[str, float]
    error: dict[str, float]
    gap: float | None
    shares: dict[str, float]


_TEXT = Is(lambda value: isinstance(value, str), "text")
_NUMBER = Is(lambda value: type(value) is float, "a number")  # NaN of a source without probes, infinite where it was
_LEAST_0 = Is(lambda value: A_FLOAT.holds(value) and value >= 0, "a finite number from 0 on")


def _is_window(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 1 and all(COUNT.holds(each) for each in value)


_BY_NAME = Each(_NUMBER, keys=_TEXT)

STATE = Fields(
    names=Each(_TEXT),
    step=COUNT,
    seed=COUNT,
    windows=Maybe(
        Fields(
            windows=Each(Is(_is_window, "a first step, and whole numbers of samples")),
            batch_size=whole_number(1),
            steps=whole_number(1),
            total_steps=whole_number(1),
            sizes=Each(whole_number(1)),
        )
    ),
    shares=Fields(shares=Each(A_SHARE), updates=COUNT, skipped=COUNT),
    updates=Each(
        Fields(
            step=COUNT,
            target_loss=_NUMBER,
            influence=_BY_NAME,
            error=_BY_NAME,
            gap=Maybe(_LEAST_0),
            shares=Each(A_SHARE, keys=_TEXT),
        )
    ),
)

OF_LEARNED = Fields(
    shares=Fields(
        sum=Each(A_FLOAT),
        weight=Each(_LEAST_0),
        variance=Each(_LEAST_0),
    )
)

_WHAT, _FIX = "the mixture's state", "give what state_dict() gave"


def check_mixture_state(state: Any, own: Mapping[str, Any]) -> None:
    """Refuses what is no state of this mixture.

    Args:
        own: what must be the same in both, by name.

    Raises:
        UserError: naming the entry and its value.
    """
    if not isinstance(state, Mapping) or state.get("format_version") != FORMAT_VERSION:
        raise UserError(f"this is no state of a mixture of version {FORMAT_VERSION}; {_FIX}")
    try:
        check(state, STATE, _WHAT, _FIX)
        if own["settings"]["mixture"] in (None, "learned"):
            check(state, OF_LEARNED, _WHAT, _FIX)
    except (KeyError, AttributeError) as error:
        raise UserError(f"{error} is missing in {_WHAT}; {_FIX}") from error
    for name, here in own.items():
        if state.get(name) != here:
            raise UserError(
                f"{name} of {_WHAT} is {shown(state.get(name))}, and here it is {shown(here)}; give the same sources "
                "and targets in the same order, the same settings and the same seed"
            )
    windows = state["windows"]
    most = 0 if windows is None else len(windows["windows"]) * windows["steps"]
    if state["step"] > most:
        raise UserError(f"step of {_WHAT} is {state['step']}, but its windows end at {most}; {_FIX}")
    keys = {field.name for field in dataclasses.fields(MixtureUpdate)}
    for update in state["updates"]:
        if update.keys() != keys:
            raise UserError(f"an update of {_WHAT} has {shown(sorted(map(str, update)))}; {_FIX}")


def check_probes(probes: int, sizes: Sequence[int], ranks: int) -> None:
    """Raises a UserError if a rank would have no probe."""
    whole = sum(min(probes, size) for size in sizes)
    if whole < ranks:
        raise UserError(f"probes is {probes}, {whole} in all, but each of the {ranks} ranks needs one")


def check_batches(batch_size: int, total_steps: int, sizes: Sequence[int], repeats: float, ranks: int) -> None:
    """Raises a UserError if a rank would have no sample, or sources not enough of them."""
    if batch_size < ranks:
        raise UserError(f"batch_size is {batch_size}, but each of the {ranks} ranks needs a sample")
    wanted, there = batch_size * total_steps, sum(sizes)
    if repeats and wanted > repeats * there:
        raise UserError(
            f"max_repeats is {repeats:g}, but {wanted:,} samples are asked of sources that have {there:,}; give at "
            f"least {wanted / there:.3g}, or fewer steps"
        )
