"""Files in the place of published MentorNet params (.npz)."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hostile_data import answer, nothing_is_created
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ray_mentor.core.mentor.networks import MentorNet, load_published
from ray_mentor.core.mentor.networks.mentornet import PUBLISHED_NAMES

HEADER = "{{'descr': '{0}', 'fortran_order': False, 'shape': {1}, }}\n"


def array(header: str, content: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content


def archive(parts: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        for name, content in parts.items():
            written.writestr(name, content)
    return file.getvalue()


def good() -> dict[str, np.ndarray]:
    state = MentorNet(n_labels=3, label_width=5, percent_width=10, train_percent=True).state_dict()
    return {theirs: state[ours].numpy() for theirs, ours in PUBLISHED_NAMES.items()}


def packed(arrays: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def said_of(path: Path, content: bytes) -> str | None:
    path.write_bytes(content)
    return answer(lambda: load_published(path))


def test_the_good_one(tmp_path: Path) -> None:
    assert said_of(tmp_path / "p.npz", packed(good())) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK",
        array(HEADER.format("<f4", (3, 5)), bytes(60)),
        archive({"label_embedding.npy": array(HEADER.format("<f4", (10**12, 5)))}),
        archive({"label_embedding.npy": array(HEADER.format("<f4", (10**30, 5)))}),
        archive({"label_embedding.npy": array(HEADER.format("<f4", (-1, 5)))}),
        archive({"label_embedding.npy": array("(" * 9000)}),
        archive({"label_embedding.npy": array("{" * 100 + "}" * 100)}),
        archive({"label_embedding.npy": array("__import__('os').abort()")}),
        archive({"../../up.npy": b"x", "/etc/passwd": b"x"}),
    ],
)
def test_archives_that_hold_something_else(tmp_path: Path, content: bytes) -> None:
    said = said_of(tmp_path / "p.npz", content)
    assert said is not None
    assert "nothing is unpickled" in said or "lacks label_embedding" in said
    assert [path.name for path in tmp_path.iterdir()] == ["p.npz"]


def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    with nothing_is_created(tmp_path / "created") as trap:
        content = pickle.dumps(trap)
        for data in (content, archive({"label_embedding.npy": content}), archive({
            "label_embedding.npy": array(HEADER.format("|O", (1, 1)), content)
        })):  # fmt: skip
            assert said_of(tmp_path / "p.npz", data) is not None


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.npz")
    said = answer(lambda: load_published(tmp_path / "p.npz"))
    assert said is not None
    assert "it is no file at all" in said


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4))
def test_bytes_that_are_wrong(tmp_path: Path, places: list[tuple[float, int]]) -> None:
    content = bytearray(packed(good()))
    for place, byte in places:
        content[int(place * len(content))] = byte
    said_of(tmp_path / "p.npz", bytes(content))


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(sorted(PUBLISHED_NAMES)),
    shape=st.lists(st.integers(0, 6), max_size=3),
    value=st.sampled_from([0.0, np.nan, np.inf]),
    dtype=st.sampled_from([np.float32, np.float64, np.float16, np.int64, np.bool_, np.complex64, np.str_]),
)
def test_arrays_of_any_shape_type_and_value(
    tmp_path: Path, name: str, shape: list[int], value: float, dtype: type
) -> None:
    with np.errstate(invalid="ignore"):
        wrong = np.full(shape, value).astype(dtype)
    said = said_of(tmp_path / "p.npz", packed({**good(), name: wrong}))
    assert said is None or name in said or "the embeddings' widths ask for" in said
