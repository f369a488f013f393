"""Whether two states are the same, bit for bit."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor


def assert_same_values(found: Any, expected: Any, where: str = "state") -> None:
    """Tensors, containers and dataclasses of them; NaN equals NaN."""
    if isinstance(expected, Tensor):
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True, msg=where)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key in expected:
            assert_same_values(found[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, list | tuple):
        assert type(found) is type(expected), where
        assert len(found) == len(expected), where
        for place, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_same_values(one, other, f"{where}[{place}]")
    elif dataclasses.is_dataclass(expected):
        assert_same_values(vars(found), vars(expected), where)
    else:
        assert found == expected or (found != found and expected != expected), where
