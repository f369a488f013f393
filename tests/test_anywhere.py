"""The grid around the centres: its cells, its rows, what it says of the defaults."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import anywhere
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from protocol import goals
from protocol.methods import BASELINE, MENTOR, METHODS, ORACLE
from protocol.places import FACTORS, PLACES, Place, cells_of, labelled_by_people, places
from protocol.rows import Row, Rows
from protocol.running import run_method, trained

from ray_mentor import TrainConfig
from ray_mentor.data.splits.splits import prepare


def test_a_cell_changes_one_thing(tmp_path: Path) -> None:
    place = Place(TrainConfig(), people=lambda which: tmp_path / which)
    seen = []
    for factor, value in place.cells([*FACTORS]):
        flat, base = place.config(factor, value).flat(), place.base.flat()
        seen.append({name for name in flat if flat[name] != base[name]})
    assert seen[0] == set(), "the centre is the centre"
    assert sorted(map(sorted, {frozenset(each) for each in seen[1:]})) == [
        ["batch_size"], ["data", "noise", "true_label_column"], ["epochs"], ["learning_rate"], ["meta_size"], ["noise"],
    ]  # fmt: skip
    assert place.config("epochs", "0.25").run.epochs == 15
    assert place.config("rate", "4").student.learning_rate == pytest.approx(0.32)


def test_an_oracle_is_not_run_where_no_label_is_wrong() -> None:
    cells = cells_of(Place(TrainConfig()), "digits", ["noise"], [MENTOR, ORACLE], [0, 1])
    clean = [cell["method"] for cell in cells if cell["value"] == "none"]
    assert clean == [MENTOR, MENTOR]
    assert len(cells) == 2 * (2 * (1 + len(FACTORS["noise"])) - 1)
    assert not [cell for cell in cells if cell["factor"] == "human"], "nobody labelled these"


def test_every_place_has_runs(tmp_path: Path) -> None:
    found = places(tmp_path, tmp_path, tmp_path)
    assert tuple(found) == PLACES
    assert found["cifar-1000"].base.data.train_size == 1_000
    wine = prepare(found["wine"].base.data, seed=0)
    assert (len(wine.meta), len(wine.train.classes)) == (30, 3)


def test_labels_that_people_gave(tmp_path: Path) -> None:
    metadata = {"class_names": '["cat", "dog"]'}
    for name, ids in (("train-0", [0, 1]), ("train-1", [2, 3]), ("test", [0])):
        columns = {"sample_id": pa.array(ids, pa.int32()), "label": pa.array([i % 2 for i in ids], pa.int8())}
        pq.write_table(pa.table(columns).replace_schema_metadata(metadata), tmp_path / f"{name}.parquet")
    given = pa.table({"sample_id": [3, 2, 1, 0], "aggregate": [0, 0, 0, 1], "random1": [1, 0, 1, 0]})
    pq.write_table(given, tmp_path / "people.parquet")
    folder = labelled_by_people("aggregate", work=tmp_path, cifar=tmp_path, people=tmp_path / "people.parquet")
    train = pq.read_table(folder / "train.parquet")
    assert train["label"].to_pylist() == [1, 0, 0, 0]
    assert train["true_label"].to_pylist() == [0, 1, 0, 1]
    assert train.schema.metadata[b"class_names"] == b'["cat", "dog"]'
    test = pq.read_table(folder / "test.parquet")
    assert test["label"].to_pylist() == test["true_label"].to_pylist() == [0]


@pytest.mark.long
@pytest.mark.parametrize("name", [MENTOR, BASELINE, "pruned", "co-teaching"])
def test_a_run_is_measured_once_as_a_trainer_would(name: str, tmp_path: Path) -> None:
    base = TrainConfig().changed(epochs=3, meta_size=30, train_size=200, test_size=100)
    config = METHODS[name].config(base, seed=3)
    found = run_method(name, config)
    if name != "pruned":  # that one has data of its own
        outcome = trained(config, prepare(config.data, 3), str(tmp_path))
        assert found["test_accuracy"] == pytest.approx(outcome.result["test_accuracy"], abs=1e-9)
        assert found["trusted_accuracy"] == outcome.result["trusted_accuracy"]
    halves = [run_method(name, config, rows)["test_accuracy"] for rows in (range(50), range(50, 100))]
    assert sum(halves) / 2 == pytest.approx(found["test_accuracy"])


def _row(place: str, factor: str, value: str, method: str, accuracy: float, seed: int = 0) -> Row:
    return {
        "place": place, "factor": factor, "value": value, "method": method, "seed": str(seed),
        "test_accuracy": str(accuracy),
    }  # fmt: skip


def _cell(place: str, factor: str, value: str, baseline: float, mentor: float, oracle: float | None) -> list[Row]:
    rows = [_row(place, factor, value, BASELINE, baseline), _row(place, factor, value, MENTOR, mentor)]
    return rows if oracle is None else [*rows, _row(place, factor, value, ORACLE, oracle)]


def test_what_the_grid_says() -> None:
    rows = [
        *_cell("wine", "centre", "", 0.80, 0.86, 0.90),
        *_cell("wine", "epochs", "2", 0.70, 0.84, 0.90),
        *_cell("wine", "epochs", "5", 0.70, 0.835, 0.90),
        *_cell("wine", "noise", "none", 0.95, 0.94, None),
        *_cell("wine", "noise", "asymmetric:0.4", 0.80, 0.79, 0.90),
        *_cell("wine", "noise", "symmetric:0.1", 0.895, 0.899, 0.90),
    ]
    found = goals.summaries(rows)
    assert [each.closed for each in found] == pytest.approx([0.6, 0.7, 0.675, None, -0.1, None])
    text = goals.report(rows)
    assert "| wine |  | 0.800 | 0.860 | 0.900 | +6.0 | 60 % |" in text
    assert "more than 0.5 points below equal weights: 2 (wine noise none -1.0, wine noise asymmetric:0.4 -1.0)" in text
    assert "without wrong labels a mentor costs 1.0 points on wine" in text
    assert "longer runs that end more than 1 point lower: 2 (wine at 2 times the epochs, wine at 5 times" in text
    assert "mean gap closed over 4 cells: 47 %" in text
    assert "mean gap closed, asymmetric:0.4, 1 cells: -10 %" in text


def test_a_cell_is_summed_up_over_the_seeds_that_all_have() -> None:
    rows = _cell("wine", "centre", "", 0.8, 0.9, 0.9)
    rows += [_row("wine", "centre", "", MENTOR, 0.1, seed=1), _row("wine", "epochs", "2", MENTOR, 0.5)]
    (found,) = goals.summaries(rows)
    assert found == dataclasses.replace(found, seeds=1, mentor=0.9)


def test_other_defaults_get_a_file_of_their_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or cells that are there already would be reported as theirs."""
    monkeypatch.setattr(sys, "argv", ["anywhere.py", "--places", "wine", "--change", "epochs=1"])
    monkeypatch.setattr(Rows, "fill", lambda *_: pytest.fail("it ran"))
    with pytest.raises(SystemExit):
        anywhere.main()
    assert "--change needs --rows" in capsys.readouterr().err
