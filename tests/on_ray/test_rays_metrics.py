"""What Ray's own metrics are told of a run, read back where Prometheus would: at the node's endpoint, on loopback."""

from __future__ import annotations

import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import ray
from driver import A_LONG_TIME
from prometheus_client.parser import text_string_to_metric_families
from small_runs import trainer_for

from ray_mentor.data import Splits
from ray_mentor.errors import RunStoppedError
from ray_mentor.on_ray.session import metrics
from ray_mentor.on_ray.session.metrics import BOUNDARIES, GAUGES, SCORE_SECONDS, RunMetrics
from ray_mentor.on_ray.train.gate import Gate, call
from ray_mentor.on_ray.train.run_board import RunBoard
from ray_mentor.on_ray.train.watch import board_here

EPOCH = {"kind": "epoch", "trusted_accuracy": 0.75, "mean_sample_weight": 0.5, "meta_loss": None, "loss": 2.0}

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[attr-defined]


class Recorded:
    """In the place of Ray's metrics: what they are given."""

    told: list[tuple[str, float, dict[str, str]]]
    fails = False

    def __init__(self, name: str, description: str, boundaries: Any = None, tag_keys: Any = ()) -> None:
        self.name = name

    def set(self, value: float, tags: dict[str, str]) -> None:
        if self.fails:
            raise RuntimeError("no room")
        self.told.append((self.name, value, tags))


class RecordedHistogram(Recorded):
    observe = Recorded.set


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, dict[str, str]]]:
    monkeypatch.setattr(Recorded, "told", [], raising=False)
    monkeypatch.setattr(metrics, "Gauge", Recorded)
    monkeypatch.setattr(metrics, "Histogram", RecordedHistogram)
    return Recorded.told


def test_figures_are_set_again_with_each_row_since_ray_forgets_them(told: list[Any]) -> None:
    said = RunMetrics("n", pytest.fail)
    for row in (
        {"kind": "started", "at": 1.0},
        {"kind": "step", "mean_sample_weight": 0.25, "meta_loss": None, "loss": 3.0},
        EPOCH,
        {"kind": "step", "mean_sample_weight": 0, "meta_loss": 0.125},
        {"kind": "note", "text": "meta_loss"},
    ):
        said.row(row)
    run = {"run": "n"}
    assert [(name.removeprefix("mentor_"), value) for name, value, _ in told] == [
        ("mean_sample_weight", 0.25),
        ("mean_sample_weight", 0.5), ("trusted_accuracy", 0.75),
        ("mean_sample_weight", 0.0), ("trusted_accuracy", 0.75), ("meta_loss", 0.125),
    ]  # fmt: skip
    assert all(tags == run for _, _, tags in told)


def test_a_failure_is_said_once_and_the_run_goes_on(told: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    board = RunBoard("n")
    board.post(EPOCH)
    monkeypatch.setattr(Recorded, "fails", True)
    for _ in range(3):
        board.post(EPOCH)
    monkeypatch.setattr(Recorded, "fails", False)
    board.post(EPOCH)
    posted, rows = board.read(0)
    assert [row for row in rows if row["kind"] != "epoch"] == [
        {
            "kind": "note",
            "text": "warning: Ray's metrics are told no more of mentor_trusted_accuracy (RuntimeError: no room)",
        }
    ]
    assert (posted, len(told)) == (6, 2), "one that has failed isn't tried again"


Read = Callable[[str], dict[tuple[str, ...], float]]


@pytest.fixture
def read(local_ray: None) -> Read:
    """Reads the node's endpoint: the values of a run, by the sample's name and, of a histogram, the bucket's edge."""
    (node,) = (node for node in ray.nodes() if node["Alive"])
    where = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"

    def values(run: str) -> dict[tuple[str, ...], float]:
        with urllib.request.urlopen(where, timeout=60) as answer:
            text = answer.read().decode()
        found: dict[tuple[str, ...], float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.labels.get("run") == run:
                    key = (sample.name, *filter(None, [sample.labels.get("le")]))
                    assert key not in found, "two processes tell it"
                    found[key] = sample.value
        return found

    return values


def until(
    read: Read, run: str, names: set[str], goes_on: Callable[[], bool] = lambda: True
) -> dict[tuple[str, ...], float]:
    """The values, once all these names are there."""
    deadline = time.monotonic() + A_LONG_TIME
    while True:
        found = read(run)
        if names <= {key[0] for key in found}:
            return found
        assert goes_on(), found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_any_name_of_a_run_comes_out(read: Read) -> None:
    """Ray's metrics refuse what isn't ASCII."""
    board = board_here('caf\u00e9 "\\ \u8bed')
    ray.get(board.post.remote(EPOCH))
    found = until(read, 'caf\\xe9 "\\ \\u8bed', {"ray_mentor_trusted_accuracy"})
    assert found == {("ray_mentor_trusted_accuracy",): 0.75, ("ray_mentor_mean_sample_weight",): 0.5}
    assert ray.get(board.read.remote(0)) == (1, [EPOCH])
    ray.kill(board)


def test_how_long_the_mentor_takes(read: Read) -> None:
    """Ray's node puts together again what a process has counted by bucket: sums are near, counts are right."""
    told = RunMetrics("timed", pytest.fail)
    for seconds in (0.0001, 0.003, 0.004, 60.0):
        told.scored(seconds)
    found = until(read, "timed", {f"ray_{SCORE_SECONDS}_count"})
    assert found[f"ray_{SCORE_SECONDS}_count",] == 4
    counts = {float(key[1]): value for key, value in found.items() if key[0].endswith("_bucket")}
    assert counts == {edge: 1 + 2 * (edge >= 0.005) + (edge > 60) for edge in (*BOUNDARIES, float("inf"))}


@pytest.mark.slow
def test_a_run_of_two_workers(read: Read, small_splits: Splits, tmp_path: Path) -> None:
    """It is held at the end of its first epoch, while its figures are read. Ray Train's metrics don't take its name."""
    gate: Any = ray.remote(Gate).options(num_cpus=0).remote()
    rows: list[dict[str, Any]] = []
    trainer = trainer_for(small_splits, tmp_path, "m\u00e9sur\u00e9", workers=2)

    def fit() -> None:
        with suppress(RunStoppedError):
            trainer.fit(rows.append, gate)

    run = threading.Thread(target=fit)
    run.start()
    try:
        names = {f"ray_{name}" for name in GAUGES} | {f"ray_{SCORE_SECONDS}_count"}
        found = until(read, "m\\xe9sur\\xe9", names, run.is_alive)
        while found[f"ray_{SCORE_SECONDS}_count",] < 5 and run.is_alive():  # a worker's count comes after the board's
            found = until(read, "m\\xe9sur\\xe9", names, run.is_alive)
    finally:
        call(gate, "stop")
        run.join(A_LONG_TIME)
        ray.kill(gate)
    (epoch,) = (row for row in rows if row["kind"] == "epoch")
    shown = {name: found[f"ray_{name}",] for name in GAUGES}
    assert shown == {name: epoch[name.removeprefix("mentor_")] for name in GAUGES}
    assert found[f"ray_{SCORE_SECONDS}_count",] == epoch["steps"], "one process asks, once a step"
    assert [row for row in rows if row["kind"] == "note"] == []
