"""The tables of the pages, written from the rows that are kept beside them.

A page holds ``<!-- table: NAME KIND -->``, what is written, and ``<!-- end of table -->``; KIND is ``whole``,
``brief``, ``rates``: what selection saw, all three of symmetric noise; ``noises``: of every kind; ``trusted``: of
:mod:`~protocol.trusted_table`; or ``grid``: of :mod:`~protocol.goals`. A regime without final rows leaves what the
page says.
"""

from __future__ import annotations

import re
from pathlib import Path

from protocol import goals, table, trusted_table
from protocol.methods import BASELINE, MENTOR, METHODS, ORACLE
from protocol.regimes import NOISES, SYMMETRIC, regimes
from protocol.rows import Row, read
from protocol.selection import chosen

ROOT = Path(__file__).resolve().parents[2]
TABLES = ROOT / "docs" / "tables"
PAGES = (ROOT / "README.md", ROOT / "docs" / "measured.md")
BRIEF = (
    "uniform-trusted", "mixup", "self-paced-mentormix", "elr", MENTOR, ORACLE,
)  # fmt: skip
_BLOCK = re.compile(
    r"(<!-- table: (\w+) (whole|brief|rates|noises|trusted|grid) -->\n).*?(<!-- end of table -->)", re.DOTALL
)


def selection_of(name: str, folder: Path = TABLES) -> Path:
    """Where the rows of a regime lie from which rates are chosen."""
    return folder / f"{name}_selection.csv"


def final_of(name: str, folder: Path = TABLES) -> Path:
    """Where the rows lie that are reported."""
    return folder / f"{name}_final.csv"


def at(noise: str, rows: list[Row]) -> list[Row]:
    """Those of this noise."""
    return [row for row in rows if row["noise"] == noise]


def write() -> None:
    """Writes each table whose rows are there into the pages."""
    for page in PAGES:
        page.write_text(written(page.read_text()))


def written(text: str, folder: Path = TABLES) -> str:
    """A page with its tables made anew."""

    def block(found: re.Match[str]) -> str:
        name, kind = found[2], found[3]
        if kind == "grid":
            rows = folder / f"{name}-final.csv"
            return found[1] + goals.report(read(rows)) + "\n" + found[4] if rows.exists() else found[0]
        if kind == "trusted":
            rows = folder / "trusted.csv"
            return found[1] + trusted_table.markdown(read(rows), name) + "\n" + found[4] if rows.exists() else found[0]
        if not final_of(name, folder).exists():
            return found[0]
        return (
            found[1]
            + _content(name, kind, read(final_of(name, folder)), read(selection_of(name, folder)))
            + "\n"
            + found[4]
        )

    return _BLOCK.sub(block, text)


def _content(name: str, kind: str, final: list[Row], selection: list[Row]) -> str:
    if kind == "noises":
        of = {noise: at(noise, final) for noise in NOISES if at(noise, final)}
        return f"{_said(name, final, selection)}\n\n{table.noises({noise: table.lines(of[noise]) for noise in of})}"
    found, selection = table.lines(at(SYMMETRIC, final)), at(SYMMETRIC, selection)
    if kind == "brief":
        return table.brief(found, BRIEF)
    regime = regimes()[name]
    rates = chosen(selection, [line.method for line in found], regime.rates)
    if kind == "rates":
        return table.rates(selection, rates, regime.rates)
    assert rates == {line.method: line.rate for line in found}, "the report is not at the rates that were chosen"
    return f"{_said(name, at(SYMMETRIC, final), selection)}\n\n{table.markdown(found)}"


def _said(name: str, final: list[Row], selection: list[Row]) -> str:
    """What was chosen on what."""
    regime = regimes()[name]
    seeds = sorted({int(row["seed"]) for row in final})
    asked = _asked(selection)
    images = "" if regime.final_test is None else ", on test images that nothing was chosen on"
    tried = ", ".join(f"{rate:g}" for rate in regime.rates)
    return (
        f"Seeds {seeds[0]} to {seeds[-1]}{images}; mean, and 95 % interval over seeds. Each method at a "
        f"learning rate of its own, of {tried}, chosen by accuracy on held-out trusted "
        f"samples on {asked}; the gap closed is that between `{BASELINE}` and `{ORACLE}`, "
        f"which have all that the mentor has but the mentor. Rows: `{final_of(name).relative_to(ROOT)}`, "
        f"`{selection_of(name).relative_to(ROOT)}`."
    )


def _asked(selection: list[Row]) -> str:
    """The seeds that rates were chosen on, which may be more of some methods."""
    of = {row["method"]: frozenset(int(each["seed"]) for each in selection if each["method"] == row["method"])
          for row in selection}  # fmt: skip
    most, *fewer = sorted(set(of.values()), key=len, reverse=True)
    text = f"seeds {', '.join(map(str, sorted(most)))}"
    for seeds in fewer:
        names = ", ".join(f"`{name}`" for name in METHODS if of.get(name) == seeds)
        text += f" (on {', '.join(map(str, sorted(seeds)))} alone: {names})"
    return text
