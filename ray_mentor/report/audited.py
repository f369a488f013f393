"""An audit in the terminal: how many labels are wrong, class by class, and the samples to look at first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ray_mentor.errors import printable
from ray_mentor.report.page.words import one_line
from ray_mentor.report.run.folder import read_folder
from ray_mentor.report.run.gallery.source import read_texts, texts_again
from ray_mentor.report.terminal import PatientConsole, unsure
from ray_mentor.run.audit.audit import Audit
from ray_mentor.run.audit.duplicates import duplicates_of
from ray_mentor.run.audit.files import BEGINNING, CSV, DUPLICATES, PARQUET, as_csv, texts_left, write, write_table
from ray_mentor.run.checkpoint.resume import started_with
from ray_mentor.run.directory import RunDirectory, inside
from ray_mentor.run.findings.new_files import check_free
from ray_mentor.wording import counted

_TEXT = "its text"
_WIDE = 90  # characters of a text
_CLASSES = 20  # that are told of one by one
_PAIRS = 5
_LONG = 200  # characters of an id, or of a class's name
_WIDTH = 160  # characters, where the output is no terminal

_SAMPLES = {
    "sample_id": "sample",
    "given_label": "given",
    "suggested_label": "suggested",
    "suggested_share": "said so",
    "score": "score",
    "mean_sample_weight": "weight",
    "wrong_share": "contradicted",
    "mean_margin": "margin",
    "mean_influence": "influence",
    "loss_early": "early loss",
    "loss_late": "late loss",
    "true_label": "true",
}
_BESIDE_TEXTS = ("sample_id", "given_label", "suggested_label", "score", "mean_sample_weight", "true_label")
_WORDS = {
    _TEXT,
    "sample_id",
    "given_label",
    "suggested_label",
    "true_label",
    "class",
    "mostly",
    "given",
    "suggested",
    "kind",
    "labels_differ",
}


def audit_run(
    run: str, top: int, *, weights: str | None, clean: str | None, relabelled: str | None, duplicates: bool
) -> None:
    """What ``ray-mentor audit`` does: shows the audit of a run, and writes its files.

    Args:
        run: its folder.
        top: samples that are shown.
        weights: file of a weight a sample.
        clean: file of ids and labels without those that look wrong.
        relabelled: the same of all, with suggested labels.
        duplicates: whether samples that are there more than once are looked for, in the data, which are read again.

    Raises:
        UserError: no run, a file that is there already, or what the ledger can't say.
    """
    ways: list[tuple[str | None, Callable[[Audit], pa.Table]]] = [
        (weights, Audit.weights),
        (clean, Audit.clean),
        (relabelled, lambda audit: audit.clean(relabelled=True)),
    ]
    asked = [(path, way) for path, way in ways if path is not None]
    for path, _ in asked:
        check_free(path)
    directory = RunDirectory(run)
    audit = Audit.from_run(directory)
    texts = _texts(directory, audit.table)
    is_told = audit.rate is not None and audit.rate.trusted > 0
    doubt = "" if is_told else unsure(read_folder(directory).result or {})
    show_audit(audit, top, texts=texts and texts[:top], doubt=doubt)
    exported = []
    for path, way in asked:
        table = way(audit)
        write_table(table, path)
        exported.append(f"{path} ({len(table):,} of the {len(audit.table):,} samples of the audit)")
    write(audit, directory, texts)  # last: somebody else's run may be where nobody but him may write
    made = [CSV, PARQUET]
    if duplicates:
        found, notes = duplicates_of(directory, audit.table)
        directory.write(DUPLICATES, as_csv(found))
        made.append(DUPLICATES)
        show_duplicates(found, notes, top)
    for path in (*(inside(directory.path, name) for name in made), *exported):
        print(printable(f"written: {path}"))


def _texts(directory: RunDirectory, audited: pa.Table) -> Sequence[str | None] | None:
    """The beginning of each sample: as the run has left it, or read again, where the data are as the run saw them."""
    left = texts_left(directory, audited["sample_id"])
    if left is not None and None not in left:
        return left
    again = read_texts(texts_again(started_with(directory), audited), np.arange(len(audited)), BEGINNING)
    return left if again is None else again


def show_duplicates(found: pa.Table, notes: tuple[str, ...], top: int, console: Console | None = None) -> None:
    """Prints how many there are, and the first ``top`` sets of them."""
    console = _console(console)
    sets = pc.count_distinct(found["set"]).as_py()
    differ = pc.count_distinct(found.filter(found["labels_differ"])["set"]).as_py()
    line = f"{counted(sets, 'set')} of duplicates, the labels of {differ} disagree"
    for text in (line, *notes):
        console.print(Text(printable(text)), soft_wrap=True)
    if sets:
        console.print(
            _table("samples that are there more than once", found.filter(pc.less(found["set"], top)), _DUPLICATES)
        )


_DUPLICATES = {
    "set": "set",
    "kind": "kind",
    "sample_id": "sample",
    "given_label": "given",
    "labels_differ": "labels differ",
}


def show_audit(
    audit: Audit,
    top: int,
    console: Console | None = None,
    texts: Sequence[str | None] | None = None,
    doubt: str = "",
) -> None:
    """Prints it.

    Args:
        top: how many samples.
        console: where to; None: standard output.
        texts: of these samples, where they are texts.
        doubt: what is to be said of how many labels look wrong.
    """
    console = _console(console)
    lines = [] if audit.rate is None else [f"{audit.rate}{doubt}"]
    for line in (*lines, *audit.notes):
        console.print(Text(printable(line)), soft_wrap=True)
    if audit.rate is not None and audit.rate.count and audit.by_class is not None and audit.confusions is not None:
        console.print(_table("labels that look wrong, class by class", audit.by_class.slice(0, _CLASSES), _BY_CLASS))
        console.print(_table("classes that are taken for one another", audit.confusions.slice(0, _PAIRS), _PAIRED))
        console.print(Text(_named(audit)), soft_wrap=True)
    first, columns = audit.table.slice(0, top), _SAMPLES
    if texts is not None:
        first = first.append_column(_TEXT, pa.array([text and one_line(text, _WIDE) for text in texts], pa.string()))
        columns = {name: _SAMPLES[name] for name in _BESIDE_TEXTS} | {_TEXT: "text"}
    console.print(_table("look at these first", first, columns))


def _named(audit: Audit) -> str:
    """How many of the wrong labels can be told one by one."""
    assert audit.rate is not None
    chosen = len(audit.issues)
    of = "all of them" if chosen == audit.rate.count else f"{chosen:,} of the {audit.rate.count:,}"
    why = "" if chosen == audit.rate.count else ": of no more samples does the student say another label"
    return f"is_issue marks {of}{why}; these are what --clean leaves out and --relabelled relabels"


def _console(console: Console | None) -> Console:
    console = console or PatientConsole(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    return console


_BY_CLASS = {
    "class": "class",
    "given": "samples",
    "wrong": "look wrong",
    "wrong_share": "share",
    "mostly": "mostly",
    "missing": "given as another",
    "missing_share": "share of its own",
}
_PAIRED = {"given": "given", "suggested": "looks like", "count": "samples", "share": "share"}


def _table(title: str, rows: pa.Table, columns: dict[str, str]) -> Table:
    """The columns that have a value in some row."""
    there = [name for name in columns if name in rows.column_names and rows[name].null_count < max(len(rows), 1)]
    table = Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False)
    for name in there:
        table.add_column(columns[name], justify="left" if _is_word(rows, name) else "right", no_wrap=True)
    for row in rows.select(there).to_pylist():
        table.add_row(*(Text(_cell(name, row[name])) for name in there))
    return table


def _is_word(rows: pa.Table, name: str) -> bool:
    return name in _WORDS and not pa.types.is_integer(rows[name].type)


def _cell(name: str, value: Any) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return "yes"
    if isinstance(value, float):
        form = "{:.1%}" if name.endswith("share") else "{:.2e}" if name == "mean_influence" else "{:.3f}"
        return form.format(value)
    return one_line(value, _LONG)
