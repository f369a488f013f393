"""Each second counts to one part."""

from __future__ import annotations

import pytest

from ray_mentor.core import stopwatch
from ray_mentor.core.stopwatch import Stopwatch


def test_what_is_inside_counts_to_the_inner_part_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 1.0, 3.0, 4.0, 9.0, 10.0, 20.0, 21.0])
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: next(moments))
    clock = Stopwatch()
    with clock("student"):  # 0 to 10
        with clock("scoring"):  # 1 to 3
            pass
        with clock("meta step"):  # 4 to 9
            pass
    with clock("scoring"):  # 20 to 21
        pass
    assert clock.seconds == {"scoring": 3.0, "meta step": 5.0, "student": 3.0}


def test_a_part_that_fails_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 1.0, 3.0, 5.0])
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: next(moments))
    clock = Stopwatch()
    with pytest.raises(RuntimeError), clock("student"), clock("scoring"):
        raise RuntimeError
    assert clock.seconds == {"scoring": 2.0, "student": 3.0}
