"""Rows as a table: bits per byte, the gap closed, and what it costs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from protocol.rows import Row, number

BEST = "best static"
METHODS = {
    "uniform": "",
    "size": "",
    "odm": "shares_interval=1",
    "doge": "shares_rate=300",
    "doremi": "shares_rate=1",
    "learned": "shares_rate=1 prior_pull=0.2 shares_burn_in=0.05",
    BEST: "",
}
"""What is compared, and the settings that what learns has beside those of all."""

FIXED = "fixed:"


def best_of(rows: Sequence[Row], setting: str) -> str | None:
    """The static mixture that did best in the search, on seed 0; None where there was none."""
    searched = [
        row for row in rows if row["setting"] == setting and row["method"].startswith(FIXED) and row["seed"] == "0"
    ]
    return min(searched, key=lambda row: number(row, "bits"))["method"] if searched else None


def markdown(rows: Sequence[Row], setting: str, seeds: Sequence[int]) -> str:
    """A line a method and its settings that has all of these seeds."""
    own = [row for row in rows if row["setting"] == setting and int(row["seed"]) in seeds]
    of = {(row["method"], row["changes"]): {} for row in own}  # type: dict[tuple[str, str], dict[int, Row]]
    for row in own:
        of[row["method"], row["changes"]][int(row["seed"])] = row
    best = best_of(rows, setting)
    plain, oracle = of.get(("uniform", ""), {}), of.get((best or "", ""), {})
    lines = ["| mixture | bits per byte | gap closed, seed by seed | junk | CPU |", "|---|---|---|---|---|"]
    for (method, changes), found in of.items():
        if method.startswith(FIXED) and method != best:
            continue
        name = BEST if method == best else f"{method} {changes}".strip()
        gaps = [_gap(found[seed], plain.get(seed), oracle.get(seed)) for seed in sorted(found)]
        bits = [number(row, "bits") for row in found.values()]
        spread = f" ± {statistics.stdev(bits):.3f}" if len(bits) > 1 else ""
        junk = statistics.fmean(number(row, "junk_share") for row in found.values())
        # beside the same run's own steps: another run's seconds depend on what else the machine does
        cost = statistics.fmean(number(row, "cpu_seconds") / number(row, "plain_seconds") for row in found.values())
        lines.append(
            f"| {name} | {statistics.fmean(bits):.3f}{spread} | {', '.join(gaps)} | {junk:.2f} | {cost:.2f}× |"
        )
    return "\n".join(lines)


def _gap(row: Row, plain: Row | None, oracle: Row | None) -> str:
    if plain is None or oracle is None:
        return "–"
    base, best = number(plain, "bits"), number(oracle, "bits")
    return f"{100 * (base - number(row, 'bits')) / (base - best):.0f} %".replace("-", "−")
