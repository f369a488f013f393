"""An evaluation in the terminal: how often the student is right, class by class, and what it takes for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ray_mentor.report.page.words import figure_text, one_line
from ray_mentor.report.terminal import PatientConsole
from ray_mentor.run.trained.evaluation import Evaluated

_CLASSES, _PAIRS = 20, 5  # that are shown
_LONG = 60  # characters of a class's name
_WIDTH = 120  # where the output is no terminal


def lines(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is said of all samples: name and value."""
    left_out, known, others = (figures.get(name) for name in ("left_out", "trained_on", "others"))
    said = [("left out, can't be decoded", f"{left_out:,}")] if left_out else []
    if figures.get("warning"):
        said.append(("trained on", f"{f'{known:,}' if known else 'some'} of these samples, which flatters"))
    beside = [(f"accuracy on the other {others['samples']:,}", _accuracy(others))] if others else []
    return [
        ("samples", f"{figures['samples']:,}"),
        *said,
        ("accuracy, 95 % interval", _accuracy(figures)),
        *beside,
        ("accuracy, mean over classes", f"{figures['balanced_accuracy']:.4f}"),
        ("calibration error (ECE, 15 bins)", f"{figures['calibration_error']:.4f}"),
    ]


def _accuracy(figures: Mapping[str, Any]) -> str:
    low, high = figures["interval"]
    return f"{figures['accuracy']:.4f} ({low:.3f} to {high:.3f})"


def confusions(figures: Mapping[str, Any]) -> list[tuple[str, str, int, float]]:
    """Label, what the student says, how often, and as a share of the label's samples; the most frequent first."""
    if figures["confusion"] is None:
        return []
    counts = np.array(figures["confusion"])
    of_label = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    names = [each["class"] for each in figures["classes"]]
    order = np.argsort(-counts, axis=None, kind="stable")[:_PAIRS]
    pairs = [divmod(int(place), len(names)) for place in order]
    return [
        (names[a], names[b], int(counts[a, b]), float(counts[a, b] / of_label[a])) for a, b in pairs if counts[a, b]
    ]


def show_evaluation(found: Evaluated, console: Console | None = None) -> None:
    """Prints it; of many classes those on which the student does worst."""
    console = console or PatientConsole(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    figures = found.figures
    head = Table(box=box.SIMPLE, pad_edge=False, show_header=False)
    for name, value in lines(figures):
        head.add_row(name, Text(value, justify="right"))
    console.print(head)
    there = sorted((each for each in figures["classes"] if each["samples"]), key=lambda each: float(each["accuracy"]))
    title = "class by class, the worst first"
    if len(there) > _CLASSES:
        title = f"the {_CLASSES} worst of {len(there)} classes"
    heads = ("class", "samples", "accuracy", "95 % interval", "said", "of which right")
    rows = [
        (
            one_line(each["class"], _LONG),
            f"{each['samples']:,}",
            f"{each['accuracy']:.3f}",
            "{:.3f} to {:.3f}".format(*each["interval"]),
            f"{each['said']:,}",
            figure_text(each["precision"], "{:.3f}"),
        )
        for each in there[:_CLASSES]
    ]
    console.print(_table(title, heads, rows))
    pairs = confusions(figures)
    if pairs:
        taken = [(one_line(a, _LONG), one_line(b, _LONG), f"{n:,}", f"{share:.1%}") for a, b, n, share in pairs]
        console.print(
            _table("what is taken for what", ("label", "said", "samples", "share of its own"), taken, words=2)
        )


def _table(title: str, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]], words: int = 1) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False)
    for place, name in enumerate(heads):
        table.add_column(name, justify="left" if place < words else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    return table
