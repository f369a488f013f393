"""Data sets of a user's own that give anything: samples, a UserError, or the data set's own error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hostile_data import answer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ray_mentor.data.samples.samples import Samples, samples_from_dataset

SIZE = 5


class Given:
    """Gives the same pair for every index; ``claims`` is its length."""

    def __init__(self, pair: Any, claims: Any = SIZE, **attributes: Any) -> None:
        self._pair = pair
        self._claims = claims
        vars(self).update(attributes)

    def __len__(self) -> int:
        return self._claims  # type: ignore[no-any-return]

    def __getitem__(self, index: int) -> Any:
        return self._pair


def taken(samples: Samples) -> torch.Tensor:
    return samples.inputs.take(np.arange(SIZE))


arrays = hnp.arrays(
    st.one_of(hnp.scalar_dtypes(), hnp.unicode_string_dtypes(max_len=3)), hnp.array_shapes(min_dims=0, max_side=3)
)
values = st.one_of(
    st.none(), st.text(max_size=3), st.binary(max_size=3), st.integers(), st.floats(), st.booleans(), arrays,
    st.lists(st.integers(), max_size=3), st.dictionaries(st.text(), st.integers(), max_size=1),
)  # fmt: skip


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(item=values)
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_any_input(item: Any) -> None:
    answer(lambda: taken(samples_from_dataset(Given((item, 0)))))


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(labels=st.one_of(values, st.lists(values, max_size=SIZE)), truth=st.booleans())
def test_any_labels(labels: Any, truth: bool) -> None:
    given_labels = {"true_labels": labels, "labels": [0] * SIZE} if truth else {"labels": labels}
    said = answer(lambda: samples_from_dataset(Given((torch.zeros(2), 0)), **given_labels))
    assert said is None or "label" in said


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(pair=st.one_of(values, st.lists(values, max_size=3)))
def test_any_pair(pair: Any) -> None:
    answer(lambda: samples_from_dataset(Given(pair)))


@pytest.mark.parametrize("claims", [-1, 2**64, 2**62, "5", None, 0])
def test_a_length_that_is_none(claims: Any) -> None:
    said = answer(lambda: samples_from_dataset(Given((torch.zeros(2), 0), claims), labels=[0]))
    assert said is not None
    assert "length" in said or "is empty" in said or "check the data set's __len__" in said


@pytest.mark.parametrize("highest", [10**5, 10**12, 2**63 - 1])
def test_labels_that_would_make_any_number_of_classes(highest: int) -> None:
    said = answer(lambda: samples_from_dataset(Given((torch.zeros(2), 0), targets=[0, 1, 2, 3, highest])))
    assert said is not None
    assert said.startswith(f"label {highest} would make {highest + 1} classes")


@pytest.mark.parametrize(
    "item",
    [
        torch.zeros(2, 2).to_sparse(),
        torch.zeros(2, dtype=torch.complex64),
        np.array(["a"]),
        np.array([None]),
        np.array([1j]),
    ],
)
@pytest.mark.filterwarnings("ignore:Sparse")
def test_tensors_that_no_student_takes(item: Any) -> None:
    said = answer(lambda: samples_from_dataset(Given((item, 0)), labels=[0] * SIZE))
    assert said is not None
    assert said.startswith("dataset[0] gives a ")


def test_the_data_sets_own_errors_are_its_own() -> None:
    class Breaks(Given):
        def __getitem__(self, index: int) -> Any:
            raise KeyError("its own")

    with pytest.raises(KeyError, match="its own"):
        samples_from_dataset(Breaks(None), labels=[0] * SIZE)
