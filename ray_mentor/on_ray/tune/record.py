"""What happened to the trials of a sweep, in order: one plain file, from which an interrupted sweep goes on.

``progress.jsonl`` has a line an event, as it came: ``begun``, with the settings that were drawn, before anything of the
trial is there; ``trial``, an epoch's figures; ``ended``, with how. Nothing in it is more than text and numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from ray.tune.search.sample import Categorical, Domain, Float, Integer, Quantized

from ray_mentor.errors import UserError, shown
from ray_mentor.on_ray.tune.objective import Figures
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.growing_lines import GrowingLines
from ray_mentor.run.progress import Row

FILE = "progress.jsonl"

Sample = dict[str, Any]
"""Settings as they were drawn from a space."""

State = Literal["finished", "stopped", "hopeless", "failed"]
"""How a trial ends: after all its epochs, before the end by its scheduler or for its mentor, or with an error."""


@dataclass
class Told:
    """What is known of a trial.

    Attributes:
        name: also that of its run directory.
        sample: what was drawn for it.
        rows: of its epochs, by their number; of an epoch that was told twice, the later one counts.
        last: the newest of these.
        state: how it ended; None: it has not.
        error: of a failed one.
    """

    name: str
    sample: Sample
    rows: dict[int, Row] = field(default_factory=dict)
    last: Row | None = None
    state: State | None = None
    error: str | None = None

    def take(self, row: Row) -> None:
        """Takes a row of kind ``trial`` or ``ended``."""
        if row["kind"] == "trial":
            self.rows[row["epoch"]] = self.last = row
            self.state = self.error = None  # it goes on, whatever was said before
        else:
            self.state, self.error = row["state"], row["error"]


class Record:
    """The record of a sweep, as far as it was written, and where it is written on.

    Args:
        directory: of the sweep.
        domains: of its space.

    Attributes:
        rows: all that was told, in order.
        trials: by their names, in the order in which they were begun.

    Raises:
        UserError: what is there can't be what a sweep over these domains has written.
    """

    def __init__(self, directory: RunDirectory, domains: Mapping[str, Any]) -> None:
        self.rows: list[Row] = []
        self.trials: dict[str, Told] = {}
        self._domains = domains
        self._lines = GrowingLines(directory, FILE)
        for number, line in enumerate(self._lines.lines, 1):
            try:
                self._take(self._checked(json.loads(line)))
            except Exception as error:  # [[[[... is a RecursionError
                raise UserError(
                    f"{directory.path}/{FILE}, line {number}, is not what a sweep of this space wrote "
                    f"({type(error).__name__}: {error}); put back what was there, or start another sweep"
                ) from error

    def begin(self, name: str, sample: Mapping[str, Any]) -> None:
        """A trial begins; this is written before it does."""
        self.add({"kind": "begun", "trial": name, "settings": dict(sample)})

    def add(self, row: Row) -> None:
        """Writes down what happened to a trial."""
        self._lines.add(to_json(row), at_once=row["kind"] != "trial")
        self._take(row)

    def close(self) -> None:
        """Writes what waits to be written."""
        self._lines.close()

    def _take(self, row: Row) -> None:
        self.rows.append(row)
        if row["kind"] == "begun":
            self.trials[row["trial"]] = Told(row["trial"], row["settings"])
        else:
            self.trials[row["trial"]].take(row)

    def _checked(self, row: Any) -> Row:
        """A row that was read, with the settings that were written; raises if it can't be one."""
        kind, name = row["kind"], row["trial"]
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"{shown(name)} is no trial's name")
        if (name in self.trials) == (kind == "begun"):
            raise ValueError(f"trial {name} was {'begun before' if kind == 'begun' else 'never begun'}")
        return {"kind": kind, "trial": name, **_CHECKED[kind](row, self._domains)}


_NAME = re.compile(r"[0-9A-Za-z]+(_[0-9A-Za-z]+)*")


def _begun(row: Row, domains: Mapping[str, Any]) -> Row:
    return {"settings": drawn(row["settings"], domains)}


def _trial(row: Row, domains: Mapping[str, Any]) -> Row:
    if type(row["epoch"]) is not int or row["epoch"] < 1:
        raise ValueError(f"epoch is {shown(row['epoch'])}")
    figures = {name: _number(name, row[name]) for name in FIGURES if name != "epoch"}
    return {"epoch": row["epoch"], **figures, "settings": drawn(row["settings"], domains)}


def _ended(row: Row, domains: Mapping[str, Any]) -> Row:
    state, objective, error = row["state"], row["objective"], row["error"]
    if state not in get_args(State):
        raise ValueError(f"state is {shown(state)}")
    if error is not None and not isinstance(error, str):
        raise ValueError(f"error is {shown(error)}")
    return {"state": state, "objective": None if objective is None else _number("objective", objective), "error": error}


_CHECKED: Mapping[str, Callable[[Row, Mapping[str, Any]], Row]] = {"begun": _begun, "trial": _trial, "ended": _ended}

FIGURES = tuple(Figures.__dataclass_fields__)
"""What a row of kind ``trial`` has, beside the trial's settings."""


def _number(name: str, value: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"{name} is {shown(value)}")
    return float(value)


def drawn(settings: Any, domains: Mapping[str, Any]) -> Sample:
    """Settings as they were drawn, from how they were written; raises a ValueError if they can't have been drawn."""
    if not isinstance(settings, dict) or settings.keys() != domains.keys():
        raise ValueError(f"settings are {shown(settings)}, but must be of {', '.join(domains)}")
    return {name: _drawn(name, value, domains[name]) for name, value in settings.items()}


def _drawn(name: str, value: Any, domain: Any) -> Any:
    """JSON knows neither tuples nor NumPy's numbers."""
    if isinstance(domain, Float | Integer):
        sampler: Any = domain.get_sampler()  # type: ignore[no-untyped-call]
        step = sampler.q if isinstance(sampler, Quantized) else 0  # they are rounded after the draw
        if not domain.lower - step <= _number(name, value) <= domain.upper + step:
            raise ValueError(f"{name} is {value}, but was drawn from {domain.domain_str}")
        return value
    if isinstance(domain, Domain) and not isinstance(domain, Categorical):
        return value
    there = domain.categories if isinstance(domain, Categorical) else [domain]
    for category in there:
        if to_json(category) == json.dumps(value):
            return category
    raise ValueError(f"{name} is {shown(value)}, but was drawn from {shown(there)}")


def to_json(value: Any) -> str:
    """A row, or settings as they were drawn, as text."""
    return json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{shown(value)} is no plain value")
