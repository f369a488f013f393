"""Samples to be checked by hand: a file to fill in, and how to hand it back."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ray_mentor.config import DataConfig, RunSettings, StudentConfig, TrainConfig, names_of
from ray_mentor.config.groups.data import META_SOURCES
from ray_mentor.data.splits.trusted.id_file import ID
from ray_mentor.errors import UserError, listed, printable
from ray_mentor.report.run.gallery.source import read_texts, texts_again
from ray_mentor.run.audit.audit import Audit
from ray_mentor.run.audit.files import BEGINNING, safe, texts_left, with_texts, write_table
from ray_mentor.run.audit.picked import picked_of_data, picked_of_run
from ray_mentor.run.checkpoint.resume import started_with
from ray_mentor.run.directory import CONFIG, RunDirectory
from ray_mentor.run.findings.new_files import check_free
from ray_mentor.wording import counted

_SHOWN = 10  # classes that are told of
_NOT_AGAIN = {"run_name", "resume", "resume_or_start", "meta_size", *META_SOURCES}


def pick(
    source: str, count: int, out: str, seed: int, options: list[str], parsed: Callable[[list[str]], TrainConfig]
) -> None:
    """Draws them, and says how to hand them back.

    Args:
        source: a run's folder, or data.
        count: how many.
        out: the file.
        seed: of what is drawn at random, >= 0.
        options: of ``ray-mentor train`` that say what the data are.
        parsed: makes settings of such options.

    Raises:
        UserError: whatever the user can mend.
    """
    check_free(out)
    if not out.lower().endswith((".csv", ".parquet")):
        raise UserError(f"out is {out!r}, but --meta-ids reads it as a table; give a name that ends in .csv")
    if seed < 0:
        raise UserError(f"seed is {seed}, but it must be at least 0")
    directory = _run_at(source)
    notes: tuple[str, ...] = ()
    if directory is not None:
        if options:
            raise UserError(f"{source} is a run, which has no options of data; leave {options[0]} out")
        settings = started_with(directory)
        audit = Audit.from_run(directory)
        table = picked_of_run(audit, count, seed)
        table = _with_texts(table, audit.table, directory)
        again, before = _again(settings), settings.get("meta_ids")
    else:
        before = None
        config = parsed(["--data", source, *options]).data
        table, notes = picked_of_data(config, count, seed)
        again = ["--data", source, *options]
    write_table(table, out)
    for line in (*notes, *_lines(table, out, again)):
        print(printable(line))
    if before is not None:
        print(printable(f"(the run's own trusted samples are in {before}: add their rows, to go on with them, too)"))


def _run_at(source: str) -> RunDirectory | None:
    """The run that is there, if one is: data may be on a file system that no run can be on."""
    with suppress(UserError):
        directory = RunDirectory(source)
        return None if directory.size(CONFIG) is None else directory
    return None


def _with_texts(table: pa.Table, audited: pa.Table, directory: RunDirectory) -> pa.Table:
    """Those that were picked with their texts, where these are as the run saw them."""
    rows = pc.index_in(*(each[ID].cast(pa.string()) for each in (table, audited))).to_numpy()
    texts = texts_again(started_with(directory), audited)
    begin = read_texts(texts, rows, BEGINNING)
    left = texts_left(directory, table[ID])
    same = left is None or all(was in (None, safe(now)) for was, now in zip(left, begin or [], strict=False))
    found = read_texts(texts, rows) if same else None
    return table if found is None else with_texts(table, found)


def _lines(table: pa.Table, out: str, again: Sequence[str] | None) -> list[str]:
    counts = sorted((each["values"], each["counts"]) for each in pc.value_counts(table["given_label"]).to_pylist())
    classes = listed((f"{name}: {count}" for name, count in counts), _SHOWN)
    lines = [
        f"{counted(len(table), 'sample')} to be checked, by given labels of {len(counts)} classes ({classes}): {out}",
        "look at each, and write into its column checked_label what it is, the given label too where that is right; "
        "what is left empty counts as not checked",
    ]
    if again is None:
        return [*lines, "the run's data came from Python: take these samples out of them, and give them as meta"]
    return [*lines, "then:", f"  {shlex.join(['ray-mentor', 'train', *again, '--meta-ids', out])}"]


def _again(settings: dict[str, Any]) -> list[str] | None:
    """The options by which a run's data, student and length are what they were; None of data from Python."""
    if "data" not in settings:
        return None
    plain, words = TrainConfig().flat(), []
    for name in (*names_of(DataConfig), *names_of(StudentConfig), *names_of(RunSettings)):
        value = settings.get(name, plain[name])
        value = tuple(value) if isinstance(value, list) else value
        if name != "data" and (name in _NOT_AGAIN or value == plain[name]):
            continue
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        elif isinstance(value, tuple):
            words += [f"--{option}", *map(str, value)]
        else:
            words += [f"--{option}", str(value)]
    return words
