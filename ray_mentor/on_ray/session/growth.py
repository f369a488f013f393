"""A cluster that grows: whether an autoscaler can add machines to it, and waiting until it has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import ray
from ray.util.placement_group import placement_group, remove_placement_group

from ray_mentor.on_ray.session.internals import of_autoscaler, of_ray

_LOOK_EVERY = 1.0  # seconds
_MOST = 10_000  # workers that an autoscaler is asked for


@dataclass(frozen=True)
class Needs:
    """What cannot do without a place.

    Attributes:
        each: what a worker takes, by resource, all of it on one machine.
        workers: how many there are.
    """

    each: Mapping[str, float]
    workers: int = 1

    @property
    def total(self) -> dict[str, float]:
        """What they take together."""
        return {name: self.workers * amount for name, amount in self.each.items()}

    def lacking(self, there: Mapping[str, float]) -> dict[str, float]:
        """The resources of which there is less than they take, with what they take."""
        return {name: amount for name, amount in self.total.items() if amount > there.get(name, 0.0)}


def wait_for_room(needs: Needs, seconds: float, tell: Callable[[str], None]) -> float:
    """Waits until the cluster has room for what is needed; not where it has, nor where nothing adds machines to it.

    Args:
        needs: what is needed at least.
        seconds: how long it waits at most; 0: not at all.
        tell: takes a line that says what is waited for.

    Returns:
        How long it waited.
    """
    began = time.monotonic()
    missing = needs.lacking(ray.cluster_resources())
    if not missing or seconds <= 0 or needs.workers > _MOST or not has_autoscaler():
        return 0.0
    tell(f"waiting for the cluster's autoscaler, {seconds:g} s at most: {_said(missing)}")
    with _asked_for(needs):
        while needs.lacking(ray.cluster_resources()) and time.monotonic() - began < seconds:
            time.sleep(min(_LOOK_EVERY, seconds))
    return time.monotonic() - began


def has_autoscaler() -> bool:
    """Whether an autoscaler of Ray's keeps this cluster's machines; it may have as many as it is allowed to, already.

    The protocol of ``ray://`` does not tell: there it is none.
    """
    return not of_ray.through_client() and bool(of_autoscaler.machine_types())


@contextmanager
def _asked_for(needs: Needs) -> Iterator[None]:
    """Inside, the autoscaler counts it among what is asked for, beside what other jobs ask for."""
    group = placement_group([dict(needs.each)] * needs.workers)
    try:
        yield
    finally:
        remove_placement_group(group)


def _said(amounts: Mapping[str, float]) -> str:
    there = ray.cluster_resources()
    return ", ".join(f"{amount:g} {name}s (now {there.get(name, 0.0):g})" for name, amount in amounts.items())
