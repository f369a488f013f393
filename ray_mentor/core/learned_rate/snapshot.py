"""A student in training as it was, to go back to."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ray_mentor.core.student.copies import copy_into, named_copies


class Snapshot:
    """Params, buffers, and what the optimizers remember; not their settings, which are whoever's sets them.

    Args:
        student: bare.
        beside: what follows the student, such as an average of its params, by name.
    """

    def __init__(
        self, student: nn.Module, optimizers: Sequence[torch.optim.Optimizer], beside: Mapping[str, Tensor]
    ) -> None:
        self._student, self._optimizers, self._beside = student, tuple(optimizers), beside
        self.take()

    def take(self) -> None:
        """As they are now."""
        self.values = named_copies(values_of(self._student, self._beside))
        self.states = [
            {
                place: copy.deepcopy(dict(one.state[param]))
                for place, param in enumerate(_params(one))
                if one.state.get(param)
            }
            for one in self._optimizers
        ]

    def put_back(self) -> None:
        """As they were when it was taken."""
        now = values_of(self._student, self._beside)
        copy_into([now[name] for name in self.values], list(self.values.values()))
        for optimizer, states in zip(self._optimizers, self.states, strict=True):
            for place, param in enumerate(_params(optimizer)):
                optimizer.state.pop(param, None)
                if place in states:
                    optimizer.state[param] = copy.deepcopy(states[place])

    def state(self) -> dict[str, Any]:
        """It, in plain types: a copy, in the host's memory."""
        states = [{place: on_host(of_param) for place, of_param in each.items()} for each in self.states]
        return {"values": on_host(self.values), "states": states}

    def load(self, state: dict[str, Any]) -> None:
        """Takes up what :meth:`state` gave."""
        copy_into([self.values[name] for name in state["values"]], list(state["values"].values()))
        self.states = [
            {place: _beside(_params(optimizer)[place], of_param) for place, of_param in states.items()}
            for optimizer, states in zip(self._optimizers, state["states"], strict=True)
        ]


def values_of(student: nn.Module, beside: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The student's own params and buffers, of which each is there once, and what is beside it."""
    own = {**dict(student.named_parameters()), **dict(student.named_buffers())}
    return {**own, **{f"beside/{name}": value for name, value in beside.items()}}


def on_host(values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in the host's memory, tensors and all."""
    return {
        name: value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in values.items()
    }


def _params(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [param for group in optimizer.param_groups for param in group["params"]]


def _beside(param: Tensor, state: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a param's state, on its device but for what is one number."""
    return {
        name: value.to(param.device, copy=True) if isinstance(value, Tensor) and value.ndim else copy.deepcopy(value)
        for name, value in state.items()
    }
