"""Many tensors copied at once: on an accelerator in a few launches, where one by one each would cost its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor


def named_copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy of each, without a graph."""
    return dict(zip(tensors, copies(tensors.values()), strict=True))


def copies(tensors: Iterable[Tensor]) -> list[Tensor]:
    """What ``detach().clone()`` gives of each."""
    given = [tensor.detach() for tensor in tensors]
    made = [torch.empty_like(each) if each.layout == torch.strided else each.clone() for each in given]
    copy_into(made, given)
    return made


@torch.no_grad()
def copy_into(places: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """What ``copy_`` does to each; one operator for all of a type and device."""
    kinds: dict[tuple[torch.dtype, torch.device], tuple[list[Tensor], list[Tensor]]] = {}
    for place, value in zip(places, values, strict=True):
        if place.layout != torch.strided:
            place.copy_(value)
            continue
        into, of = kinds.setdefault((place.dtype, place.device), ([], []))
        into.append(place)
        of.append(value)
    for into, of in kinds.values():
        torch._foreach_copy_(into, of)
