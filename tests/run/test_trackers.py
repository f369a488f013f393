"""What TensorBoard, MLflow and Weights & Biases are told of a run, read back with their own libraries, offline."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ray_mentor.config import TrainConfig
from ray_mentor.errors import UserError
from ray_mentor.run import trackers
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.trackers import PROJECT, AbstractTracker, tracked

SETTINGS = {"run_name": "first", "method": "mentornet", "epochs": 3}
LOSSES = [2.0, 1.0, 0.5]


def rows(first: int = 0) -> list[dict[str, Any]]:
    epochs = [
        {"kind": "epoch", "epoch": epoch, "loss": LOSSES[epoch], "test_accuracy": None, "steps": 10}
        for epoch in range(first, 3)
    ]
    return [{"kind": "started", "at": 0.0, "progress": 0.0}, *epochs, {"kind": "ended"}]


def told(names: tuple[str, ...], directory: RunDirectory, given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    with tracked(names, directory, SETTINGS, shown.append) as show:
        for row in given:
            show(row)
    return shown


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    """Of the event files, which are records of a length, its checksum, an event and its checksum."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = {}
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = event_pb2.Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found[value.tag, event.step] = value.simple_value
    return found


@pytest.mark.filterwarnings("ignore")
def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    shown = told(("tensorboard",), RunDirectory(str(tmp_path)), rows())
    assert shown == rows(), "whoever shows the run sees all of it, too"
    assert scalars(tmp_path / "tensorboard") == {
        **{("loss", epoch): loss for epoch, loss in enumerate(LOSSES)},
        **{("steps", epoch): 10.0 for epoch in range(3)},
    }


@pytest.mark.filterwarnings("ignore")
def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="mlflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    given = [{**row, "test_accuracy_by_group/St. Élie: 5 %/a": 0.5} if "loss" in row else row for row in rows()]
    assert told(("mlflow",), RunDirectory(str(tmp_path)), given) == given, "no word of what MLflow can't take"
    client = tracking.MlflowClient()
    [run] = client.search_runs([client.get_experiment_by_name(PROJECT).experiment_id])
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert run.data.params == {name: str(value) for name, value in SETTINGS.items()}
    assert run.data.metrics["test_accuracy_by_group/St_ Élie_ 5 _/a"] == 0.5
    history = client.get_metric_history(run.info.run_id, "loss")
    assert sorted((each.step, each.value) for each in history) == list(enumerate(LOSSES))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert told(("wandb",), RunDirectory(str(tmp_path)), rows()) == rows()
    wandb.teardown()
    [file] = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    record = pytest.importorskip("wandb.proto.wandb_internal_pb2").Record
    records = list(map(record.FromString, logged(file.read_bytes())))
    histories = [{item.key or item.nested_key[0]: json.loads(item.value_json) for item in each.history.item}
                 for each in records if each.WhichOneof("record_type") == "history"]  # fmt: skip
    assert [(each["_step"], each["loss"], each["steps"]) for each in histories] == [
        (epoch, loss, 10.0) for epoch, loss in enumerate(LOSSES)
    ]
    [run] = [each.run for each in records if each.WhichOneof("record_type") == "run"]
    assert (run.display_name, run.project) == ("first", PROJECT)


def logged(data: bytes) -> Iterator[bytes]:
    """The records of a log as LevelDB writes it: blocks of 32 KiB of parts, each with checksum, length and kind."""
    at, held = 7, b""
    while at + 7 <= len(data):
        left = 2**15 - at % 2**15
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        held += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield held
            held = b""


class Broken(AbstractTracker):
    def __init__(self, *_: Any) -> None:
        self.told = 0

    def add(self, epoch: int, figures: Any) -> None:
        if epoch:
            raise OSError("no room")

    def close(self) -> None:
        raise OSError("still none")


def test_one_that_fails_is_told_of_once_and_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(trackers._KINDS, "mlflow", (Broken, "pytest", "nothing"))  # type: ignore[arg-type]
    shown = told(("mlflow",), RunDirectory(str(tmp_path)), rows())
    assert [row for row in shown if row["kind"] != "note"] == rows()
    [note] = [row["text"] for row in shown if row["kind"] == "note"]
    assert note == "warning: mlflow is told no more of this run (OSError: no room)"


def test_one_that_is_not_installed_is_refused_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    said = r"log_to wandb needs wandb, which is not installed; pip install 'ray-mentor\[wandb\]'"
    with pytest.raises(UserError, match=said):
        told(("wandb",), RunDirectory(str(tmp_path)), rows())
    assert list(tmp_path.iterdir()) == []


def test_a_tool_that_nobody_knows() -> None:
    assert TrainConfig().changed(log_to=("tensorboard", "wandb")).run.log_to == ("tensorboard", "wandb")
    with pytest.raises(UserError, match=r"log_to.*'comet'.*tensorboard, mlflow, wandb"):
        TrainConfig().changed(log_to=("comet",))
