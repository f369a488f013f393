"""Which Parquet files of a folder make up which split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ray_mentor.errors import UserError, listed

Files = tuple[Path, ...]


@dataclass(frozen=True)
class SplitFiles:
    """Files of each split, in order of their names; empty where the data has no such split."""

    train: Files
    validation: Files = ()
    test: Files = ()
    notes: tuple[str, ...] = ()


def is_there(path: str) -> bool:
    """Whether there is a file or folder of this name."""
    try:
        return Path(path).exists()
    except OSError:  # a name that is too long, or a folder that may not be looked into
        return False


def find_files(path: Path) -> Files:
    """The Parquet files at or below a path, hidden ones left out.

    Raises:
        UserError: there are none.
    """
    if path.is_file():
        return (path,)
    found = tuple(sorted(p for p in path.rglob("*.parquet") if p.is_file() and not _is_hidden(p.relative_to(path))))
    if not found:
        raise UserError(f"no Parquet file at {str(path)!r}; name a file, or a folder that holds *.parquet files")
    return found


def find_splits(path: Path) -> SplitFiles:
    """Sorts files into splits by the names Hugging Face gives them: ``train*``, ``test*``, ``valid*``.

    The name of a folder on the way counts too (``train/0000.parquet``). Without any ``train*``, the
    files with other names are the training split; a single file always is. Without ``test*``,
    ``valid*`` takes its place.

    Raises:
        UserError: no Parquet file, or none left to train on.
    """
    files = find_files(path)
    if path.is_file():
        return SplitFiles(files)
    named = {split: tuple(p for p in files if _split_of(p.relative_to(path)) == split) for split in _PREFIXES}
    others = tuple(p for p in files if _split_of(p.relative_to(path)) is None)
    notes = [_left_out(others)] if named["train"] and others else []
    train = named["train"] or others
    if not train:
        raise UserError(
            f"{str(path)!r} holds no training split, only {listed(p.name for p in files)}; name its files train*"
        )
    if not named["test"] and named["validation"]:
        notes.append("no test* files: the valid* files are the test split")
        return SplitFiles(train, (), named["validation"], tuple(notes))
    return SplitFiles(train, named["validation"], named["test"], tuple(notes))


_PREFIXES = {"train": "train", "test": "test", "validation": "valid"}


def _split_of(path: Path) -> str | None:
    for part in reversed(path.parts):
        for split, prefix in _PREFIXES.items():
            if part.lower().startswith(prefix):
                return split
    return None


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _left_out(others: Files) -> str:
    names = listed((path.name for path in others), 5)
    return f"left out {len(others)} files that are named neither train*, test* nor valid*: {names}"
