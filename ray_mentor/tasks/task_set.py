"""The tasks that an agent can be given."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from ray_mentor.errors import UserError, shown

PerTask = Float[NDArray[np.float64], " tasks"]


@dataclass(frozen=True, eq=False)
class TaskSet:
    """Tasks, where each comes from, and what it is like.

    Args:
        ids: names, each once.
        sources: where each comes from (a generator, a file, a level of a game); tasks of one source tell about each
            other. None: one for all.
        parameters: (n, d) what each is like, on a scale on which tasks at a distance of 1 are alike: of 12 levels of
            which neighbours differ little, say, half the level. None: tasks of a source are all alike.

    Raises:
        UserError: no tasks, a name given twice, or as many of something as there are not tasks.
    """

    ids: Sequence[str]
    sources: Sequence[str] | None = None
    parameters: Float[NDArray[np.float64], "tasks parameters"] | None = None

    def __post_init__(self) -> None:
        ids = tuple(self.ids)
        if not ids or not all(isinstance(each, str) for each in ids):
            raise UserError(f"ids is {shown(self.ids)}, but it must name tasks; give one text a task")
        if len(set(ids)) != len(ids):
            twice = next(each for each in ids if ids.count(each) > 1)
            raise UserError(f"ids has {shown(twice)} more than once; give each task a name of its own")
        sources = ("",) * len(ids) if self.sources is None else tuple(self.sources)
        if len(sources) != len(ids):
            raise UserError(f"sources has {len(sources)} entries for {len(ids)} tasks; give one a task")
        parameters = np.zeros((len(ids), 0)) if self.parameters is None else np.asarray(self.parameters, np.float64)
        if parameters.ndim != 2 or len(parameters) != len(ids) or not np.isfinite(parameters).all():
            raise UserError(
                f"parameters has shape {parameters.shape} for {len(ids)} tasks, but it must have a row of finite "
                "numbers a task"
            )
        for name, value in (("ids", ids), ("sources", sources), ("parameters", parameters)):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.ids)

    def place(self, task: str) -> int:
        """Number of a task.

        Raises:
            UserError: there is none of this name.
        """
        found = self._places.get(task)
        if found is None:
            raise UserError(f"there is no task {shown(task)}; give one of the {len(self)} ids, e.g. {self.ids[0]!r}")
        return found

    def places(self, tasks: Iterable[str]) -> NDArray[np.int64]:
        """Numbers of tasks."""
        return np.array([self.place(task) for task in tasks], np.int64)

    @functools.cached_property
    def _places(self) -> Mapping[str, int]:
        return {task: place for place, task in enumerate(self.ids)}

    @functools.cached_property
    def of_one_source(self) -> Float[NDArray[np.float64], "tasks tasks"]:
        """1 where two tasks come from the same source, else 0."""
        sources = np.unique(np.array(self.sources), return_inverse=True)[1]
        return np.asarray(sources[:, None] == sources[None], np.float64)

    @functools.cached_property
    def likeness(self) -> Float[NDArray[np.float64], "tasks tasks"]:
        """e^(−d²/2) of two tasks of one source, d the distance of their parameters; 0 of two sources."""
        assert isinstance(self.parameters, np.ndarray)
        apart = ((self.parameters[:, None] - self.parameters[None]) ** 2).sum(axis=-1)
        return np.asarray(self.of_one_source * np.exp(-apart / 2))
