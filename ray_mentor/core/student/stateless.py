"""A student called with other params and buffers than its own."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from ray_mentor.core.batch import Arguments, Inputs


def called_with(student: nn.Module, values: dict[str, Tensor], inputs: Inputs) -> Any:
    """The student's outputs with ``values`` in place of its params and buffers, by their names.

    Every place that holds a tensor is named once, and tied ones get the same value. PyTorch's own tying
    names a module that sits in two places twice, and then leaves ``values`` in it for good.
    """
    tensors = [*student.named_parameters(), *student.named_buffers()]
    names = {id(tensor): name for name, tensor in tensors}
    places = {
        f"{module_name}.{name}".lstrip("."): values[names[id(tensor)]]
        for module_name, module in student.named_modules()
        for members in (module.named_parameters, module.named_buffers)
        for name, tensor in members(recurse=False, remove_duplicate=False)
    }
    positional, named = (inputs.positional, inputs.named) if isinstance(inputs, Arguments) else ((inputs,), {})
    return functional_call(student, places, positional, named, tie_weights=False)
