"""Samples to be checked by hand: a file to fill in, and how to hand it back."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ray_mentor.config import DataConfig, RunSettings, StudentConfig, TrainConfig, names_of
from ray_mentor.config.groups.data import META_SOURCES
from ray_mentor.errors import UserError, listed, printable
from ray_mentor.run.audit.audit import Audit
from ray_mentor.run.audit.files import write_table
from ray_mentor.run.audit.picked import picked_of_data, picked_of_run
from ray_mentor.run.checkpoint.resume import started_with
from ray_mentor.run.directory import CONFIG, RunDirectory
from ray_mentor.run.findings.new_files import check_free
from ray_mentor.wording import counted

SAYS = (
    "Draws samples whose labels are to be checked by hand, the classes in balance, into a file with a column to fill "
    "in, and says how to train with it. Of a data set they are drawn at random; of an earlier run the classes are "
    "those that it suggests, and scores of all sizes are there. Options of ray-mentor train that say what the data are "
    "(--label-column ...) go with a data set."
)
_SHOWN = 10  # classes that are told of
_NOT_AGAIN = {"run_name", "resume", "resume_or_start", "meta_size", *META_SOURCES}


def pick(words: Sequence[str], parsed: Callable[[list[str]], TrainConfig]) -> None:
    """The command.

    Args:
        parsed: makes settings of options of ``ray-mentor train``.

    Raises:
        UserError: whatever the user can mend.
    """
    parser = argparse.ArgumentParser(prog="ray-mentor pick", description=SAYS, allow_abbrev=False)
    parser.add_argument("source", metavar="RUN_OR_DATA", help="a run's folder, or data as --data of train names it")
    parser.add_argument("--count", type=int, default=200, help="how many samples (default: 200)")
    parser.add_argument("--out", metavar="FILE", required=True, help="where they go, e.g. ids.csv (.csv or .parquet)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn at random (default: 0)")
    asked, options = parser.parse_known_args(list(words))
    check_free(asked.out)
    if not asked.out.lower().endswith((".csv", ".parquet")):
        raise UserError(f"out is {asked.out!r}, but --meta-ids reads it as a table; give a name that ends in .csv")
    if asked.seed < 0:
        raise UserError(f"seed is {asked.seed}, but it must be at least 0")
    directory = _run_at(asked.source)
    if directory is not None:
        if options:
            raise UserError(f"{asked.source} is a run, which has no options of data; leave {options[0]} out")
        settings = started_with(directory)
        table = picked_of_run(Audit.from_run(directory), asked.count, asked.seed)
        again, before = _again(settings), settings.get("meta_ids")
    else:
        before = None
        config = parsed(["--data", asked.source, *options]).data
        table = picked_of_data(config, asked.count, asked.seed)
        again = ["--data", asked.source, *options]
    write_table(table, asked.out)
    for line in _lines(table, asked.out, again):
        print(printable(line))
    if before is not None:
        print(printable(f"(the run's own trusted samples are in {before}: add their rows, to go on with them, too)"))


def _run_at(source: str) -> RunDirectory | None:
    """The run that is there, if one is: data may be on a file system that no run can be on."""
    with suppress(UserError):
        directory = RunDirectory(source)
        return None if directory.size(CONFIG) is None else directory
    return None


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
