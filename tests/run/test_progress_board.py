"""The board that progress rows are posted to forgets what was read, and keeps no more than it has room for."""

from __future__ import annotations

from ray_mentor.run.progress import ProgressBoard


def numbers(board: ProgressBoard, seen: int) -> tuple[int, list[int]]:
    posted, rows = board.read(seen)
    return posted, [row["n"] for row in rows]


def test_each_row_is_read_in_order_and_what_was_read_is_forgotten() -> None:
    board = ProgressBoard()
    assert board.read(0) == (0, [])
    for n in range(3):
        board.post({"n": n})
    assert numbers(board, 0) == (3, [0, 1, 2])
    assert numbers(board, 0) == (3, [0, 1, 2]), "an answer that did not arrive is given again"
    board.post({"n": 3})
    assert numbers(board, 3) == (4, [3])
    assert numbers(board, 4) == (4, [])
    assert board.kept == 0


def test_rows_that_nobody_reads_do_not_pile_up() -> None:
    board = ProgressBoard(most=5)
    for n in range(12):
        board.post({"n": n})
    assert board.kept == 5
    assert numbers(board, 0) == (12, [7, 8, 9, 10, 11])
    assert numbers(board, 3) == (12, [7, 8, 9, 10, 11])
    assert numbers(board, 12) == (12, [])
