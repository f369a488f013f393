"""Where a run waits at the end of each epoch until whoever watches over it lets it go on, or ends it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

if TYPE_CHECKING:
    from ray_mentor.core.exchange import AbstractExchange  # an actor's process need not load PyTorch

Answer = Literal["wait", "pass", "save", "stop"]

_EVERY = 0.002, 0.02  # seconds between two questions: to an object of this process, to an actor
_WORD = 0.2  # seconds in which the other ranks hear from rank 0 that the gate is held: silence means that it died


class Gate:
    """What the one side wishes, and the other asks for. Runs as an actor, or is shared by two threads of a process."""

    def __init__(self) -> None:
        self._passable = 0
        self._saves_wished = self._saves_done = 0
        self._stopped = False

    def let_pass(self, epochs: int) -> None:
        """The run may go past the end of its first so many epochs."""
        self._passable = epochs

    def wish_save(self) -> int:
        """The run shall write a checkpoint when it waits; returns the number by which :meth:`saves` knows it."""
        self._saves_wished += 1
        return self._saves_wished

    def saves(self) -> int:
        """How many of the wished checkpoints are written."""
        return self._saves_done

    def stop(self) -> None:
        """The run shall end at the end of its epoch."""
        self._stopped = True

    def stopped(self) -> bool:
        """Whether the run was told to end."""
        return self._stopped

    def ask(self, epochs: int) -> Answer:
        """What a run does that has so many epochs behind it."""
        if self._stopped:
            return "stop"
        if self._saves_done < self._saves_wished:
            return "save"
        return "pass" if epochs <= self._passable else "wait"

    def note_saved(self) -> None:
        """The wished checkpoints are written."""
        self._saves_done = self._saves_wished


AnyGate = Gate | ActorHandle[Gate]


def gate_here() -> ActorHandle[Gate]:
    """A gate for a run with workers, on this process's own node: it lives as long as whoever watches over the run."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(Gate).options(num_cpus=0, scheduling_strategy=here)
    gate: ActorHandle[Gate] = actor.remote()
    return gate


def call(gate: AnyGate, method: str, *arguments: Any) -> Any:
    """Calls a gate wherever it is, and waits for the answer."""
    if isinstance(gate, Gate):
        return getattr(gate, method)(*arguments)
    return ray.get(getattr(gate, method).remote(*arguments))


def passed(gate: AnyGate | None, epochs: int, exchange: AbstractExchange, save: Callable[[], None]) -> bool:
    """Waits at the end of an epoch; False if the run is to end there. A collective call; rank 0 asks for all.

    Args:
        gate: None: nobody watches over this run.
        save: writes a checkpoint.
    """
    if gate is None:
        return True
    while True:
        answer: Answer = exchange.broadcast(_answer(gate, epochs) if exchange.rank == 0 else None)
        if answer == "save":
            save()
            if exchange.rank == 0:
                call(gate, "note_saved")
        elif answer != "wait":
            return answer == "pass"


def _answer(gate: AnyGate, epochs: int) -> Answer:
    """The first one that is not "wait"; "wait" if none comes in time."""
    every = _EVERY[0] if isinstance(gate, Gate) else _EVERY[1]
    began = time.monotonic()
    while (answer := call(gate, "ask", epochs)) == "wait" and time.monotonic() - began < _WORD:
        time.sleep(every)
    return answer  # type: ignore[no-any-return]
