"""A comparison's table: as CSV, as Markdown, in a terminal and on a page."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from ray_mentor.report.page.html import breaking, escaped
from ray_mentor.report.page.words import duration_text, figure_text, one_line
from ray_mentor.run.over_seeds.lines import LEVEL

Line = Mapping[str, Any]
"""What :func:`~ray_mentor.run.over_seeds.lines.lines` makes."""

ON = {"test_accuracy": "test accuracy", "trusted_accuracy": "accuracy on held-out trusted samples"}
"""Each accuracy as a person reads it."""

_HEADS = (
    "method",
    "seeds",
    "accuracy",
    "of the kept student",
    "gap closed",
    "noise AUROC",
    "time",
    "× plain",
    "peak memory",
    "params",
)


_SHORT = ("method", "seeds", "accuracy", "kept", "gap", "AUROC", "time", "× plain", "memory")
"""The heads in a terminal of 80 characters."""

_PLAIN: Any = {"box": None, "pad_edge": False, "padding": (0, 1, 0, 0), "header_style": "dim"}

_LONG = 30  # characters of a method's name there


def columns_of(found: Sequence[Line], on: str) -> list[str]:
    """The columns of ``compare.csv``; those of the level only where there are several."""
    several = [name for name in LEVEL if len({line[name] for line in found}) > 1]
    figures = ("gap_closed", "noise_auroc", "train_seconds", "seconds_ratio", "peak_memory_mb", "params", "error")
    return [*several, "method", "seeds", on, f"{on}_std", f"{on}_selected", *figures]


def as_csv(found: Sequence[Line], on: str) -> str:
    """All columns, a line a method and level; what is not known is empty."""
    lines, columns = io.StringIO(), columns_of(found, on)
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[_plain(line[name]) for name in columns] for line in found])
    return lines.getvalue()


def _plain(value: Any) -> Any:
    """Floats with six digits: more is another processor's rounding."""
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value


def level_text(level: tuple[Any, ...]) -> str:
    """``noise symmetric:0.4, 100 trusted samples``; of labels that came wrong, and were left so, ``no noise added``."""
    noise, size = level
    added = "no noise added" if noise == "none" else f"noise {one_line(noise)}"
    return f"{added}, {size} trusted samples"


def failures(found: Sequence[Line], levels: Sequence[Any]) -> list[tuple[str, str]]:
    """Which methods failed, and at which level where there are several; and why."""
    failed = [line for line in found if line["error"]]
    where = [f" at {level_text(tuple(line[name] for name in LEVEL))}" if len(levels) > 1 else "" for line in failed]
    return [(f"{line['method']}{at}", line["error"]) for line, at in zip(failed, where, strict=True)]


def cells(line: Line, on: str) -> list[str]:
    """A line's figures as a person reads them, in the order of the table's heads, the method aside."""
    spread = "" if line[f"{on}_std"] is None else f" ± {line[f'{on}_std']:.3f}"
    gap = line["gap_closed"]
    memory = line["peak_memory_mb"]
    return [
        str(line["seeds"]),
        figure_text(line[on], "{:.3f}") + spread,
        figure_text(line[f"{on}_selected"], "{:.3f}"),
        "–" if gap is None else f"{round(100 * gap) + 0:.0f} %".replace("-", "−"),
        figure_text(line["noise_auroc"], "{:.3f}"),
        duration_text(line["train_seconds"]),
        figure_text(line["seconds_ratio"], "{:.2f}"),
        "–" if memory is None else f"{memory:.0f} MB",
        "–" if line["params"] is None else f"{line['params']:,}",
    ]


def markdown(found: Sequence[Line], on: str, levels: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> str:
    """The whole of ``compare.md``.

    Args:
        levels: of each, its ``level`` and ``text``, the advice.
        summary: what ``compare.json`` says of the comparison as a whole.
    """
    seeds = ", ".join(map(str, summary["seeds"]))
    head = [
        f"# Methods on {_in_cell(summary['data'])}",
        "",
        f"Student {_in_cell(summary['student'])}, {summary['epochs']} epochs, seeds {seeds}. Accuracy: {ON[on]}, of "
        "the last epoch's student and, beside it, of the one that is kept, by which gap and order go.",
    ]
    parts = [part for level in levels for part in _level(found, on, level)]
    notes = [f"- {_in_cell(note)}" for note in summary["notes"]]
    failed = [f"- {_in_cell(who)}: {_in_cell(why)}" for who, why in failures(found, levels)]
    return "\n".join([*head, *parts, *_listed("Notes", notes), *_listed("Failed", failed)]) + "\n"


def _level(found: Sequence[Line], on: str, level: Mapping[str, Any]) -> list[str]:
    own = of_level(found, level["level"])
    rows = [[_in_cell(line["method"]), *cells(line, on)] for line in own]
    table = [f"| {' | '.join(row)} |" for row in (list(_HEADS), *rows)]
    table.insert(1, f"|{'---|' * len(_HEADS)}")
    return ["", f"## {_in_cell(level_text(level['level']))}", "", *table, "", _in_cell(level["text"])]


def _listed(title: str, items: Sequence[str]) -> list[str]:
    return ["", f"## {title}", "", *items] if items else []


def of_level(found: Sequence[Line], level: Sequence[Any]) -> list[Line]:
    """The lines of a level."""
    return [line for line in found if [line[name] for name in LEVEL] == list(level)]


def _in_cell(text: object) -> str:
    """Text that no Markdown is made of."""
    line = html.escape(one_line(text, 1000), quote=False)
    return "".join(f"\\{character}" if character in "\\`*_[]|#" else character for character in line)


def closing_tables(found: Sequence[Line], on: str, levels: Sequence[Mapping[str, Any]]) -> list[Table]:
    """What a terminal shows at the end: a table a level."""
    return [_table(of_level(found, level["level"]), on, level["level"]) for level in levels]


def _table(found: Sequence[Line], on: str, level: tuple[Any, ...]) -> Table:
    title = f"{ON[on]} at {level_text(level)}"
    table = Table(title=Text(title), title_justify="left", **_PLAIN)
    for number, name in enumerate(_SHORT):
        table.add_column(name, justify="left" if number == 0 else "right", overflow="fold")
    for line in found:
        table.add_row(*map(Text, (one_line(line["method"], _LONG), *cells(line, on)[: len(_SHORT) - 1])))
    return table


def table_section(name: str, found: Sequence[Line], on: str, says: Mapping[str, str], best: str | None) -> str:
    """The table on a page, with what each method is under its name."""
    rows = "\n".join(_row(line, on, says, best) for line in found)
    heads = "".join(
        f'<th class="{"number" if number else "setting"}">{head}</th>' for number, head in enumerate(_HEADS)
    )
    return f"""<div class="wide"><table id="{name}"><thead><tr>{heads}</tr></thead><tbody>
{rows}
</tbody></table></div>"""


def _row(line: Line, on: str, says: Mapping[str, str], best: str | None) -> str:
    marked = ' class="best"' if line["method"] == best else ""
    figures = "".join(f'<td class="number">{escaped(text)}</td>' for text in cells(line, on))
    title = escaped(says.get(line["method"], ""))
    return f'<tr{marked}><td title="{title}">{breaking(line["method"])}</td>{figures}</tr>'


def failures_section(found: Sequence[Line]) -> str:
    """Why methods failed; nothing where none did."""
    failed = [line for line in found if line["error"]]
    if not failed:
        return ""
    said = "".join(
        f"<p>{escaped(line['method'])}, {escaped(level_text(tuple(line[name] for name in LEVEL)))}</p>"
        f"<pre>{escaped(line['error'], 4000)}</pre>"
        for line in failed
    )
    return f"<section><h2>Errors</h2>{said}</section>"
