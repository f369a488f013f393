"""The ledger's rows: schema, values, and what is null."""

from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny_run import batch_of, curriculum_of, student_of

from ray_mentor.config import MentorConfig
from ray_mentor.core.mentor.access import LocalMentor
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.errors import UserError
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.names import GROUPS, with_sources
from ray_mentor.run.ledger import rows as ledger_module
from ray_mentor.run.ledger.rows import SCHEMA, LedgerRows


def test_the_columns() -> None:
    assert {field.name: str(field.type) for field in SCHEMA} == {
        "sample_id": "int64",
        "epoch": "int32",
        "step": "int64",
        "loss": "float",
        "scored_weight": "float",
        "sample_weight": "float",
        "influence": "float",
        "given_label": "int64",
        "true_label": "int64",
        "predicted_label": "int32",
        "margin": "float",
        "class_factor": "float",
        "domain": "int32",
        "group": "int32",
    }


def run(dtype: torch.dtype, truth: bool, samples: int) -> tuple[pa.Table, list[object]]:
    config = MentorConfig(update_interval=2, influence_samples=samples)
    access = LocalMentor(MentorLearner(config, 3, seed=0))
    curriculum = curriculum_of(student_of(dtype), mentor=access, config=config)
    ledger, records = LedgerRows(), []
    for step in range(3):
        records.append(curriculum.step(batch_of(seed=step, true_labels=truth, dtype=dtype)))
        ledger.append(step // 2, records[-1])
    table = ledger.table()
    assert len(ledger) == len(table) == 15
    assert ledger.table().equals(table)
    ledger.end_epoch()
    assert ledger.take_ended().equals(table)
    assert len(ledger) == len(ledger.table()) == 0
    assert ledger.table().schema.equals(SCHEMA)
    return table, records


_COPIED = (
    ("loss", "losses"), ("scored_weight", "scored"), ("sample_weight", "sample_weights"), ("margin", "margin"),
    ("predicted_label", "predicted_label"),
)  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_rows_hold_what_the_step_did(dtype: torch.dtype) -> None:
    table, records = run(dtype, truth=True, samples=0)
    assert table.schema.equals(SCHEMA)
    assert table["sample_id"].to_pylist() == 3 * [100, 101, 102, 103, 104]
    assert table["epoch"].to_pylist() == 10 * [0] + 5 * [1]
    assert table["step"].to_pylist() == 5 * [0] + 5 * [1] + 5 * [2]
    for name, column in _COPIED:
        expected = torch.cat([getattr(record, column) for record in records]).float().tolist()
        assert table[name].to_pylist() == expected
    influence = torch.cat([record.influence.float() for record in (records[0], records[2])]).tolist()
    assert table["influence"].to_pylist() == influence[:5] + 5 * [None] + influence[5:]
    assert table["given_label"].to_pylist() == torch.cat([record.batch.labels for record in records]).tolist()
    assert table["true_label"].to_pylist() == torch.cat([record.batch.true_labels for record in records]).tolist()


def test_sources_and_groups_are_by_row_of_the_training_split() -> None:
    curriculum, ledger = curriculum_of(student_of()), LedgerRows()
    record = curriculum.step(batch_of())
    rows = record.in_training.numpy()
    domains, groups = 10 + np.arange(1 + rows.max()), 20 + np.arange(1 + rows.max())
    for of in ((), (domains, None), (None, groups), (domains, groups)):
        ledger.append(0, record, *of)
    none, table = [-1] * len(rows), ledger.table()
    assert table["domain"].to_pylist() == none + domains[rows].tolist() + none + domains[rows].tolist()
    assert table["group"].to_pylist() == 2 * none + 2 * groups[rows].tolist()


def test_names_of_groups_are_in_a_file(tmp_path: Path) -> None:
    """A row of before the column is null; a number without a name is an error."""
    directory = RunDirectory(str(tmp_path))
    rows = pa.table({"domain": pa.array([-1, -1], pa.int32()), "group": pa.array([1, -1], pa.int32())})
    assert with_sources(rows, directory).equals(rows)
    directory.write(GROUPS, b'["north", "south"]')
    named = with_sources(rows, directory)
    assert named["group"].to_pylist() == ["south", None]
    assert named["domain"].to_pylist() == [-1, -1]
    directory.write(GROUPS, b'["north"]')
    with pytest.raises(UserError, match=r"groups.json lacks a group of the ledger"):
        with_sources(rows, directory)


def test_what_is_not_known_is_null() -> None:
    table, records = run(torch.float32, truth=False, samples=2)
    assert table["true_label"].null_count == 15
    assert table["influence"].null_count == 3 + 5 + 3
    assert torch.isfinite(records[0].influence).sum() == 2
    assert not any(value != value for value in table["influence"].to_pylist() if value is not None)


@pytest.mark.parametrize("rows", [1, 4, 5, 7])
def test_rows_go_on_in_the_next_block(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = run(torch.float32, truth=True, samples=0)
    monkeypatch.setattr(ledger_module, "_ROWS", rows)
    parts, _ = run(torch.float32, truth=True, samples=0)
    assert parts.combine_chunks().equals(whole.combine_chunks())


def test_nothing_of_a_step_is_held() -> None:
    """What a step allocated, and a ledger held, would split the memory that the next step frees and needs again."""
    curriculum = curriculum_of(student_of())
    record = curriculum.step(batch_of())
    columns = (record.losses, record.scored, record.sample_weights, record.influence, record.batch.labels)
    held = [weakref.ref(column) for column in columns]
    ledger = LedgerRows()
    ledger.append(0, record)
    del record, columns
    assert [column() for column in held] == [None] * 5
    assert len(ledger.table()) == 5
