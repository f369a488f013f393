"""The report's rows as a table: means with intervals over seeds, the gap closed, and how far the mentor is ahead."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from protocol.methods import BASELINE, MENTOR, MENTORS, METHODS, ORACLE, TWO_STUDENTS
from protocol.rows import Row, number
from ray_mentor.run.over_seeds.intervals import Estimate, difference, gap_closed, mean


@dataclass(frozen=True)
class Line:
    """A method's line.

    Attributes:
        method: its name.
        rate: the learning rate that was chosen for it.
        accuracy: on the test split, over seeds.
        gap: that it closes between equal weights and the oracle, both with all that the mentor has; None without them.
        ahead: the mentor's accuracy less its own, seed by seed; None without a mentor, and of the mentor.
        auroc: mean noise AUROC; None where its weights and losses say nothing of given labels.
        deviation: standard deviation of its accuracy over seeds.
    """

    method: str
    rate: float
    accuracy: Estimate
    gap: Estimate | None
    ahead: Estimate | None
    auroc: float | None
    deviation: float = 0.0

    @property
    def is_mentors(self) -> bool:
        """Whether a mentor weighs its samples."""
        return self.method in MENTORS

    @property
    def is_rival(self) -> bool:
        """Whether it is held against the mentors: one student, and nobody who tells it the truth."""
        return not self.is_mentors and not self.method.startswith("oracle") and self.method not in TWO_STUDENTS


def lines(rows: Sequence[Row]) -> list[Line]:
    """Of each method that has rows, in the order of :data:`~protocol.methods.METHODS`.

    Raises:
        ValueError: methods with other seeds than the others, or more than one learning rate.
    """
    of = {name: [row for row in rows if row["method"] == name] for name in METHODS}
    of = {name: sorted(found, key=lambda row: int(row["seed"])) for name, found in of.items() if found}
    seeds = {name: [row["seed"] for row in found] for name, found in of.items()}
    if len({*map(tuple, seeds.values())}) != 1:
        raise ValueError(f"the methods have other seeds than each other: {seeds}")
    return [_line(name, of) for name in of]


def markdown(found: Sequence[Line]) -> str:
    """All columns, a method a row."""
    head = ["method", "learning rate", "test accuracy", "gap closed", "the mentor is ahead by", "noise AUROC"]
    body = [
        [
            _bold(line, f"{METHODS[line.method].says} (`{line.method}`)"),
            f"{line.rate:g}",
            _bold(line, accuracy(line.accuracy)),
            "–" if line.gap is None else share(line.gap),
            "–" if line.ahead is None else points(line.ahead),
            "–" if line.auroc is None else f"{line.auroc:.3f}",
        ]
        for line in found
    ]
    return _table(head, body)


def brief(found: Sequence[Line], methods: Sequence[str]) -> str:
    """Accuracy and the mentor's lead over some methods."""
    body = [
        [
            _bold(line, METHODS[line.method].says),
            _bold(line, accuracy(line.accuracy)),
            "–" if line.ahead is None else points(line.ahead),
        ]
        for line in found
        if line.method in methods
    ]
    return _table(["", "test accuracy", "the mentor is ahead by"], body)


def rates(rows: Sequence[Row], chosen: Mapping[str, float], tried: Sequence[float]) -> str:
    """Mean test accuracy on selection's seeds at each rate, that at the chosen one in bold; nothing goes by it."""
    body = []
    for name, best in chosen.items():
        of = [[row for row in rows if row["method"] == name and number(row, "learning_rate") == rate] for rate in tried]
        means = [f"{statistics.fmean(number(row, 'test_accuracy') for row in found):.3f}" for found in of]
        shown = [f"**{text}**" if rate == best else text for rate, text in zip(tried, means, strict=True)]
        body.append([METHODS[name].says + f" (`{name}`)", *shown])
    return _table(["learning rate", *(f"{rate:g}" for rate in tried)], body)


def noises(of: Mapping[str, Sequence[Line]]) -> str:
    """Accuracy ± standard deviation at each noise, in bold the best that is told nothing; a line a goal."""
    by = {noise: {line.method: line for line in found} for noise, found in of.items()}
    best = {noise: max(_untold(found), key=lambda line: line.accuracy.value).method for noise, found in of.items()}
    body = []
    for name in METHODS:
        if not any(name in found for found in by.values()):
            continue
        cells = []
        for noise, found in by.items():
            line = found.get(name)
            text = "–" if line is None else f"{line.accuracy.value:.3f} ± {line.deviation:.3f}"
            cells.append(f"**{text}**" if name == best[noise] else text)
        body.append([f"{METHODS[name].says} (`{name}`)", *cells])
    goals = [f"- {noise}: {_goal(found)}" for noise, found in of.items()]
    return "\n".join([_table(["method", *by], body), "", *goals])


def _untold(found: Sequence[Line]) -> list[Line]:
    return [line for line in found if not line.method.startswith("oracle")]


def _goal(found: Sequence[Line]) -> str:
    """Which methods of one student lie above the best mentor by more than a standard deviation."""
    mentors = [line for line in found if line.is_mentors]
    if not mentors:
        return "no mentor was run"
    best = max(mentors, key=lambda line: line.accuracy.value)
    above = [
        f"`{line.method}` {points(Estimate(line.accuracy.value - best.accuracy.value, None, None))}"
        for line in found
        if line.is_rival and line.accuracy.value > best.accuracy.value + max(line.deviation, best.deviation)
    ]
    told = f"above it by more than a standard deviation, with one student: {', '.join(above) or 'none'}"
    return f"best mentor `{best.method}`, {best.accuracy.value:.3f}; {told}"


def accuracy(of: Estimate) -> str:
    """0.946 (0.938 to 0.954)."""
    return f"{of.value:.3f}" if of.low is None else f"{of.value:.3f} ({of.low:.3f} to {of.high:.3f})"


def share(of: Estimate) -> str:
    """77 % (60 to 94)."""
    text = f"{_signed(100 * of.value, 0)} %"
    if of.low is None or of.high is None:
        return f"{text}, not bounded"
    return f"{text} ({_signed(100 * of.low, 0)} to {_signed(100 * of.high, 0)})"


def points(of: Estimate) -> str:
    """1.9 points (0.8 to 3.0)."""
    text = f"{_signed(100 * of.value, 1)} points"
    if of.low is None or of.high is None:
        return text
    return f"{text} ({_signed(100 * of.low, 1)} to {_signed(100 * of.high, 1)})"


def _signed(value: float, digits: int) -> str:
    """With a true minus, and none before a zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def _line(name: str, of: dict[str, list[Row]]) -> Line:
    rates = {number(row, "learning_rate") for row in of[name]}
    if len(rates) != 1:
        raise ValueError(f"{name} has rows at the learning rates {sorted(rates)}, but a method is reported at one")
    found = {method: [number(row, "test_accuracy") for row in rows] for method, rows in of.items()}
    known = BASELINE in found and ORACLE in found
    compared = MENTOR in found and name != MENTOR
    aurocs = [number(row, "noise_auroc") for row in of[name] if row["noise_auroc"]]
    return Line(
        name,
        rates.pop(),
        mean(found[name]),
        gap_closed(found[name], found[BASELINE], found[ORACLE]) if known and name not in (BASELINE, ORACLE) else None,
        difference(found[MENTOR], found[name]) if compared else None,
        statistics.fmean(aurocs) if aurocs else None,
        statistics.stdev(found[name]) if len(found[name]) > 1 else 0.0,
    )


def _bold(line: Line, text: str) -> str:
    return f"**{text}**" if line.method == MENTOR else text


def _table(head: list[str], body: list[list[str]]) -> str:
    top, *rows = (f"| {' | '.join(row)} |" for row in (head, *body))
    return "\n".join([top, f"|{'---|' * len(head)}", *rows])
