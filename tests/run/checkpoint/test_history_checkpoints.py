"""A loss history in files of its own: what is written, what is kept, and what is made of damage. Needs no Ray."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bare_states import checkpoints_of, push_steps, state_at, values_after
from thread_ranks import on_ranks
from torch import Tensor
from unreadable import unreadable

from ray_mentor.core.exchange import AbstractExchange, Alone
from ray_mentor.core.history import pieces as history_pieces
from ray_mentor.core.history.table import LossHistory
from ray_mentor.errors import UserError
from ray_mentor.run.checkpoint.checkpoints import LARGEST_INSIDE, newest_good
from ray_mentor.run.checkpoint.state import RunState
from ray_mentor.run.directory import CHECKPOINTS, HISTORY, LEDGER, RunDirectory

N, LENGTH, BATCH = 40, 3, 5


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(str(tmp_path / "run"))
    directory.create((LEDGER, CHECKPOINTS))
    return directory


def train(
    directory: RunDirectory, steps: range, exchange: AbstractExchange | None = None, *, every: int = 1,
    largest_inside: int = 0, notes: list[str] | None = None, keep: int = 2,
) -> Tensor:  # fmt: skip
    """Goes on from the newest checkpoint to the end of ``steps``; returns this rank's values."""
    exchange = exchange or Alone()
    history = LossHistory(N, LENGTH, exchange.rank, exchange.world_size)
    note = [].append if notes is None else notes.append
    checkpoints = checkpoints_of(directory, history, largest_inside, exchange, keep=keep, note=note)
    state = checkpoints.newest()
    first = 0 if state is None else state.curriculum.step
    if state is not None and state.curriculum.history is not None:
        history.load(state.curriculum.history)
    assert first == steps.start
    for step in steps:
        push_steps(history, range(step, step + 1))
        if (step + 1) % every == 0:
            checkpoints.add(step + 1, None if exchange.rank else state_at(step + 1))
    return history.table.nan_to_num(-1)


def files(directory: RunDirectory) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in Path(directory.path, HISTORY).iterdir()}


def newest_pieces(directory: RunDirectory) -> list[history_pieces.Piece]:
    found = newest_good(directory, lambda text: None)
    assert found is not None
    return history_pieces.pieces_of(found.state.history_pieces)


def test_what_was_written_comes_back(run: RunDirectory) -> None:
    train(run, range(7))
    assert torch.equal(train(run, range(7, 7)), values_after(7, N, LENGTH))


def test_on_a_file_system_that_is_not_this_machines() -> None:
    """pyarrow's stand-in for one; s3:// and gs:// go the same ways."""
    directory = RunDirectory("mock:///run")
    directory.create((LEDGER, CHECKPOINTS))
    for steps in (range(7), range(7, 9)):
        assert torch.equal(train(directory, steps), values_after(steps.stop, N, LENGTH))
    assert set(directory.names(HISTORY)) > {piece.name for piece in newest_pieces(directory)}


@pytest.mark.parametrize("largest_inside", [0, LARGEST_INSIDE])
def test_as_many_ranks_as_one_likes(run: RunDirectory, largest_inside: int) -> None:
    """None lost, none counted twice: the parts are the whole table, bit for bit; step by step on other ranks."""
    done = 0
    for world in (1, 3, 2, 1, 4):
        steps = range(done, done + 4)
        parts = on_ranks(world, lambda rank, steps=steps: train(run, steps, rank, largest_inside=largest_inside))
        done = steps.stop
        assert torch.equal(torch.cat(parts), values_after(done, N, LENGTH))
    assert bool(files(run)) == (largest_inside == 0) if Path(run.path, HISTORY).exists() else largest_inside > 0


def test_only_rows_that_changed_are_written(run: RunDirectory) -> None:
    """Since the last checkpoint but one."""
    train(run, range(3))
    sizes = [size for _, size in sorted(files(run).items())]
    changed = [len({row for step in steps for row in rows_of(step)}) for steps in ([0], [0, 1], [1, 2])]
    assert sizes == [rows * (4 + 4 * LENGTH) for rows in changed]


def rows_of(step: int) -> list[int]:
    history = LossHistory(N, LENGTH)
    push_steps(history, range(step, step + 1))
    return history.table[:, 0].isfinite().nonzero()[:, 0].tolist()


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_updates_that_outgrow_the_table_are_replaced_by_it(run: RunDirectory, keep: int) -> None:
    """And what no checkpoint needs is gone: at most two tables, and updates of the same size, and a table for more."""
    kinds = set()
    for done in range(30):
        train(run, range(done, done + 1), keep=keep)
        kinds |= {name.rsplit(".", 1)[1] for name in files(run)}
        assert sum(files(run).values()) <= (2 + max(keep, 2)) * 4 * LENGTH * N
    assert kinds == {"whole", "updates"}
    train(run, range(30, 60), keep=keep)
    assert sum(files(run).values()) <= (2 + max(keep, 2)) * 4 * LENGTH * N
    assert torch.equal(train(run, range(60, 60), keep=keep), values_after(60, N, LENGTH))


def test_checkpoints_that_follow_each_other_share_no_file(run: RunDirectory) -> None:
    """Before and after the run was taken over."""
    for steps in (range(9), range(9, 20), range(20, 21)):
        train(run, steps)
        one, other = (
            {piece.name for piece in history_pieces.pieces_of(torch.load(path, weights_only=True)["history_pieces"])}
            for path in Path(run.path, CHECKPOINTS).glob("*.pt")
        )
        assert one
        assert other
        assert not one & other


def test_a_checkpoint_of_nothing_new_writes_nothing(run: RunDirectory) -> None:
    train(run, range(3))
    before = files(run)
    history = LossHistory(N, LENGTH)
    checkpoints = checkpoints_of(run, history)
    assert checkpoints.newest() is not None
    checkpoints.add(3, state_at(3))
    assert files(run).items() <= before.items()
    assert torch.equal(train(run, range(3, 3)), values_after(3, N, LENGTH))


def test_large_pieces_are_cut(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_pieces, "PIECE_BYTES", 50)
    train(run, range(9))
    assert max(files(run).values()) <= 50
    assert torch.equal(train(run, range(9, 9)), values_after(9, N, LENGTH))


def test_what_nobody_names_is_removed_by_who_takes_the_run_over(run: RunDirectory) -> None:
    train(run, range(3))
    named = files(run)
    for name in ("step-000000000004-row-000000000000-00000000000000ab.updates", ".step.partial"):
        run.write(f"{HISTORY}/{name}", b"x")
    train(run, range(3, 3))
    assert files(run) == named


def test_a_run_that_was_taken_over_leaves_the_files_of_the_other_alone(run: RunDirectory) -> None:
    history = LossHistory(N, LENGTH)
    old = checkpoints_of(run, history)
    old.newest()
    push_steps(history, range(1))
    old.add(1, state_at(1))
    train(run, range(1, 4))
    push_steps(history, range(1, 2))
    with pytest.raises(UserError, match="another process has taken up the run"):
        old.add(2, state_at(2))
    assert torch.equal(train(run, range(4, 4)), values_after(4, N, LENGTH))


# Damage


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "missing": Path.unlink,
    "damaged, a bit": flip,
    "damaged, empty": lambda path: path.write_bytes(b""),
    "damaged, short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "damaged, long": lambda path: path.write_bytes(path.read_bytes() + b"x"),
}


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_to_the_newest_is_named_and_passed_over(run: RunDirectory, kind: str, world: int) -> None:
    """Whichever rank finds it, all take the one before."""
    on_ranks(world, lambda rank: train(run, range(4), rank))
    newest = [Path(run.path, HISTORY, name) for name in files(run) if name.startswith(f"step-{4:012d}")]
    DAMAGE[kind](max(newest))
    notes: list[str] = []
    parts = on_ranks(world, lambda rank: train(run, range(3, 6), rank, notes=notes))
    assert torch.equal(torch.cat(parts), values_after(6, N, LENGTH))
    assert len(notes) == world
    assert notes[0].startswith(f"checkpoint {run.path}/checkpoints/step-{4:012d}-")
    assert f".pt cannot be read (its {HISTORY}/step-" in notes[0]
    assert f" is {kind.split(',')[0]}); going on from {run.path}/checkpoints/step-{3:012d}-" in notes[0]


def test_a_file_that_may_not_be_read_is_passed_over(run: RunDirectory) -> None:
    train(run, range(4))
    newest = max(name for name in files(run) if name.startswith(f"step-{4:012d}"))
    notes: list[str] = []
    train(RunDirectory(run.path, unreadable(newest)), range(3, 4), notes=notes)
    assert f"/{HISTORY}/{newest} cannot be read ([Errno 13] Permission denied" in notes[0]
    with pytest.raises(UserError, match=r"Permission denied.*; there is no other checkpoint to go on from"):
        train(RunDirectory(run.path, unreadable(".updates", ".whole")), range(4, 5))


@pytest.mark.parametrize("steps", [3, 8, 11])
def test_any_file_may_be_damaged(run: RunDirectory, steps: int) -> None:
    """There is a checkpoint that does not need it; with two, there may be none."""
    train(run, range(steps))
    for name in files(run):
        content = Path(run.path, HISTORY, name).read_bytes()
        flip(Path(run.path, HISTORY, name))
        needed = name in {piece.name for piece in newest_pieces(run)}
        again = LossHistory(N, LENGTH)
        state = checkpoints_of(run, again).newest()
        assert state is not None
        assert state.curriculum.step == steps - needed
        assert torch.equal(again.table.nan_to_num(-1), values_after(steps - needed, N, LENGTH))
        Path(run.path, HISTORY, name).write_bytes(content)
    for name in files(run):
        flip(Path(run.path, HISTORY, name))
    with pytest.raises(UserError, match=r"is damaged\); there is no other checkpoint to go on from"):
        train(run, range(steps, steps + 1))


def test_a_driver_sees_what_is_missing(run: RunDirectory) -> None:
    train(run, range(3))
    Path(run.path, HISTORY, max(files(run))).unlink()
    notes: list[str] = []
    found = newest_good(run, notes.append)
    assert found is not None
    assert found.state.curriculum.step == 2
    assert "is missing); going on from" in notes[0]


@pytest.mark.parametrize("largest_inside", [0, LARGEST_INSIDE])
def test_a_history_of_another_kind(run: RunDirectory, largest_inside: int) -> None:
    train(run, range(2), largest_inside=LARGEST_INSIDE - largest_inside)
    with pytest.raises(UserError, match=r"its loss history is not of \(40, 3\) \(samples, numbers each\)"):
        train(run, range(2, 3), largest_inside=largest_inside)


def whole(first: int, stop: int, **changes: int) -> list[int]:
    facts = {"updates": 0, "step": 1, "first": first, "stop": stop, "count": stop - first, "writer": 1, "checksum": 1}
    return list({**facts, **changes}.values())


@pytest.mark.parametrize(
    "table",
    [
        None,
        3,
        torch.zeros(3),
        torch.zeros(2, 7),
        torch.zeros(2, 7, dtype=torch.long),
        torch.full((1, 7), -1),
        torch.full((1, 7), 2**62),
        torch.tensor([whole(0, 20)]),
        torch.tensor([whole(0, 20), whole(21, N)]),
        torch.tensor([whole(0, 21), whole(20, N)]),
        torch.tensor([whole(0, N), whole(0, N)]),
        torch.tensor([whole(0, N + 1)]),
        torch.tensor([whole(0, N, count=N - 1)]),
        torch.tensor([whole(0, N, updates=1, count=N + 1)]),
        torch.tensor([whole(0, N, updates=1), whole(0, N)]),
        torch.tensor([whole(0, N)]),
        torch.tensor([whole(0, 20, updates=1)]),
    ],
    ids=str,
)
def test_pieces_that_no_run_would_have_named(run: RunDirectory, table: Any) -> None:
    train(run, range(1))
    found = newest_good(run, lambda text: None)
    assert found is not None
    curriculum, *rest = (
        getattr(found.state, name) for name in ("curriculum", "student", "optimizer", "schedule", "log", "data")
    )
    run.write(f"{CHECKPOINTS}/{found.name}", RunState(curriculum, *rest, table).to_bytes())
    with pytest.raises(UserError, match=r"cannot be read \(.*its .*; there is no other checkpoint to go on from"):
        train(run, range(1, 2))


@pytest.mark.parametrize(
    ("value", "says"), [("inf", "losses that are not finite"), ("row", "rows that are not its own")]
)
def test_content_that_no_run_would_have_written(run: RunDirectory, value: str, says: str) -> None:
    train(run, range(1))
    [piece] = newest_pieces(run)
    data = bytearray(Path(run.path, HISTORY, piece.name).read_bytes())
    if value == "inf":
        data[-4:] = torch.tensor([torch.inf]).numpy().tobytes()
    else:
        data[:4] = b"\xff" * 4
    with pytest.raises(ValueError, match=says):
        history_pieces.take_up(piece, bytes(data), LossHistory(N, LENGTH))
