"""What other trainers and tools get of an audit, and what a run leaves at its end."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hand_made_runs import row, run_of
from rich.console import Console

from ray_mentor.errors import UserError
from ray_mentor.report.audited import audit_run, show_audit
from ray_mentor.run.audit import files
from ray_mentor.run.audit.audit import Audit
from ray_mentor.run.audit.files import with_texts, write_table
from ray_mentor.run.audit.noise import unlearnt
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.closing import closed

MARGINS = {4: 6.0, 2: -6.0, 9: 5.0, 3: 4.0}
"""Of four samples: 2 is given ape, and is a bee."""


def rows(**more: Any) -> list[dict[str, Any]]:
    return [row(i, 0, i % 2, i % 2 if margin > 0 else 1, margin, **more) for i, margin in MARGINS.items()]


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    return Audit.from_run(run_of(tmp_path / "run", rows()))


@pytest.fixture
def older(tmp_path: Path) -> Audit:
    return Audit.from_run(run_of(tmp_path / "older", rows(), older=True))


def test_weights_are_by_id(audit: Audit) -> None:
    weights = audit.weights()
    assert weights.column_names == ["sample_id", "weight"]
    assert weights["sample_id"].to_pylist() == [2, 3, 4, 9]
    score = dict(zip(audit.table["sample_id"].to_pylist(), audit.table["score"].to_pylist(), strict=True))
    assert weights["weight"].to_pylist() == pytest.approx([1 - score[i] for i in (2, 3, 4, 9)])
    assert min(weights["weight"].to_pylist()) == weights["weight"].to_pylist()[0]


def test_clean_data_leave_issues_out_or_relabel_them(audit: Audit) -> None:
    assert audit.clean().to_pylist() == [
        {"sample_id": 3, "label": "bee"}, {"sample_id": 4, "label": "ape"}, {"sample_id": 9, "label": "bee"},
    ]  # fmt: skip
    relabelled = audit.clean(relabelled=True)
    assert relabelled["sample_id"].to_pylist() == [2, 3, 4, 9]
    assert relabelled["label"].to_pylist() == ["bee", "bee", "ape", "bee"]


def test_the_columns_of_cleanlabs_datalab(audit: Audit) -> None:
    frame = audit.datalab()
    assert frame.index.tolist() == [2, 3, 4, 9]
    assert frame.columns.tolist() == ["is_label_issue", "label_score", "given_label", "predicted_label"]
    assert frame["is_label_issue"].tolist() == [True, False, False, False]
    assert frame["label_score"].idxmin() == 2
    assert frame["is_label_issue"].dtype.kind == "b"
    assert frame.loc[2, ["given_label", "predicted_label"]].tolist() == ["ape", "bee"]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # of what cleanlab calls
def test_a_real_datalab_has_the_same_columns(audit: Audit) -> None:
    """Names, their order, and what they hold: classes by name, a score that is low where a label is bad."""
    cleanlab = pytest.importorskip("cleanlab", reason="cleanlab is not installed (pip install 'cleanlab[datalab]')")
    pytest.importorskip("datasets", reason="cleanlab's Datalab needs datasets (pip install 'cleanlab[datalab]')")
    labels = ["ape", "bee"] * 15
    chances = np.where(np.array(labels)[:, None] == ["ape", "bee"], 0.9, 0.1)
    chances[:3] = 1 - chances[:3]
    lab = cleanlab.Datalab({"label": labels}, label_name="label", verbosity=0)
    lab.find_issues(pred_probs=chances, issue_types={"label": {}})
    theirs, ours = lab.get_issues("label"), audit.datalab()
    assert theirs.columns.tolist() == ours.columns.tolist()
    assert [theirs[name].dtype.kind for name in theirs] == [ours[name].dtype.kind for name in ours]
    assert theirs.loc[0, ["is_label_issue", "given_label", "predicted_label"]].tolist() == [True, "ape", "bee"]
    for frame in (theirs, ours):
        bad = frame["is_label_issue"]
        assert frame.loc[bad, "label_score"].max() < frame.loc[~bad, "label_score"].min()


def test_a_ledger_without_predictions_has_weights_but_draws_no_line(older: Audit) -> None:
    assert len(older.weights()) == 4
    for ask in (older.clean, older.datalab):
        with pytest.raises(UserError, match="which labels are wrong isn't known: the ledger has no predictions"):
            ask()


def test_nothing_is_written_over(audit: Audit, tmp_path: Path) -> None:
    write_table(audit.weights(), str(tmp_path / "w.csv"))
    write_table(audit.weights(), str(tmp_path / "w.parquet"))
    assert (tmp_path / "w.csv").read_text().splitlines()[0] == '"sample_id","weight"'
    assert pyarrow.parquet.read_table(tmp_path / "w.parquet").equals(audit.weights())
    with pytest.raises(UserError, match=r"w.csv' is there already; give another name, or remove it first"):
        write_table(audit.weights(), str(tmp_path / "w.csv"))


def shown(audit: Audit, top: int = 2) -> str:
    console = Console(file=io.StringIO())
    show_audit(audit, top, console)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_the_table_on_the_terminal(audit: Audit) -> None:
    text = shown(audit)
    assert text.startswith("25.0% of the labels look wrong (")
    head, _, first, *_ = text.partition("look at these first")[2].splitlines()[2:]
    assert head.split() == ["sample", "given", "suggested", "said", "so", "score", "weight", "contradicted", "margin",
                            "early", "loss", "late", "loss"]  # fmt: skip
    assert first.split()[:4] == ["2", "ape", "bee", "100.0%"]
    (pair,) = [line for line in text.splitlines() if line.startswith(" ape") and "100.0%" not in line.split()[:4]][-1:]
    assert "bee" in pair


def test_doubt_stands_beside_the_rate(audit: Audit) -> None:
    console = Console(file=io.StringIO())
    show_audit(audit, 2, console, doubt="; the student errs")
    first, *_ = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert re.fullmatch(r"25\.0% of the labels look wrong \(.*; the student errs", first)


def test_a_class_that_the_student_never_says() -> None:
    matrix = np.array([[90, 10, 20], [5, 95, 10], [0, 1, 0]])
    (said,) = unlearnt(matrix, ("cat", "dog", "owl"))
    assert said == (
        "1 sample taken to be of class 'owl', though 30 are given as it: where a student has not learnt a class, "
        "right labels look wrong"
    )
    matrix[2, 2] = 5
    assert unlearnt(matrix, ("cat", "dog", "owl")) == []


def test_what_cant_be_said_is_said(older: Audit) -> None:
    text = shown(older)
    assert text.startswith("the ledger has no predictions (it is of an earlier version,")
    assert "class by class" not in text
    assert "suggested" not in text.partition("look at these first")[2]


def test_hostile_names_are_text(tmp_path: Path) -> None:
    names = ("[red]ape[/red]", "bee\x1b]0;owned\x07", "cow\n")
    text = shown(Audit.from_run(run_of(tmp_path, rows(), classes=names)))
    assert "[red]ape[/red]" in text
    assert "\x1b" not in text
    assert "\x07" not in text


def test_files_are_checked_before_anything_is_made(tmp_path: Path) -> None:
    path = run_of(tmp_path / "run", rows())
    with pytest.raises(UserError, match="is there already"):
        audit_run(str(path), 1, weights=None, clean=str(path / "config.toml"), relabelled=None, duplicates=False)
    assert not (path / "audit.csv").exists()


def test_wrong_labels_are_counted_among_the_first_fifty(tmp_path: Path) -> None:
    """Of 60 that are all wrong."""
    wrong = [row(i, 0, 0, 1, -1.0, true_label=1) for i in range(60)]
    result, _ = closed(RunDirectory(str(run_of(tmp_path, wrong))), {}, 1)
    assert result["first_known_wrong"] == [50, 50]


def test_as_many_samples_are_shown_as_are_asked_for(audit: Audit) -> None:
    console = Console(file=io.StringIO(), width=160)
    show_audit(audit, 2, console)
    text = console.file.getvalue().partition("look at these first")[2]  # type: ignore[attr-defined]
    assert [line.split()[0] for line in text.splitlines()[4:] if line.strip()] == ["2", "3"]


def test_the_csv_has_the_first_rows_and_six_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = RunDirectory(str(run_of(tmp_path, rows(loss=1 / 3))))
    audit = Audit.from_run(directory)
    monkeypatch.setattr(files, "MOST", 2)
    files.write(audit, directory)
    found = pyarrow.csv.read_csv(tmp_path / "audit.csv")
    assert found["sample_id"].to_pylist() == audit.table["sample_id"].to_pylist()[:2]
    assert found["loss_early"].to_pylist() == [0.333333, 0.333333]
    assert len(pyarrow.parquet.read_table(tmp_path / "audit.parquet")) == 4


@pytest.mark.parametrize("truth", [True, False])
def test_a_run_ends_with_them_and_then_with_its_result(tmp_path: Path, truth: bool) -> None:
    more = {"true_label": 0} if truth else {}
    directory = RunDirectory(str(run_of(tmp_path, rows(**more))))
    result, audit = closed(directory, {"steps": 1}, 1)
    assert result["first_known_wrong"] == ([2, 4] if truth else None)
    assert result["wrong_labels"] == 0.25
    assert result["wrong_labels_interval"][0] < 0.25 < result["wrong_labels_interval"][1]
    assert json.loads((tmp_path / "result.json").read_text()) == result
    lines = (tmp_path / "audit.csv").read_text().splitlines()
    assert len(lines) == 5
    assert lines[1].startswith('2,"ape","bee",1,')
    table = pyarrow.parquet.read_table(tmp_path / "audit.parquet")
    assert table["sample_id"].to_pylist() == audit.table["sample_id"].to_pylist()


def test_of_a_run_in_which_one_may_not_write_the_files_that_were_asked_for_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tmp_path / "run", rows())
    monkeypatch.setattr(RunDirectory, "_put", refused)
    asked = {name: str(tmp_path / f"{name}.csv") for name in ("weights", "clean", "relabelled")}
    with pytest.raises(UserError, match=r"run/audit.parquet cannot be written \(.*Read-only"):
        audit_run(str(run), 1, **asked, duplicates=False)
    assert all((tmp_path / f"{name}.csv").exists() for name in asked)


def refused(*_: Any) -> None:
    raise OSError(30, "Read-only file system")


def test_texts_steer_neither_a_spreadsheet_nor_a_terminal(tmp_path: Path) -> None:
    texts = ['=HYPERLINK("x")', "+1", "-1", "@SUM(A1)", "a=b\n=c", "\x1b[31m\u202ered\x00", "a\r\nb", None, "plain"]
    said = ['=HYPERLINK("x")', "+1", "-1", "@SUM(A1)", "a=b\n=c", "\\x1b[31m\\u202ered\\x00", "a\nb", None, "plain"]
    table = with_texts(pa.table({"sample_id": [f"={row}" for row in range(9)]}), texts)
    for name in ("a.csv", "a.parquet"):
        write_table(table, str(tmp_path / name))
    assert pyarrow.parquet.read_table(tmp_path / "a.parquet")["text"].to_pylist() == said
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [each["text"] for each in rows] == [f"'{text}" for text in said[:4]] + [text or "" for text in said[4:]]
    assert [each["sample_id"] for each in rows] == [f"={row}" for row in range(9)], "ids are what they are"
