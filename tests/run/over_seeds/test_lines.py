"""A comparison's table, by hand: means, gap, ratios, levels, and what becomes of methods that fail."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from compared_runs import failed, run, runs
from scipy import stats

from ray_mentor.run.over_seeds.intervals import gap_closed
from ray_mentor.run.over_seeds.lines import known_accuracy, levels_of, lines

THREE = {
    "uniform-trusted": (0.80, 0.82, 0.84),
    "oracle": (0.90, 0.92, 0.94),
    "gce": (0.85, 0.86, 0.90),
}


def line_of(method: str, rows: list[dict[str, object]]) -> dict[str, object]:
    [found] = [line for line in lines(rows, "test_accuracy") if line["method"] == method]
    return found


def test_a_line_by_hand() -> None:
    line = line_of("gce", runs(THREE, {"gce": 15.0}))
    assert line["seeds"] == 3
    assert line["test_accuracy"] == pytest.approx(0.869)
    assert line["test_accuracy_std"] == pytest.approx(statistics.stdev([0.85, 0.86, 0.90]))
    assert line["test_accuracy_selected"] == pytest.approx(0.87)
    assert line["gap_closed"] == pytest.approx(0.5)
    low, high = line["gap_closed_interval"]  # type: ignore[misc]
    assert low < 0.5 < high
    assert (line["train_seconds"], line["seconds_ratio"]) == (15.0, 1.5)
    assert (line["noise_auroc"], line["peak_memory_mb"], line["params"]) == (0.75, 500.0, 1234)


def test_the_interval_of_a_gap_closed_is_what_a_paired_t_test_does_not_refute() -> None:
    method, baseline, oracle = (np.array(THREE[name]) for name in ("gce", "uniform-trusted", "oracle"))
    oracle += [0.0, 0.01, -0.02]
    found = gap_closed(method, baseline, oracle)
    assert found.low is not None
    assert found.high is not None
    for g, p in ((found.low, 0.05), (found.high, 0.05)):
        assert stats.ttest_1samp(method - baseline - g * (oracle - baseline), 0.0).pvalue == pytest.approx(p)


def test_the_best_comes_first_and_what_failed_last() -> None:
    rows = [failed("sce", 0, "boom"), *runs(THREE)]
    assert [line["method"] for line in lines(rows, "test_accuracy")] == ["oracle", "gce", "uniform-trusted", "sce"]


def test_there_is_no_gap_where_there_is_hardly_one() -> None:
    hardly = {**THREE, "oracle": (0.805, 0.825, 0.845)}
    assert line_of("gce", runs(hardly))["gap_closed"] is None
    assert line_of("oracle", runs(THREE))["gap_closed"] is None
    assert line_of("gce", runs({"gce": (0.9,), "uniform-trusted": (0.8,)}))["gap_closed"] is None, "no oracle"


def test_one_seed_has_no_spread() -> None:
    line = line_of("gce", runs({name: values[:1] for name, values in THREE.items()}))
    assert (line["test_accuracy_std"], line["gap_closed_interval"]) == (None, None)
    assert line["gap_closed"] == pytest.approx(0.5)


def test_a_seed_that_failed_is_left_out_of_what_is_paired() -> None:
    rows = [row for row in runs(THREE) if (row["method"], row["seed"]) != ("gce", 2)]
    line = line_of("gce", [*rows, failed("gce", 2, "no memory")])
    assert (line["seeds"], line["error"]) == (2, "seed 2: no memory")
    assert line["test_accuracy_selected"] == pytest.approx(0.855)
    assert line["gap_closed"] == pytest.approx((0.855 - 0.81) / 0.1)


def test_nothing_of_a_method_that_always_failed_is_made_up() -> None:
    line = line_of("sce", [*runs(THREE), failed("sce", 0, "boom"), failed("sce", 1, "boom")])
    assert line["seeds"] == 0
    assert line["error"] == "seed 0: boom; seed 1: boom"
    figures = {name: line[name] for name in ("test_accuracy", "gap_closed", "train_seconds", "seconds_ratio", "params")}
    assert set(figures.values()) == {None}


def test_levels_are_kept_apart() -> None:
    rows = [*runs(THREE), *({**row, "noise": "none"} for row in runs({"uniform-trusted": (0.99,), "gce": (0.98,)}))]
    assert levels_of(rows) == [("symmetric:0.4", 100), ("none", 100)]
    found = lines(rows, "test_accuracy")
    assert [line["noise"] for line in found] == ["symmetric:0.4"] * 3 + ["none"] * 2
    assert found[-1]["test_accuracy_selected"] == pytest.approx(0.98)


def test_the_accuracy_that_counts_is_one_that_all_runs_know() -> None:
    assert known_accuracy(runs(THREE)) == "test_accuracy"
    assert known_accuracy([*runs(THREE), failed("sce", 0, "boom")]) == "test_accuracy"
    assert known_accuracy([run("gce", 0, None), run("uniform-trusted", 0, None)]) == "trusted_accuracy"
    assert known_accuracy([failed("gce", 0, "boom")]) is None
