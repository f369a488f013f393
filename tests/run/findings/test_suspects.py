"""Suspects: which labels are most likely wrong, by a run's ledger alone, and under the user's own names."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_mentor.data import FeatureInputs, Samples
from ray_mentor.errors import UserError
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.closing import closed
from ray_mentor.run.findings.names import with_ids, write_names
from ray_mentor.run.findings.suspects import as_csv, suspects
from ray_mentor.run.ledger.rows import SCHEMA
from ray_mentor.run.outcome import Outcome

WORDS = ("ape", "bee", "cow")


def row(sample: int, epoch: int, loss: float, weight: float, given: int = 0, true: int | None = None) -> dict[str, Any]:
    return {
        "sample_id": sample,
        "epoch": epoch,
        "step": epoch,
        "loss": loss,
        "scored_weight": weight,
        "sample_weight": 1.0,
        "influence": None,
        "given_label": given,
        "true_label": true,
    }


def run_of(path: Path, *files: list[dict[str, Any]]) -> RunDirectory:
    """A run's folder with these files in its ledger."""
    directory = RunDirectory(str(path))
    directory.create()
    for number, rows in enumerate(files):
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path / f"ledger/{number}.parquet")
    return directory


def samples(ids: list[int], names: list[str] | None = None) -> Samples:
    inputs = FeatureInputs(np.zeros((len(ids), 1), np.float32))
    strings = None if names is None else pa.array(names, pa.large_string())
    return Samples(inputs, np.array(ids), np.zeros(len(ids), np.int64), None, WORDS, strings)


def test_means_over_all_epochs_and_files_the_worst_first(tmp_path: Path) -> None:
    """Sample 7 is highest in loss and lowest in weight; 5 is so at the last epoch alone."""
    first = [row(5, 0, 0.25, 0.75, 1), row(7, 0, 3.0, 0.5, 2), row(9, 0, 0.5, 0.5)]
    second = [row(7, 1, 2.0, 0.0, 2), row(9, 1, 1.0, 0.25), row(5, 1, 2.25, 0.0, 1)]
    directory = run_of(tmp_path, first, second)
    write_names(directory, samples([5, 7, 9]))
    assert suspects(directory).to_pylist() == [
        {"sample_id": 7, "given_label": "cow", "mean_loss": 2.5, "mean_scored_weight": 0.25},
        {"sample_id": 5, "given_label": "bee", "mean_loss": 1.25, "mean_scored_weight": 0.375},
        {"sample_id": 9, "given_label": "ape", "mean_loss": 0.75, "mean_scored_weight": 0.375},
    ]
    assert suspects(directory, 1)["sample_id"].to_pylist() == [7]


def test_loss_and_weight_count_alike(tmp_path: Path) -> None:
    """By loss: 0 1 2 3; by weight: 3 0 2 1. Sums of ranks 1, 4, 4, 3: 1 before 2 by its loss."""
    rows = [row(0, 0, 4.0, 0.2), row(1, 0, 3.0, 0.9), row(2, 0, 2.0, 0.5), row(3, 0, 1.0, 0.1)]
    assert suspects(run_of(tmp_path, rows))["sample_id"].to_pylist() == [0, 3, 1, 2]


def test_equal_weights_leave_it_to_the_loss(tmp_path: Path) -> None:
    rows = [row(sample, 0, float(loss), 1.0) for sample, loss in enumerate([2, 5, 1, 4, 3])]
    assert suspects(run_of(tmp_path, rows))["sample_id"].to_pylist() == [1, 3, 4, 0, 2]


def test_strings_are_the_ids_where_the_user_has_such(tmp_path: Path) -> None:
    directory = run_of(tmp_path, [row(0, 0, 1.0, 0.5), row(1, 0, 2.0, 0.5, 1)])
    write_names(directory, samples([1, 0], ['b, "2".png', "a.png"]))
    found = suspects(directory)
    assert found["sample_id"].to_pylist() == ['b, "2".png', "a.png"]
    assert as_csv(found).decode() == (
        '"sample_id","given_label","mean_loss","mean_scored_weight"\n"b, ""2"".png","bee",2,0.5\n"a.png","ape",1,0.5\n'
    )
    ledger = Outcome({}, [], str(tmp_path), {}).ledger()
    assert ledger["sample_id"].to_pylist() == ["a.png", 'b, "2".png']
    assert ledger.drop_columns("sample_id") == with_ids(ledger, RunDirectory(str(tmp_path / "none"))).drop_columns(
        "sample_id"
    )
    write_names(directory, samples([1, 0]))
    assert suspects(directory)["sample_id"].to_pylist() == [1, 0], "the next attempt has other ids"


def test_the_truth_is_there_where_it_is_known(tmp_path: Path) -> None:
    rows = [row(0, 0, 1.0, 0.5, 0, 0), row(1, 0, 2.0, 0.5, 1, 0)]
    directory = run_of(tmp_path / "known", rows)
    write_names(directory, samples([0, 1]))
    assert suspects(directory)["true_label"].to_pylist() == ["ape", "ape"]
    unknown = run_of(tmp_path / "unknown", [{**rows[0], "true_label": None}])
    assert "true_label" not in suspects(unknown).column_names


def test_numbers_stand_for_classes_that_an_earlier_version_left_unnamed(tmp_path: Path) -> None:
    assert suspects(run_of(tmp_path, [row(0, 0, 1.0, 0.5, 2)]))["given_label"].to_pylist() == ["2"]


def test_a_run_without_an_epoch_and_damaged_names_are_refused(tmp_path: Path) -> None:
    directory = run_of(tmp_path)
    with pytest.raises(UserError, match=r"the ledger of .* has no rows yet; wait for the end of an epoch"):
        suspects(directory)
    directory = run_of(tmp_path, [row(0, 0, 1.0, 0.5)])
    deep = b"[" * 100_000
    for content, says in (
        (b"[", r"cannot be read \("),
        (deep, r"cannot be read \("),
        (b"[1]", "is no list of names; "),
    ):
        directory.write("classes.json", content)
        with pytest.raises(UserError, match=rf"classes.json {says}.*put it back"):
            suspects(directory)
    directory.remove("classes.json")
    directory.write("ids.parquet", b"PAR1")
    with pytest.raises(UserError, match=r"ids.parquet cannot be read \(.*put it back"):
        suspects(directory)


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


@pytest.mark.parametrize("truth", [True, False])
def test_a_run_ends_with_them_and_then_with_its_result(tmp_path: Path, truth: bool) -> None:
    true = 0 if truth else None
    rows = [row(sample, 0, 100.0 - sample, 1.0, int(sample in (0, 3, 49, 50)), true) for sample in range(60)]
    directory = run_of(tmp_path, rows)
    write_names(directory, samples([0]))
    result = closed(directory, {"steps": 1}, 1)
    assert result["suspects_known_wrong"] == ([3, 50] if truth else None)
    assert json.loads((tmp_path / "result.json").read_text()) == result
    lines = (tmp_path / "suspects.csv").read_text().splitlines()
    assert len(lines) == 61
    assert lines[1].startswith('0,"bee",100,1')
