"""What a value from elsewhere must be: the first breach is named, with its place, its value and the rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from ray_mentor.core.schema import (
    A_FLOAT,
    A_NUMBER,
    A_SHARE,
    COUNT,
    AbstractSchema,
    Each,
    Fields,
    Is,
    Like,
    Maybe,
    check,
    taking_up,
    whole_number,
)
from ray_mentor.errors import UserError


@dataclass(frozen=True)
class Parts:
    share: Any
    counts: Any


OWN = {"weight": torch.zeros(2, 3), "rates": [0.1, (2, True)], "name": "adam"}


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (0, COUNT),
        (2**63 - 1, COUNT),
        (-1, whole_number(-1)),
        (0.5, A_SHARE),
        (3, A_NUMBER),
        (None, Maybe(A_FLOAT)),
        (0.1, Maybe(A_FLOAT)),
        (Parts(1.0, {3: 0.5}), Fields(share=A_SHARE, counts=Each(A_FLOAT, keys=COUNT))),
        ({"share": 1.0, "more": 3}, Fields(share=A_SHARE)),
        ([1, 2], Each(COUNT)),
        ([], Each(COUNT)),
        (OWN, Like(OWN)),
        ({"name": "sgd", "rates": (7, [-3.5, False]), "weight": torch.ones(2, 3)}, Like(OWN)),
    ],
)
def test_what_is_as_it_must_be(value: Any, schema: AbstractSchema) -> None:
    check(value, schema, "the state", "mend it", "top")


@pytest.mark.parametrize(
    ("value", "schema", "said"),
    [
        (-1, COUNT, "top of the state is -1, but it must be an integer from 0 on"),
        (True, COUNT, "top of the state is True, but it must be an integer from 0 on"),
        (2**63, COUNT, "top of the state is 9223372036854775808, but it must be an integer from 0 on"),
        (1, A_FLOAT, "top of the state is 1, but it must be a finite number"),
        (float("nan"), A_SHARE, "top of the state is nan, but it must be in [0, 1]"),
        (10**301, A_NUMBER, "but it must be a finite number"),
        ("x", Maybe(A_FLOAT), "top of the state is 'x', but it must be a finite number, or None"),
        (Parts(2.0, {}), Fields(share=A_SHARE), "top.share of the state is 2.0, but it must be in [0, 1]"),
        (Parts(0.0, {"a": 0.5}), Fields(counts=Each(A_FLOAT, keys=COUNT)), "top.counts of the state is 'a', but it"),
        (Parts(0.0, {1: 1}), Fields(counts=Each(A_FLOAT, keys=COUNT)), "top.counts of the state is 1, but it must be"),
        ({"a": "b"}, Each(A_FLOAT, keys=Is(str.isidentifier, "a name")), "top.a of the state is 'b', but it must be"),
        ({}, Each(COUNT), "top of the state is {}, but it must be a list"),
        ([], Each(COUNT, keys=COUNT), "top of the state is [], but it must be a table"),
        ([1, "x"], Each(COUNT), "top of the state is 'x', but it must be an integer from 0 on"),
        (3, Like(OWN), "top of the state is 3, but it must be a table"),
        ({}, Like(OWN), "top of the state is [], but it must be of the keys ['name', 'rates', 'weight']"),
        ({**OWN, "weight": torch.zeros(3)}, Like(OWN), "top.weight of the state is (torch.float32, (3,), torch.stri"),
        ({**OWN, "weight": None}, Like(OWN), "top.weight of the state is None, but it must be (torch.float32, (2, 3)"),
        ({**OWN, "rates": [0.1]}, Like(OWN), "top.rates of the state is [0.1], but it must be a list of 2"),
        ({**OWN, "rates": [0.1, (2, 3)]}, Like(OWN), "top.rates[1][1] of the state is 3, but it must be of type bool"),
        ({**OWN, "rates": [float("inf"), (2, True)]}, Like(OWN), "top.rates[0] of the state is inf, but it must be a"),
        ({**OWN, "name": b"adam"}, Like(OWN), "top.name of the state is b'adam', but it must be of type str"),
    ],
)
def test_what_is_not(value: Any, schema: AbstractSchema, said: str) -> None:
    with pytest.raises(UserError) as raised:
        check(value, schema, "the state", "mend it", "top")
    assert said in str(raised.value)
    assert str(raised.value).endswith("; mend it")


def test_what_a_copy_trips_over() -> None:
    with pytest.raises(UserError) as raised, taking_up("the optimizer", "give another"):
        _ = [][3]
    assert str(raised.value) == "the optimizer can't be taken up (IndexError: list index out of range); give another"
    with pytest.raises(KeyboardInterrupt), taking_up("the optimizer", "give another"):
        raise KeyboardInterrupt
