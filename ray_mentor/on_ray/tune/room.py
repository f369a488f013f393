"""How many trials a cluster has room for at a time, and what each reserves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ray import tune

from ray_mentor.config import RunSettings
from ray_mentor.errors import UserError
from ray_mentor.on_ray.session.growth import Needs


def needs(run: RunSettings) -> Needs:
    """What one trial takes, a worker each, or its one process; a mentor actor takes nothing."""
    gpus = {"GPU": run.gpus_per_worker} if run.gpu else {}
    return Needs({"CPU": 1.0, **gpus}, max(run.workers, 1))


def at_once(run: RunSettings, there: Mapping[str, float], wanted: int | None, grows: Callable[[], bool]) -> int:
    """How many trials can run together: ⌊there / needed⌋ of what is scarcest, and no more than are wanted.

    In a cluster that grows, as many as are wanted: those without a place make it grow.

    Ray Tune can't tell: it knows of a trial's own process, but the workers reserve their places besides, and with more
    trials than fit each may hold a part of what it needs and wait for the rest for ever.

    Raises:
        UserError: not even one fits.
    """
    needed = needs(run).total
    room = min(math.floor(there.get(name, 0.0) / amount + 1e-9) for name, amount in needed.items())
    if room < 1:
        asks = " and ".join(f"{amount:g} {name}s" for name, amount in needed.items())
        has = " and ".join(f"{there.get(name, 0.0):g} {name}s" for name in needed)
        raise UserError(f"a trial needs {asks}, but there are {has}; give fewer --workers, or a smaller share of a GPU")
    if wanted is None or (wanted > room and not grows()):
        return room
    return wanted


def reserved(run: RunSettings) -> tune.PlacementGroupFactory:
    """What Ray Tune reserves for a trial's own process: all of it, or next to nothing beside workers that reserve."""
    if run.workers:
        return tune.PlacementGroupFactory([{"memory": _LITTLE}])
    return tune.PlacementGroupFactory([needs(run).total])


_LITTLE = 1 << 20  # bytes; a trial without any resource is not allowed, and a CPU would be missing to the workers
