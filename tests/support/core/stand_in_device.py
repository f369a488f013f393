"""A device that isn't there: its tensors lie on the CPU, and refuse what an accelerator would make the host wait for.

Inside of :class:`StandInDevice` whatever is asked for on the device "meta" is made here. A boolean mask as an index, a
number read, a blocking copy to the host, or an operation on tensors of both places is an error, as it is a wait (or an
error) on an accelerator; copies to the host that don't wait are counted.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
REFUSED = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal", "is_nonzero"}
_COPIES = {"_to_copy", "copy_"}


class WaitedError(AssertionError):
    """The host would have waited for the device, or mixed up the two."""


class OnDevice(Tensor):
    """A tensor of the device.

    Attributes:
        inner: where it really is.
    """

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnDevice:
        made: OnDevice = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=DEVICE, requires_grad=False,
        )  # fmt: skip
        made.inner = inner
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"OnDevice({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {}, None)


class StandInDevice(TorchDispatchMode):
    """The device is there, for as long as this is entered.

    Attributes:
        fetched: copies to the host, none of which waits.
        by_name: operators that ran there.
        may_wait: lets everything pass, for what is no ordinary step.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fetched = 0
        self.by_name: Counter[str] = Counter()
        self.may_wait = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {}, self)


def _run(func: Any, args: Any, kwargs: dict[str, Any], mode: StandInDevice | None) -> Any:
    name = func.overloadpacket.__name__
    tensors = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, Tensor)]
    is_here = any(isinstance(each, OnDevice) for each in tensors)
    asked = kwargs.get("device")
    target = None if asked is None else torch.device(asked).type
    if is_here and not (mode and mode.may_wait):
        _refuse(name, func, args, tensors)
    if name == "_to_copy" and is_here and target == "cpu":
        if mode is not None:
            if not (kwargs.get("non_blocking") or mode.may_wait):
                raise WaitedError("a copy to the host that waits")
            mode.fetched += 1
        is_here = False
    elif target == DEVICE.type:
        is_here = True
    if target == DEVICE.type:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if is_here and mode is not None:
        mode.by_name[name] += 1
    found = func(*tree_map(_bare, args), **tree_map(_bare, kwargs))
    if not is_here:
        return found
    if name.endswith("_") and not name.startswith("_foreach") and args and isinstance(args[0], OnDevice):
        return args[0]
    return tree_map(lambda each: OnDevice(each) if isinstance(each, Tensor) else each, found)


def _bare(value: Any) -> Any:
    return value.inner if isinstance(value, OnDevice) else value


def _refuse(name: str, func: Any, args: Any, tensors: list[Tensor]) -> None:
    if name in REFUSED:
        raise WaitedError(f"{name} waits for the device")
    if name in ("index", "index_put", "index_put_"):
        masks = [each for each in tree_flatten(args[1])[0] if isinstance(each, Tensor) and each.dtype == torch.bool]
        if masks:
            raise WaitedError("a mask as an index waits for the device")
    strangers = [each for each in tensors if not isinstance(each, OnDevice) and each.ndim > 0]
    if strangers and name not in _COPIES:
        raise WaitedError(f"{func} of tensors of both places, the host's of shape {tuple(strangers[0].shape)}")
