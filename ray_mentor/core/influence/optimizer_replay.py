"""An optimizer's real step, taken again on other params than the student's."""

from __future__ import annotations

import copy
import inspect
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Named = dict[str, Tensor]
"""Tensors by param name."""

States = Mapping[str, dict[str, Any] | None]
"""An optimizer's state by param name; empty or None for a param that has none."""


@dataclass(frozen=True)
class Group:
    """A param group of an optimizer, apart from it.

    Attributes:
        names: of its params.
        options: its settings (lr, weight_decay, ...).
    """

    names: tuple[str, ...]
    options: dict[str, Any]


def groups_of(optimizer: torch.optim.Optimizer, live: Mapping[str, Tensor]) -> tuple[Group, ...]:
    """The optimizer's groups as they are; a copy.

    Args:
        live: its params by name; those that are not there are left out.
    """
    names = {id(param): name for name, param in live.items()}
    return tuple(
        Group(
            tuple(names[id(param)] for param in group["params"] if id(param) in names),
            {key: copy.deepcopy(value) for key, value in group.items() if key != "params"},
        )
        for group in optimizer.param_groups
    )


@dataclass(frozen=True)
class Replay:
    """θ' = U(θ, g), taken by the optimizer's own ``step``, in float64, on copies.

    Attributes:
        optimizer: lends its type and whatever else it is made of; stays as it is.
        live: its params by name.
        differentiable: let gradients flow through the step, from g, θ and its state to θ' (PyTorch's own option).
    """

    optimizer: torch.optim.Optimizer
    live: Mapping[str, Tensor]
    differentiable: bool = False

    def __call__(
        self, groups: Sequence[Group], states: States, params: Named, gradients: Named
    ) -> tuple[Named, dict[str, dict[str, Any]]]:
        """θ' and the optimizer's state after the step, by param name.

        Args:
            groups: whose params step, and with which settings.
            states: before the step.
            params: θ.
            gradients: g; a param that is absent here is not stepped.
        """
        placed = {name: self._placed(params[name], gradients.get(name)) for group in groups for name in group.names}
        replay: torch.optim.Optimizer = object.__new__(type(self.optimizer))
        memo = {id(self.live[name]): param for name, param in placed.items()}
        replay.__dict__.update(
            {key: copy.deepcopy(value, memo) for key, value in vars(self.optimizer).items() if key not in _OWN}
        )
        for hooks in _HOOKS:
            setattr(replay, hooks, OrderedDict())
        replay.defaults = self._options(self.optimizer.defaults)
        replay.param_groups = [
            {"params": [placed[name] for name in group.names], **self._options(group.options)} for group in groups
        ]
        replay.state = defaultdict(dict, {param: _in_float64(states.get(name)) for name, param in placed.items()})
        with _CountersInFloat64():
            type(self.optimizer).step(replay)
        moved = {name: param if self.differentiable else param.detach() for name, param in placed.items()}
        return moved, {name: replay.state[param] for name, param in placed.items()}

    def _placed(self, value: Tensor, gradient: Tensor | None) -> Tensor:
        if self.differentiable:
            param = _double(value).clone()
            if gradient is None and param.requires_grad:
                param.retain_grad()  # or PyTorch warns of whoever asks whether it has one
        else:
            param = nn.Parameter(_double(value.detach()).clone())
        param.grad = None if gradient is None else _double(gradient)
        return param

    def _options(self, options: dict[str, Any]) -> dict[str, Any]:
        """The settings, on PyTorch's plain implementation: the others know no gradients, or no float64."""
        plain = {"foreach": False, "fused": False, "capturable": False, "differentiable": self.differentiable}
        return {**copy.deepcopy(options), **{key: value for key, value in plain.items() if key in options}}


def step_needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the optimizer evaluates the loss itself, as LBFGS does."""
    parameters = inspect.signature(type(optimizer).step).parameters
    return "closure" in parameters and parameters["closure"].default is inspect.Parameter.empty


_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
_OWN = {"defaults", "state", "param_groups", "step", *_HOOKS}  # a schedule replaces `step` by one bound to the original


class _CountersInFloat64(TorchFunctionMode):
    """Fresh state that a step makes in float32 (its count of steps) is made in float64: 1 − β^t cancels."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if given.get("dtype") is torch.float32:
            given = {**given, "dtype": torch.float64}
        return func(*args, **given)


def _double(value: Tensor) -> Tensor:
    return value.to(torch.promote_types(value.dtype, torch.float64))


def _in_float64(state: dict[str, Any] | None) -> dict[str, Any]:
    return {
        key: (_double(value) if value.is_floating_point() or value.is_complex() else value).clone()
        if isinstance(value, Tensor)
        else copy.deepcopy(value)
        for key, value in (state or {}).items()
    }
