"""The ledger's files: how many there are, which count, and what is made of damage, of older runs and of lies."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from bare_runs import BATCH, EPOCH_STEPS, EPOCHS, STEPS, expected_rows, rows_of, train
from sklearn.metrics import roc_auc_score
from watched_files import watched

from ray_mentor.data import memory
from ray_mentor.errors import UserError
from ray_mentor.run.checkpoint.checkpoints import newest_good
from ray_mentor.run.checkpoint.resume import check_same_run
from ray_mentor.run.directory import CHECKPOINTS, RunDirectory
from ray_mentor.run.ledger import detection, files
from ray_mentor.run.ledger.detection import noise_auroc
from ray_mentor.run.ledger.files import Stretch, ledger_parts, read_ledger, stretches_of, table_of
from ray_mentor.run.ledger.moved import Moved, moved
from ray_mentor.run.ledger.rows import SCHEMA


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run"


def names(path: Path, folder: str = "ledger") -> list[str]:
    """Steps and rank of each file."""
    found = [file.name for file in (path / folder).glob("*.parquet")]
    return sorted(
        re.sub(r"step-0*(\d+)-0*(\d+)-rank-0*(\d+)-[0-9a-f]{16}.parquet", r"\1-\2 of \3", name) for name in found
    )


def goes_on(path: Path, **options: Any) -> list[str]:
    """Goes on to the end; returns what was said of damage."""
    notes: list[str] = []
    train(RunDirectory(str(path)), notes=notes, **options)
    assert rows_of(read_ledger(RunDirectory(str(path)))) == expected_rows()
    return notes


@pytest.mark.parametrize("every", [1, 2, 3, 4])
def test_a_file_a_rank_and_epoch_however_many_checkpoints(path: Path, every: int) -> None:
    train(RunDirectory(str(path)), every=every, world=2)
    ends = [(0, 4), (4, 8), (8, 12)]
    assert names(path) == sorted(f"{first}-{stop} of {rank}" for first, stop in ends for rank in (0, 1))


@pytest.mark.parametrize(("every", "expected"), [(12, ["0-12 of 0"]), (5, ["0-4 of 0", "4-8 of 0", "8-12 of 0"]),
                                                 (9, ["0-8 of 0", "8-12 of 0"])])  # fmt: skip
def test_epochs_that_end_between_two_checkpoints_share_a_file(path: Path, every: int, expected: list[str]) -> None:
    train(RunDirectory(str(path)), every=every)
    assert names(path) == expected
    run = RunDirectory(str(path))
    for epoch in range(EPOCHS):
        assert rows_of(read_ledger(run, epoch)) == [row for row in expected_rows() if row[1] == epoch]


def test_the_epoch_under_way_lies_beside_its_checkpoints(path: Path) -> None:
    train(RunDirectory(str(path)), every=1, steps=8, world=2)
    assert names(path) == ["0-4 of 0", "0-4 of 1"]
    assert names(path, "checkpoints/ledger") == ["4-6 of 0", "4-6 of 1", "4-7 of 0", "4-7 of 1"]
    assert rows_of(read_ledger(RunDirectory(str(path)))) == expected_rows(7)
    assert rows_of(pyarrow.parquet.read_table(path / "ledger")) == expected_rows(4), "whoever reads the folder itself"


def test_an_epoch_of_very_many_rows_is_closed_early(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On all ranks at once: rank 0 has 3 rows of each batch, rank 1 has 2."""
    monkeypatch.setattr(files, "FULL", 6)
    train(RunDirectory(str(path)), every=1, steps=8, world=2)
    assert names(path) == sorted(f"{span} of {rank}" for span in ("0-2", "2-4", "4-6") for rank in (0, 1))
    goes_on(path, every=1)
    assert set(names(path)) >= {"6-8 of 0", "8-10 of 0", "10-12 of 0"}, "all rows of two ranks, and two batches of 5"
    assert names(path, "checkpoints/ledger") == ["10-11 of 0"]


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (2, 2), (3, 2)])
def test_other_ranks_take_the_epoch_over(path: Path, before: int, after: int) -> None:
    """Their rows end up in the epoch's files of those that go on."""
    train(RunDirectory(str(path)), every=2, steps=7, world=before)
    goes_on(path, every=2, world=after)
    assert [name for name in names(path) if name.startswith("4-8")] == [f"4-8 of {rank}" for rank in range(after)]


@pytest.mark.parametrize(("begun", "read"), [(6, 8), (6, 10), (5, 11), (7, 11)])
def test_who_reads_while_the_run_goes_on_has_the_rows_that_were_there(path: Path, begun: int, read: int) -> None:
    """The rows of the epoch under way move from checkpoint to checkpoint, and into the epoch's file in the end."""
    held: list[Any] = []
    run = RunDirectory(str(path))

    def looked(step: int) -> None:
        if step == begun and not held:
            parts = ledger_parts(run)
            held.extend([[next(parts)], parts])
        elif step == read and len(held) == 2:
            held.append(rows_of(pa.concat_tables([*held[0], *held[1]])))

    train(run, every=1, on_step=looked)
    assert held[2] == expected_rows(begun)


def test_rows_move_within_their_rank_and_from_their_first_step_on() -> None:
    def name(first: int, stop: int, rank: int, folder: str = "ledger") -> str:
        return f"{folder}/step-{first:012d}-{stop:012d}-rank-{rank:04d}-{'1' * 16}.parquet"

    asked = name(4, 6, 1, "checkpoints/ledger")
    others = [name(0, 9, 1), name(4, 9, 0), name(4, 5, 1), asked]
    assert moved(asked, None, others) is None
    assert moved(asked, None, [*others, name(4, 8, 1)]) == Moved(name(4, 8, 1), 6)
    assert moved(name(4, 8, 1), 6, [asked]) == Moved(asked, 6), "a run that went back, to where these rows were there"
    assert moved("ledger/my own.parquet", None, others) is None


def test_who_reads_twice_reads_the_same(path: Path) -> None:
    found: list[Any] = []

    def looked(step: int) -> None:
        if step == 6:
            found.append(list(files.files_that_count(RunDirectory(str(path)))))

    train(RunDirectory(str(path)), every=1, on_step=looked)
    again = ledger_parts(RunDirectory(str(path)), names=found[0], columns=("sample_id", "epoch", "step", "loss"))
    assert rows_of(pa.concat_tables(again)) == expected_rows(6)
    second = ledger_parts(RunDirectory(str(path)), 1, names=found[0])
    assert rows_of(pa.concat_tables(second)) == expected_rows(6, 4)


def test_an_object_store_gets_each_file_once(path: Path) -> None:
    """No temporary names, no copies: the stand-in raises at a move."""
    puts: list[str] = []
    train(watched(str(path), lambda what, where: puts.append(f"{what} {Path(where).name}"), "s3"), every=4)
    parquet = [put for put in puts if "parquet" in put]
    assert len(parquet) == len(set(parquet)) == EPOCHS
    assert not [put for put in puts if "partial" in put]


# Damage


def flip(file: Path) -> None:
    """In the last page of a column, which a checksum covers as it does not a page's head."""
    column = pyarrow.parquet.read_metadata(file).row_group(0).column(0)
    data = bytearray(file.read_bytes())
    data[(column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size - 1] ^= 1
    file.write_bytes(bytes(data))


def empty(file: Path) -> None:
    pyarrow.parquet.write_table(SCHEMA.empty_table().append_column("more", pa.array([], pa.int64())), file)


def later(file: Path) -> None:
    rows = pyarrow.parquet.read_table(file)
    steps = pa.array(np.asarray(rows["step"]) + 100)
    pyarrow.parquet.write_table(rows.set_column(2, SCHEMA.field("step"), steps), file)


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "gone": (Path.unlink, "is missing"),
    "a bit": (flip, "is damaged ("),
    "short": (lambda file: file.write_bytes(file.read_bytes()[:-20]), "is damaged ("),
    "none": (lambda file: file.write_bytes(b""), "is damaged ("),
    "other columns": (empty, "holds other rows than it should"),
    "other steps": (later, "holds other rows than it should"),
}


@pytest.mark.long
@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_to_rows_of_the_newest_checkpoint(path: Path, kind: str, world: int) -> None:
    """It is named, and the checkpoint before it taken: the rows are made again."""
    act, says = DAMAGE[kind]
    train(RunDirectory(str(path)), every=1, steps=8, world=2)
    (file,) = (path / "checkpoints/ledger").glob("*-000000000007-rank-0001-*")
    act(file)
    notes = goes_on(path, world=world)
    assert len(notes) == world
    assert notes[0].startswith(f"checkpoint {path}/checkpoints/step-{7:012d}-")
    assert f"its checkpoints/ledger/{file.name} {says}" in notes[0]
    assert f"; going on from {path}/checkpoints/step-{6:012d}-" in notes[0]


@pytest.mark.long
@pytest.mark.parametrize("column", ["loss", "more"])
def test_columns_that_are_none_of_a_ledger_are_not_read(path: Path, column: str) -> None:
    """One row of a few kilobytes may hold gigabytes."""
    train(RunDirectory(str(path)), every=1, steps=8)
    row: dict[str, Any] = {field.name: pa.array([0], field.type) for field in SCHEMA}
    hostile = pa.table({**row, column: pa.array([bytes(1 << 27)], pa.binary())})
    (beside,) = (path / "checkpoints/ledger").glob("*-000000000007-*")
    for file in (beside, *(path / "ledger").glob("*.parquet")):
        pyarrow.parquet.write_table(hostile, file, compression="zstd", use_dictionary=False, write_page_checksum=True)
        assert file.stat().st_size < 1 << 16
    steps = [int(number) for number in re.findall(r"-(\d{12})", beside.name)]
    stretch = Stretch(steps[0], steps[1], 0, EPOCHS, 1, int(beside.stem[-16:], 16), 0)
    usual, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    try:
        with pytest.raises(ValueError, match="holds other rows than it should"):
            files._read_back(RunDirectory(str(path)), stretch, 0)
        if column == "loss":
            with pytest.raises(UserError, match=r"of the ledger cannot be read \(it has other columns than it should"):
                list(ledger_parts(RunDirectory(str(path))))
        else:
            assert all(part.schema.equals(SCHEMA) for part in ledger_parts(RunDirectory(str(path))))
    finally:
        pa.set_memory_pool(usual)
    assert (pool.max_memory() or 0) < 1 << 24


def test_a_ledger_of_before_there_were_predictions_is_read(path: Path) -> None:
    train(RunDirectory(str(path)))
    whole = read_ledger(RunDirectory(str(path)))
    assert set(whole["predicted_label"].to_pylist()) == {0, 1, 2}
    for file in (path / "ledger").glob("*.parquet"):
        pyarrow.parquet.write_table(pyarrow.parquet.read_table(file).drop_columns(["predicted_label", "margin"]), file)
    older = read_ledger(RunDirectory(str(path)), 1)
    assert older.schema.equals(SCHEMA)
    assert rows_of(older) == [row for row in expected_rows() if row[1] == 1]
    assert older["predicted_label"].to_pylist() == [-1] * 20
    assert np.isnan(older["margin"].to_numpy()).all()
    (part, *_) = ledger_parts(RunDirectory(str(path)), columns=("margin", "sample_id"))
    assert part.column_names == ["margin", "sample_id"]


def test_more_rows_than_memory_are_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(RunDirectory(str(path)))
    monkeypatch.setattr(memory, "available_memory", lambda: 100)
    with pytest.raises(UserError, match=r"the rows in ledger/.* need .* of memory, but there are 0.0 GiB; free some"):
        list(ledger_parts(RunDirectory(str(path))))


def test_a_closed_file_that_is_gone(path: Path) -> None:
    """All checkpoints since need it: nothing goes on as if nothing was missing."""
    train(RunDirectory(str(path)), every=1, steps=8)
    (closed,) = (path / "ledger").glob("*.parquet")
    content = closed.read_bytes()
    closed.unlink()
    with pytest.raises(UserError, match=rf"its ledger/{closed.name} is missing\).*; there is no other checkpoint"):
        goes_on(path)
    with pytest.raises(UserError, match=rf"{path}/ledger/{closed.name} of the ledger cannot be read .*; put it back"):
        read_ledger(RunDirectory(str(path)))
    with pytest.raises(UserError, match="is missing"):
        newest_good(RunDirectory(str(path)), print)
    closed.write_bytes(content)
    assert goes_on(path) == []


def test_rows_that_do_not_fit_into_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(RunDirectory(str(path)), every=1, steps=8)
    monkeypatch.setattr("ray_mentor.data.memory.available_memory", lambda: 100)
    with pytest.raises(UserError, match=r"need .* of memory, but there are"):
        goes_on(path)


SOUND = [Stretch(0, 4, 0, 0, 2, 7, 1), Stretch(4, 8, 1, 1, 1, 7, 1), Stretch(8, 9, 2, 2, 1, 8, 0)]


def changed(place: int, **changes: int) -> torch.Tensor:
    rows = list(SOUND)
    rows[place] = dataclasses.replace(rows[place], **changes)
    return table_of(rows)


def test_a_sound_table() -> None:
    """So that the next test can fail."""
    assert stretches_of(table_of(SOUND), 9) == SOUND
    assert stretches_of(table_of(SOUND[1:]), 9) == SOUND[1:], "a branch's ledger begins in the middle"
    assert stretches_of(files.NO_ROWS, 9) == []


@pytest.mark.parametrize(
    "table",
    [
        None, 3, [], torch.zeros(3), torch.zeros(2, 7), torch.zeros(2, 7, dtype=torch.long), torch.full((1, 7), -1),
        torch.full((1, 7), 2**62), table_of(SOUND)[:, :-1], table_of(SOUND[:2]), table_of([*SOUND[:2], SOUND[1]]),
        changed(0, first=-1), changed(0, stop=3), changed(1, stop=9), changed(2, stop=10), changed(0, ranks=0),
        changed(0, ranks=2**60), changed(0, ended=0), changed(0, ended=2), changed(1, writer=-1),
        changed(1, last_epoch=0), changed(1, first_epoch=-1),
    ],
    ids=range(22),
)  # fmt: skip
def test_tables_that_no_run_would_have_written(table: Any) -> None:
    with pytest.raises(ValueError, match="what it says of its ledger"):
        stretches_of(table, 9)


def test_a_checkpoint_that_lies_about_its_ledger(path: Path) -> None:
    train(RunDirectory(str(path)), steps=8)
    run = RunDirectory(str(path))
    for name in run.names(CHECKPOINTS):
        table = torch.load(path / "checkpoints" / name, weights_only=True)
        table["log"]["ledger"] = torch.full((1, 7), 2**62)
        torch.save(table, path / "checkpoints" / name)
    with pytest.raises(
        UserError, match=r"cannot be read \(what it says of its ledger makes no sense\).*no other check"
    ):
        goes_on(path)


@pytest.mark.parametrize("content", [b"", b"junk", b"[[1]]", b"[" * 10**5, b"{}", b'[["a"]]', b"[[0,1,0,0,9,9,1]]"])
def test_an_index_of_any_content(path: Path, content: bytes) -> None:
    """Whoever reads is told; whoever goes on writes a new one."""
    train(RunDirectory(str(path)), steps=8)
    (index,) = (path / "ledger").glob("_files-*.json")
    index.write_bytes(content)
    with pytest.raises(UserError, match=r"of (its|the) ledger cannot be read .*; put it back"):
        read_ledger(RunDirectory(str(path)))
    assert goes_on(path) == []


# Runs of earlier versions


def as_before(path: Path) -> None:
    """The files of a run as they were named and written up to format version 6."""
    run = RunDirectory(str(path))
    tables = list(ledger_parts(run))
    for file in (path / "ledger").iterdir():
        file.unlink()
    for place, rows in enumerate(tables):
        pyarrow.parquet.write_table(rows, path / f"ledger/step-{4 * place:09d}-rank-0000.parquet")
    for file in (path / "checkpoints").glob("*.pt"):
        table = torch.load(file, weights_only=True)
        del table["log"]["ledger"]
        torch.save({**table, "format_version": 6}, file)
        file.rename(file.with_name(f"{file.name[:17]}.pt"))
    (path / "checkpoints/ledger").rmdir()
    (path / "attempt").write_bytes(bytes(range(200, 216)))


def test_the_ledger_of_an_older_run_is_read(path: Path) -> None:
    train(RunDirectory(str(path)), every=4)
    as_before(path)
    run = RunDirectory(str(path))
    assert rows_of(read_ledger(run)) == expected_rows()
    assert rows_of(read_ledger(run, 1)) == [row for row in expected_rows() if row[1] == 1]


def test_an_older_run_does_not_go_on_and_is_left_as_it_is(path: Path) -> None:
    train(RunDirectory(str(path)), every=4)
    as_before(path)
    before = {str(file): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    run = RunDirectory(str(path))
    with pytest.raises(UserError) as raised:
        check_same_run({"epochs": EPOCHS}, run)
    assert str(raised.value) == (
        f"run {path} is of an earlier version of ray_mentor, whose checkpoints (step-{8:012d}.pt) this one does not "
        "read; go on with that version, or start another run"
    )
    with pytest.raises(UserError, match="has format version 6, but this version reads 13"):
        newest_good(run, print)
    assert {str(file): file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


# What is made of it


def test_how_well_weights_tell_wrong_labels(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As scikit-learn has it, of the epoch alone; in whatever parts the rows are counted."""
    train(RunDirectory(str(path)), every=4, world=2)
    directory = RunDirectory(str(path))
    draw = np.random.default_rng(0)
    for levels in (2, 7, 10**9):
        for file in (path / "ledger").glob("*.parquet"):
            rows = pyarrow.parquet.read_table(file)
            weights = (draw.integers(0, levels + 1, len(rows)) / levels).astype(np.float32)
            pyarrow.parquet.write_table(rows.set_column(4, SCHEMA.field("scored_weight"), [weights]), file)
        for epoch in range(EPOCHS):
            rows = read_ledger(directory, epoch)
            assert len(rows) == BATCH * EPOCH_STEPS
            wrong = rows["given_label"].to_numpy() != rows["true_label"].to_numpy()
            expected = roc_auc_score(wrong, 1 - rows["scored_weight"].to_numpy().astype(np.float64))
            for part in (1, 3, 1 << 20):
                monkeypatch.setattr(detection, "_PART", part)
                assert noise_auroc(directory, epoch) == pytest.approx(expected, rel=1e-12, abs=0)


def test_where_nothing_can_be_told(path: Path) -> None:
    train(RunDirectory(str(path)), every=4)
    directory = RunDirectory(str(path))
    assert noise_auroc(directory, EPOCHS) is None, "an epoch without rows"
    for labels, expected in (("true_label", None), (None, None)):
        for file in (path / "ledger").glob("*.parquet"):
            rows = pyarrow.parquet.read_table(file)
            truth = rows["given_label"] if labels else pa.nulls(len(rows), pa.int64())
            pyarrow.parquet.write_table(rows.set_column(8, SCHEMA.field("true_label"), truth), file)
        assert noise_auroc(directory, 0) is expected


def test_only_what_is_asked_for_is_read(path: Path) -> None:
    train(RunDirectory(str(path)), every=4, world=2)
    parts = list(ledger_parts(RunDirectory(str(path)), 1, ["loss"]))
    assert [part.column_names for part in parts] == [["loss"], ["loss"]]
    assert sum(map(len, parts)) == BATCH * EPOCH_STEPS
    (index,) = (path / "ledger").glob("_files-*.json")
    assert len(json.loads(index.read_text())) == EPOCHS
    assert STEPS == EPOCHS * EPOCH_STEPS
