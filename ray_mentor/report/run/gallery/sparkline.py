"""A sample's loss and weight over the epochs against its class's mean, as a small drawing."""

from __future__ import annotations

import numpy as np

from ray_mentor.report.page.html import escaped
from ray_mentor.report.run.differences import Floats

WIDE, HIGH = 132, 34


def sparkline(own: Floats, mean: Floats, highest: float, what: str) -> str:
    """A thick line of the sample's, a thin one of its class's mean.

    Args:
        own: a value an epoch; NaN where there is none.
        mean: likewise.
        highest: value at the top; 0 is at the bottom.
        what: the values are, for who can't see it.
    """
    text = f"{what} from {_ends(own)}; mean of its class from {_ends(mean)}"
    lines = f'<path class="mean" d="{_path(mean, highest)}"/><path class="own" d="{_path(own, highest)}"/>'
    return (
        f'<svg viewBox="0 0 {WIDE} {HIGH}" width="{WIDE}" height="{HIGH}" role="img" aria-label="{escaped(text)}">'
        f"{lines}</svg>"
    )


def _path(values: Floats, highest: float) -> str:
    """Through all values that are known; a line that is interrupted begins anew."""
    last = max(len(values) - 1, 1)
    parts, pen = [], "M"
    for epoch, value in enumerate(values.tolist()):
        if not np.isfinite(value):
            pen = "M"
            continue
        x, y = 2 + (WIDE - 4) * epoch / last, 2 + (HIGH - 4) * (1 - min(value / highest, 1.0))
        parts.append(f"{pen}{x:.0f} {y:.1f}")
        pen = "L"
    return "".join(parts)


def _ends(values: Floats) -> str:
    known = values[np.isfinite(values)]
    return f"{known[0]:.2f} to {known[-1]:.2f}" if len(known) else "nothing known"
