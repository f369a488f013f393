"""Ids and classes under the user's own names, and what is made of damage to them."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hand_made_runs import row, run_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_mentor.data import FeatureInputs, Samples
from ray_mentor.errors import UserError
from ray_mentor.run.audit.audit import Audit
from ray_mentor.run.audit.files import as_csv
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.closing import closed
from ray_mentor.run.findings.names import with_ids, write_names
from ray_mentor.run.outcome import Outcome


def samples(ids: list[int], names: list[str] | None = None) -> Samples:
    inputs = FeatureInputs(np.zeros((len(ids), 1), np.float32))
    strings = None if names is None else pa.array(names, pa.large_string())
    return Samples(inputs, np.array(ids), np.zeros(len(ids), np.int64), None, ("ape", "bee", "cow"), strings)


def test_strings_are_the_ids_where_the_user_has_such(tmp_path: Path) -> None:
    directory = RunDirectory(str(run_of(tmp_path, [row(0, 0, 0, 0, 1.0), row(1, 0, 1, 0, -2.0)])))
    write_names(directory, samples([1, 0], ['b, "2".png', "a.png"]))
    table = Audit.from_run(directory).table
    assert table["sample_id"].to_pylist() == ['b, "2".png', "a.png"]
    assert as_csv(table.select(["sample_id", "given_label", "mean_margin"])).decode() == (
        '"sample_id","given_label","mean_margin"\n"b, ""2"".png","bee",-2\n"a.png","ape",1\n'
    )
    ledger = Outcome({}, [], str(tmp_path), {}).ledger()
    assert ledger["sample_id"].to_pylist() == ["a.png", 'b, "2".png']
    assert ledger.drop_columns("sample_id") == with_ids(ledger, RunDirectory(str(tmp_path / "none"))).drop_columns(
        "sample_id"
    )
    write_names(directory, samples([1, 0]))
    assert Audit.from_run(directory).table["sample_id"].to_pylist() == [1, 0], "the next attempt has other ids"


def test_a_name_that_is_no_unicode_costs_no_run_its_end(tmp_path: Path) -> None:
    """A folder of pictures may be called caf\\xe9, in Latin-1."""
    directory = RunDirectory(str(run_of(tmp_path, [row(0, 0, 0, 0, 1.0)])))
    write_names(directory, dataclasses.replace(samples([0]), classes=("caf\udce9", "b", "b")))
    result, audit = closed(directory, {}, 1)
    assert audit.classes == ("caf\\udce9", "b", "b (2)")
    assert sorted(each["class"] for each in result["classes"]) == ["b", "b (2)", "caf\\udce9"]
    assert '"caf\\udce9"' in (tmp_path / "audit.csv").read_text()


def test_damaged_names_are_refused(tmp_path: Path) -> None:
    directory = RunDirectory(str(run_of(tmp_path, [row(0, 0, 0, 0, 1.0)])))
    deep = b"[" * 100_000
    for content, says in (
        (b"[", r"cannot be read \("),
        (deep, r"cannot be read \("),
        (b"[1]", "is no list of names; "),
    ):
        directory.write("classes.json", content)
        with pytest.raises(UserError, match=rf"classes.json {says}.*put it back"):
            Audit.from_run(directory)
    directory.remove("classes.json")
    directory.write("ids.parquet", b"PAR1")
    with pytest.raises(UserError, match=r"ids.parquet cannot be read \(.*put it back"):
        Audit.from_run(directory)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=3),
    end=st.floats(0, 1),
)
def test_any_bytes_in_the_place_of_the_ids(places: list[tuple[float, int]], end: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory, ids = RunDirectory(folder), [f"photo-{number}" for number in range(200)]
        directory.create()
        write_names(directory, samples(list(range(200)), ids))
        content = bytearray(directory.read("ids.parquet") or b"")
        for place, byte in places:
            content[int(place * len(content))] = byte
        directory.write("ids.parquet", content[: max(round(2 * end * len(content)), 1)])
        rows = pa.table({"sample_id": pa.chunked_array([[1, 2, 199]], pa.int64())})
        try:
            found = with_ids(rows, directory).to_pandas()["sample_id"]
        except UserError as error:
            assert "/ids.parquet cannot be read (" in str(error)  # noqa: PT017
        else:
            assert len(found) == 3
