"""The audit's table, rate and matrix, on ledgers whose rows are said by hand."""

from __future__ import annotations

import math
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hand_made_runs import row, run_of

import ray_mentor
from ray_mentor.errors import UserError
from ray_mentor.run.accuracy import wilson
from ray_mentor.run.audit import sums as sums_module
from ray_mentor.run.audit.audit import Audit, burn_in_epochs
from ray_mentor.run.audit.noise import by_class, confusions, knows_nothing, noise_rate
from ray_mentor.run.audit.score import by_ranks, score_of, suspicion
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.ledger.rows import SCHEMA

EPOCHS = 4


def few() -> list[dict[str, Any]]:
    """Sample 7 is given ape and said to be a bee from the second epoch on; 3 is right, 5 is learnt late."""
    says = {7: (0, [0, 1, 1, 1], [9.0, -2.0, -4.0, -6.0]), 3: (1, [1, 1, 1, 1], [0.0, 4.0, 4.0, 4.0]),
            5: (2, [0, 0, 2, 2], [-9.0, -1.0, 2.0, 5.0])}  # fmt: skip
    return [
        row(sample, epoch, given, predicted[epoch], margin[epoch], loss=float(sample + epoch),
            scored_weight=epoch / 10 + sample / 100, influence=None if epoch == 2 else sample * (epoch - 1.0))
        for epoch in range(EPOCHS)
        for sample, (given, predicted, margin) in says.items()
    ]  # fmt: skip


def test_a_table_by_hand(tmp_path: Path) -> None:
    """Of four epochs the first is burn-in; two are early, and two late."""
    audit = Audit.from_run(run_of(tmp_path, few()))
    table = audit.table
    assert table["sample_id"].to_pylist() == [7, 5, 3]
    assert table["given_label"].to_pylist() == ["ape", "cow", "bee"]
    assert table["suggested_label"].to_pylist() == ["bee", "cow", "bee"]
    assert table["suggested_share"].to_pylist() == pytest.approx([1, 2 / 3, 1])
    assert table["wrong_share"].to_pylist() == pytest.approx([1, 1 / 3, 0])
    assert table["mean_margin"].to_pylist() == pytest.approx([-4, 2, 4])
    assert table["mean_sample_weight"].to_pylist() == pytest.approx([0.27, 0.25, 0.23])
    assert table["mean_influence"].to_pylist() == pytest.approx([7 * 1 / 3, 5 * 1 / 3, 1])
    assert table["loss_early"].to_pylist() == pytest.approx([7.5, 5.5, 3.5])
    assert table["loss_late"].to_pylist() == pytest.approx([9.5, 7.5, 5.5])
    assert table["is_issue"].to_pylist() == [True, False, False]
    assert audit.matrix is not None
    assert audit.matrix.tolist() == [[0, 0, 0], [1, 1, 0], [0, 0, 1]], "a row a true class, a column a given one"
    assert audit.rate is not None
    assert (audit.rate.count, audit.rate.samples, audit.rate.rate) == (1, 3, pytest.approx(1 / 3))
    assert audit.rate.low < 1 / 3 < audit.rate.high
    assert str(audit.rate).startswith("33.3% of the labels look wrong (")
    assert audit.issues["sample_id"].to_pylist() == [7]
    assert [note[:20] for note in audit.notes] == ["this run has no ment", "no trusted samples i"]
    first, *others = repr(audit).splitlines()
    assert (first, *others[:-1]) == (str(audit.rate), *audit.notes), "in a notebook, a few lines"
    for name in re.findall(r"audit\.(\w+)", others[-1]):
        assert hasattr(audit, name)
    assert "true_label" not in table.column_names


def test_the_score_by_hand() -> None:
    margin, influence = np.float32([-4, 2, 4]), np.float32([1, 2, math.nan])
    u = suspicion(margin, influence)
    assert u == pytest.approx([4 / 4 + 0.1 * 1 / 0.5, -2 / 4 + 0.1 * 2 / 0.5, -4 / 4])
    assert score_of(u) == pytest.approx(1 / (1 + np.exp(-4 * (u - 0.1))))
    assert suspicion(margin, np.full(3, np.nan, np.float32)) == pytest.approx([1, -0.5, -1])
    assert suspicion(np.full(3, np.nan, np.float32), np.full(3, np.nan, np.float32)).tolist() == [0, 0, 0]
    assert score_of(np.float32([-1e9, 1e9])).tolist() == [0, 1]


def test_the_line_between_right_and_wrong(tmp_path: Path) -> None:
    """It lies at u = 0.1, a tenth of the median margin below 0. Of two labels said as often the given one stands."""
    margins = {1: -0.15, 2: -0.05, 3: 1.0, 4: 1.0, 5: -1.0}
    rows = [row(i, e, 1, int(e % 2 == 0 or i in (3, 4)), m) for i, m in margins.items() for e in range(3)]
    rows = [{**each, "predicted_label": 0} if each["sample_id"] in (1, 5) else each for each in rows]
    table = Audit.from_run(run_of(tmp_path, rows, epochs=0)).to_pandas().set_index("sample_id").sort_index()
    assert table["score"].to_numpy() == pytest.approx(1 / (1 + np.exp(4 * (np.array([*margins.values()]) + 0.1))))
    assert table["is_issue"].tolist() == [True, False, False, False, True]
    assert table.loc[2, ["suggested_label", "suggested_share", "wrong_share"]].tolist() == ["bee", 0.5, 0.5]


def test_a_margin_that_is_not_known_is_left_out(tmp_path: Path) -> None:
    rows = [row(1, e, 0, 0, math.nan if e == 3 else float(e)) for e in range(EPOCHS)]
    assert Audit.from_run(run_of(tmp_path, rows)).table["mean_margin"].to_pylist() == [1.5]


def test_a_truth_that_is_known_of_some_is_no_column(tmp_path: Path) -> None:
    rows = [row(i, e, 0, 0, 1.0, true_label=0 if i else None) for i in range(3) for e in range(EPOCHS)]
    assert "true_label" not in Audit.from_run(run_of(tmp_path, rows)).table.column_names


def many(samples: int = 500, ids: int = 1) -> tuple[list[list[dict[str, Any]]], np.ndarray]:
    """A fifth of the samples is wrong, in three files; ``ids`` lies between two of them."""
    draw = np.random.default_rng(0)
    wrong = draw.random(samples) < 0.2
    given = draw.integers(0, 3, samples)
    rows: list[list[dict[str, Any]]] = [[], [], []]
    for epoch in range(EPOCHS):
        for sample in draw.permutation(samples):
            margin = draw.normal(-3 if wrong[sample] else 3, 1)
            said = (given[sample] + (margin < 0)) % 3
            true = int(given[sample] + wrong[sample]) % 3
            found = row(10 + ids * int(sample), epoch, int(given[sample]), int(said), margin, true_label=true)
            rows[sample % 3].append({**found, "influence": draw.normal(0.1 * wrong[sample], 1)})
    return rows, wrong


def test_how_many_are_wrong(tmp_path: Path) -> None:
    rows, wrong = many()
    audit = Audit.from_run(run_of(tmp_path, *rows))
    assert audit.rate is not None
    assert audit.matrix is not None
    assert audit.rate.rate == pytest.approx(wrong.mean(), abs=0.01)
    assert audit.rate.low < wrong.mean() < audit.rate.high
    table = audit.to_pandas()
    issue = table["given_label"].astype(str) != table["true_label"].astype(str)
    assert issue[: wrong.sum()].mean() > 0.98
    assert audit.matrix.sum() == len(wrong)
    assert audit.matrix.trace() == len(wrong) - audit.rate.count


@pytest.mark.parametrize("ids", [1, 7])
def test_blocks_make_no_difference(tmp_path: Path, ids: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do ids that are no row of numbers."""
    path = run_of(tmp_path, *many(50, ids)[0])
    whole = Audit.from_run(path)
    monkeypatch.setattr(sums_module.sums, "__defaults__", (1000,))
    span = sums_module.span_of(RunDirectory(str(path)))
    assert len(list(sums_module.sums(RunDirectory(str(path)), span, 1))) > 3
    parts = Audit.from_run(path)
    assert parts.table.equals(whole.table)
    assert parts.rate == whole.rate


def test_right_labels_are_let_be(tmp_path: Path) -> None:
    """Of a student that is sometimes unsure at most 2 % are flagged."""
    draw = np.random.default_rng(1)
    rows = [row(i, e, 0, int(m < 0), m) for i in range(300) for e in range(EPOCHS) for m in [draw.normal(3, 1.5)]]
    audit = Audit.from_run(run_of(tmp_path, rows))
    assert audit.rate is not None
    assert audit.rate.rate <= 0.02
    assert audit.rate.low == 0


# What is there of a sample, or of an epoch, may be little


def test_a_sample_that_the_student_said_nothing_of_is_no_issue(tmp_path: Path) -> None:
    """It was met in burn-in alone, where its influence was large: no label is suggested, none taken for wrong."""
    draw = np.random.default_rng(0)
    rows = [
        row(i, e, i % 3, i % 3, 3 + draw.normal(), influence=draw.normal() + 9 * (not i))
        for i in range(50)
        for e in range(EPOCHS)
        if i or not e
    ]
    audit = Audit.from_run(run_of(tmp_path, rows))
    first = audit.table.to_pylist()[0]
    assert (first["sample_id"], first["suggested_label"], first["is_issue"]) == (0, None, False)
    assert first["score"] > 0.5
    assert audit.rate is not None
    assert audit.rate.count == 0
    assert not audit.clean(relabelled=True)["label"].null_count


def test_an_epoch_under_way_stands_beside_the_last_whole_one(tmp_path: Path) -> None:
    """A run of 60 epochs, stopped as its fourth had begun: all of it is burn-in, and few have rows of the fourth."""
    rows, wrong = many()
    rows[2] = [each for each in rows[2] if each["epoch"] < 3 or each["sample_id"] < 30]
    rows[:2] = ([each for each in part if each["epoch"] < 3] for part in rows[:2])
    audit = Audit.from_run(run_of(tmp_path, *rows, epochs=60))
    assert audit.rate is not None
    assert audit.rate.rate == pytest.approx(wrong.mean(), abs=0.02)
    for name in ("suggested_label", "mean_margin", "mean_sample_weight", "loss_early", "loss_late"):
        assert not audit.table[name].null_count, name


def test_a_run_that_goes_on_between_two_readings(tmp_path: Path) -> None:
    """A class that nobody had said before, and a sample that nobody had met, wait for the next audit."""
    directory = RunDirectory(str(run_of(tmp_path, few())))
    span = sums_module.span_of(directory)
    later = [row(7, 4, 0, 9, -1.0), row(8, 4, 9, 9, 1.0)]
    pyarrow.parquet.write_table(pa.Table.from_pylist(later, schema=SCHEMA), tmp_path / "ledger/later.parquet")
    [found] = sums_module.sums(directory, span, 1)
    assert found.of["rows"].tolist() == [3, 3, 3]
    assert len(Audit.from_run(directory).table) == 4


def test_what_is_not_known_of_a_sample_ranks_in_the_middle() -> None:
    loss, weight = np.float32([0, 1, math.nan, 2, 3]), np.float32([0.9, 0.8, 0.7, math.nan, 0.1])
    assert by_ranks(loss, weight) == pytest.approx([0, (1 / 3 + 1 / 3) / 2, (0.5 + 2 / 3) / 2, (2 / 3 + 0.5) / 2, 1])
    assert by_ranks(loss, np.full(5, np.nan, np.float32)) == pytest.approx([0, 1 / 3, 0.5, 2 / 3, 1])


def test_no_two_classes_go_by_one_name(tmp_path: Path) -> None:
    """Of ImageNet two are a crane; a student may have more outputs than there are classes."""
    rows = [row(i, e, i % 3, 3 if i == 0 else i % 3, -3.0 if i == 0 else 3.0) for i in range(9) for e in range(EPOCHS)]
    audit = Audit.from_run(run_of(tmp_path, rows, classes=["3", "crane", "crane"]))
    assert audit.classes == ("3", "crane", "crane (2)", "3 (3)")
    assert audit.to_pandas()["suggested_label"].tolist()[0] == "3 (3)"
    assert audit.datalab()["given_label"].tolist() == ["3", "crane", "crane (2)"] * 3


def test_ids_of_all_64_bits(tmp_path: Path) -> None:
    ids = [-(2**63), -1, 5, 2**63 - 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        audit = Audit.from_run(run_of(tmp_path, [row(i, e, 0, 0, 3.0) for i in ids for e in range(EPOCHS)]))
    assert audit.table["sample_id"].to_pylist() == ids
    assert not audit.table["mean_margin"].null_count


# What can't be said


def test_a_ledger_without_predictions_ranks_by_loss_and_weight(tmp_path: Path) -> None:
    rows = [
        row(i, e, i % 3, 0, 0.0, loss=float(i == 4) + i / 10, scored_weight=0.9 - 0.5 * (i == 4))
        for i in range(6)
        for e in range(2)
    ]
    audit = Audit.from_run(run_of(tmp_path, rows, older=True))
    assert audit.table["sample_id"].to_pylist()[0] == 4
    assert audit.table["score"].to_pylist()[0] == 1.0
    for name in ("suggested_label", "suggested_share", "is_issue", "wrong_share", "mean_margin", "mean_influence"):
        assert audit.table[name].null_count == 6, name
    assert (audit.rate, audit.matrix, audit.by_class, audit.confusions) == (None, None, None, None)
    assert audit.notes == (
        "the ledger has no predictions (it is of an earlier version, or the student's outputs are no class logits): "
        "no label is suggested, and how many are wrong is not said; samples are ranked by mean loss and mean sample "
        "weight",
        "the run has come to epoch 2 of 4: later it says more",
    )


def test_a_run_without_a_mentor_says_less(tmp_path: Path) -> None:
    rows = [{**each, "scored_weight": 1.0} for each in few()]
    note, more = Audit.from_run(run_of(tmp_path, rows)).notes
    assert more.startswith("no trusted samples in training say how often the student errs")
    assert note == (
        "this run has no mentor: a student learns wrong labels by heart, so that there may be more than this; a run of "
        "--method mentornet says it better"
    )


def test_a_mentor_that_has_not_learned_yet_is_one(tmp_path: Path) -> None:
    """Of a run that was stopped before its first update; another method would not say it better."""
    path = run_of(tmp_path, [{**each, "scored_weight": 0.9} for each in few()])
    (path / "config.toml").write_text('epochs = 4\nmethod = "mentornet"\n')
    assert Audit.from_run(path).notes == (
        "all samples weighed the same in this run, so that weights say nothing of any",
        "no trusted samples in training say how often the student errs (it takes 5 of each class that is given, and "
        "there are none of 'ape'): a right label that it contradicts counts as a wrong one, so where the task is hard "
        "this is the student's error rather than the labels', and the interval does not hold how many are wrong",
    )


def test_what_is_said_of_mixed_inputs_is_no_more_than_that(tmp_path: Path) -> None:
    path = run_of(tmp_path, few())
    (path / "config.toml").write_text('epochs = 4\nmixing = "mixup"\n')
    assert Audit.from_run(path).notes[-1].startswith("this run showed its student mixed inputs alone, and what it said")


def test_no_rows_and_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a run: it has no config.toml; give the folder .* audit runs/first"):
        Audit.from_run(tmp_path)
    with pytest.raises(UserError, match="has no rows yet; wait for the end of an epoch"):
        Audit.from_run(run_of(tmp_path))


def test_classes_without_names_are_numbers(tmp_path: Path) -> None:
    audit = Audit.from_run(run_of(tmp_path, few(), classes=None))
    assert audit.classes == ("0", "1", "2")
    assert audit.table["suggested_label"].to_pylist() == ["1", "2", "1"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"epochs": 60}, 5),
        ({"epochs": 10}, 2),
        ({"epochs": 10, "burn_in": 0.5}, 5),
        ({"epochs": 100, "method": "dividemix"}, 10),
        ({"epochs": 100, "method": "dividemix", "burn_in": 0.0}, 5),
        ({"epochs": 100, "method": "rule:gone.json"}, 5),
        ({"epochs": 100, "method": "of a later version"}, 5),
        ({}, 1),
    ],
)
def test_burn_in(settings: dict[str, Any], expected: int) -> None:
    assert burn_in_epochs(settings, 4) == expected


# Class by class


def test_the_worst_class_first(tmp_path: Path) -> None:
    rows, _ = many()
    audit = Audit.from_run(run_of(tmp_path, *rows))
    table = audit.by_class
    assert table is not None
    assert audit.matrix is not None
    assert table["wrong_share"].to_pylist() == sorted(table["wrong_share"].to_pylist(), reverse=True)
    for each in table.to_pylist():
        k = audit.classes.index(each["class"])
        assert each["given"] == audit.matrix[:, k].sum()
        assert each["wrong"] == each["given"] - audit.matrix[k, k]
        assert each["missing"] == audit.matrix[k].sum() - audit.matrix[k, k]
        assert each["mostly"] == audit.classes[(k + 1) % 3]
    pairs = audit.confusions
    assert pairs is not None
    assert pa.compute.sum(pairs["count"]).as_py() == audit.rate.count  # type: ignore[union-attr]
    assert pairs["count"].to_pylist() == sorted(pairs["count"].to_pylist(), reverse=True)
    first = pairs.to_pylist()[0]
    assert first["count"] == audit.matrix[audit.classes.index(first["suggested"]), audit.classes.index(first["given"])]


def test_a_matrix_by_hand() -> None:
    """Nobody is given cow, which all three cows lack."""
    matrix = np.array([[5, 1, 0], [2, 6, 0], [0, 3, 0]])
    names = ("ape", "bee", "cow")
    assert by_class(matrix, names).to_pylist() == [
        {"class": name, "given": given, "wrong": wrong, "wrong_share": wrong / max(given, 1), "missing": missing,
         "missing_share": missing / true, "mostly": mostly}
        for name, given, wrong, missing, true, mostly in (
            ("bee", 10, 4, 2, 8, "cow"), ("ape", 7, 2, 1, 6, "bee"), ("cow", 0, 0, 3, 3, None))
    ]  # fmt: skip
    assert confusions(matrix, names).to_pylist() == [
        {"given": "bee", "suggested": "cow", "count": 3, "share": 0.3},
        {"given": "ape", "suggested": "bee", "count": 2, "share": 2 / 7},
        {"given": "bee", "suggested": "ape", "count": 1, "share": 0.1},
    ]


def test_it_is_a_public_name() -> None:
    assert ray_mentor.Audit is Audit


def test_the_interval_by_hand() -> None:
    """Of 100 samples 30 are wrong beyond doubt, 40 likely, and 55 could be."""
    u = np.repeat(np.float32([1.0, 0.3, 0.0, -1.0]), [30, 10, 15, 45])
    found = noise_rate(u, u > 0.1)
    assert (found.rate, found.count, found.samples) == (0.4, 40, 100)
    assert found.low == pytest.approx(wilson(30, 100)[0] - 0.01)
    assert found.high == pytest.approx(wilson(55, 100)[1])
    assert noise_rate(u, np.zeros(100, bool)).low == 0


def test_a_student_that_has_learnt_nothing_says_nothing_of_labels(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    given, guessed = draw.integers(0, 3, 90), draw.integers(0, 3, 90)
    for name, predicted in (("guesses", guessed), ("constant", np.zeros(90, int)), ("knows", given)):
        pairs = enumerate(zip(given, predicted, strict=True))
        rows = [row(i, 3, int(g), int(p), -1.0 if g != p else 1.0) for i, (g, p) in pairs]
        audit = Audit.from_run(run_of(tmp_path / name, rows))
        assert (audit.rate is None) == (name != "knows")
        assert audit.table["is_issue"].null_count == (0 if name == "knows" else 90)
        if name != "knows":
            assert "no more than by chance" in audit.notes[0]
            with pytest.raises(UserError, match="which labels are wrong isn't known: the student's predictions agree"):
                audit.datalab()


def test_agreement_beyond_chance_by_hand() -> None:
    given = np.repeat([0, 1], 50)
    right = np.where(np.arange(100) % 50 < 35, given, 1 - given)  # p_o = .7, p_e = .5: kappa .4, standard error .1
    assert not knows_nothing(given, right, 2)
    hardly = np.where(np.arange(100) % 50 < 29, given, 1 - given)  # kappa .16
    assert knows_nothing(given, hardly, 2)
    assert not knows_nothing(np.repeat(given, 100), np.repeat(hardly, 100), 2), "which is much of ten thousand"
    assert not knows_nothing(given[:20], 1 - given[:20], 2), "too few to say so"
    assert not knows_nothing(np.zeros(50, np.int64), np.zeros(50, np.int64), 2), "one class alone"
