"""How many trials a cluster has room for at a time, what each reserves, and where."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray import tune

from ray_mentor.config import RunSettings
from ray_mentor.errors import UserError
from ray_mentor.on_ray.session.growth import Needs

MEMORY = "memory"
"""Ray's name for it, in bytes: what the machines have beside the object store."""

PROCESS_BYTES = 600 << 20
"""What a process with PyTorch takes for itself; the data of all trials lie in the object store once, and what a student
takes is known to nobody beforehand."""


def needs(run: RunSettings) -> Needs:
    """What one trial takes, a worker each, or its one process; a mentor actor takes nothing."""
    gpus = {"GPU": run.gpus_per_worker} if run.gpu else {}
    return Needs({"CPU": 1.0, **gpus}, max(run.n_workers, 1))


def memory(run: RunSettings) -> int:
    """Bytes that one trial takes: its one process, or that which watches over workers, a controller and a mentor."""
    return PROCESS_BYTES * (run.n_workers + 3 if run.n_workers else 1)


def at_once(run: RunSettings, there: Mapping[str, float], wanted: int | None, grows: Callable[[], bool]) -> int:
    """How many trials can run together: ⌊there / needed⌋ of what is scarcest, and no more than are wanted.

    Where memory is the scarcest, one at least: what it takes is an estimate. In a cluster that grows, as many as are
    wanted: those without a place make it grow.

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
    if MEMORY in there:
        room = min(room, max(math.floor(there[MEMORY] / memory(run)), 1))
    if wanted is None or (wanted > room and not grows()):
        return room
    return wanted


def reserved(run: RunSettings) -> tune.PlacementGroupFactory:
    """What Ray Tune reserves for a trial's own process: all of it, or its memory alone beside workers that reserve.

    A process that watches over workers takes no CPU from them, so it would find a place on machines that have none,
    too: a head that is kept free of training.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    largest = max(node["Resources"].get(MEMORY, 0.0) for node in nodes if node["Resources"].get("CPU"))
    bytes_here = max(min(PROCESS_BYTES, int(largest)), 1)
    if not run.workers:
        return tune.PlacementGroupFactory([{**needs(run).total, MEMORY: bytes_here}])
    kept_free = [node["NodeID"] for node in nodes if not node["Resources"].get("CPU")]
    elsewhere: Any = {"bundle_label_selector": [{"ray.io/node-id": f"!in({','.join(kept_free)})"}]} if kept_free else {}
    return tune.PlacementGroupFactory([{MEMORY: bytes_here}], **elsewhere)


def room_told(concurrent: int, run: RunSettings, there: Mapping[str, float]) -> str:
    """How many trials run at a time, and why."""
    each = needs(run).total
    takes = ", ".join(f"{amount:g} {name}" for name, amount in each.items())
    has = ", ".join(f"{there.get(name, 0.0):g} {name}" for name in each)
    how = f"{run.workers} workers each" if run.workers else "a process each"
    return (
        f"trials at a time: {concurrent}, {how}; a trial takes {takes} and {memory(run) / 2**30:.1f} GiB of memory, "
        f"and there are {has} and {there.get(MEMORY, 0.0) / 2**30:.1f} GiB"
    )
