"""A sweep goes on from its plain files: nothing in its folder is executed, and what is damaged is refused."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import ray
from left_sweeps import ENDED, RUNS, SAMPLES, base, leave_sweep, lines, words, write_lines
from ray.tune import TuneError
from small_sweeps import makers

from ray_mentor import cli
from ray_mentor.config.file import read_config, to_toml
from ray_mentor.config.sweep import SweepSettings
from ray_mentor.errors import UserError
from ray_mentor.on_ray.tune.listed import cleared
from ray_mentor.on_ray.tune.objective import Objective
from ray_mentor.on_ray.tune.record import Record
from ray_mentor.on_ray.tune.resumed import digest, true_accuracies, unfinished
from ray_mentor.on_ray.tune.spaces import config_of, find_space
from ray_mentor.on_ray.tune.stage import told_error
from ray_mentor.on_ray.tune.study import Study
from ray_mentor.on_ray.tune.table import curves, trial_table
from ray_mentor.run.directory import RunDirectory

# What goes on


def went_on(sweep: Path) -> tuple[list[str], Record]:
    domains = find_space("smoke").domains
    record = Record(RunDirectory(str(sweep)), domains)
    return [told.name for told in unfinished(record, f"{sweep}/runs", base(), domains)], record


def test_a_finished_trial_stays_and_an_interrupted_one_goes_on(tmp_path: Path) -> None:
    names, record = went_on(leave_sweep(tmp_path))
    assert names == [RUNS]
    assert record.trials[RUNS].sample == SAMPLES[RUNS]


@pytest.mark.parametrize(("state", "goes_on"), [("stopped", False), ("hopeless", False), ("failed", True)])
def test_a_failed_trial_goes_on_and_one_that_was_ended_does_not(state: str, goes_on: bool, tmp_path: Path) -> None:
    sweep = leave_sweep(tmp_path)
    row = {"kind": "ended", "trial": RUNS, "state": state, "objective": None, "error": None}
    write_lines(sweep, [*lines(), row])
    assert went_on(sweep)[0] == [RUNS] * goes_on


def test_what_ray_tune_kept_for_a_sweep_that_was_killed_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else; before anything of the sweep goes on."""
    sweep = leave_sweep(tmp_path)
    (sweep / f".tune-{'0a' * 16}" / "trial").mkdir(parents=True)
    (sweep / f".tune-{'0a' * 16}" / "trial/params.pkl").write_bytes(b"x")
    for name in (".tune-mine", "my.tune-" + "0a" * 16):
        (sweep / name).mkdir()
    seen: list[str] = []

    def search(*_: object) -> None:
        seen.extend(sorted(path.name for path in sweep.iterdir() if "tune-" in path.name))
        raise EOFError

    monkeypatch.setattr(Study, "_search", search)
    directory = RunDirectory(str(sweep))
    study = Study(find_space("smoke"), base(), SweepSettings(), makers, directory, base().flat(), lambda row: None)
    with pytest.raises(EOFError):
        study._claimed(cleared(directory), 1, 0.0)
    assert seen == [".tune-mine", "my.tune-" + "0a" * 16]


def test_a_finished_trial_without_its_result_goes_on(tmp_path: Path) -> None:
    sweep = leave_sweep(tmp_path)
    (sweep / "runs" / ENDED / "result.json").unlink()
    assert went_on(sweep)[0] == [ENDED, RUNS]


def test_a_trial_that_took_over_anothers_state_goes_on_under_the_settings_of_then(tmp_path: Path) -> None:
    sweep = leave_sweep(tmp_path)
    taken = {"update_interval": 20, "mentor_learning_rate": 0.0005}
    for number, settings in ((2, SAMPLES[RUNS]), (3, taken)):
        run = sweep / "runs" / f"{RUNS}~{number}"
        run.mkdir()
        (run / "branch.json").write_text(json.dumps({"run": "elsewhere", "step": 5, "settings": settings}))
    (sweep / "runs" / RUNS).mkdir()
    (sweep / "runs" / RUNS / "config.toml").write_text("")
    names, record = went_on(sweep)
    assert names == [RUNS]
    assert record.trials[RUNS].sample == taken


def test_what_was_not_told_in_time_is_in_the_runs_own_metrics(tmp_path: Path) -> None:
    sweep = leave_sweep(tmp_path)
    write_lines(sweep, [row for row in lines() if row.get("epoch") != 2])
    metrics = "epoch,steps,fallbacks,trusted_accuracy,train_seconds\n0,5,0,0.1,1.0\n1,10,0,0.25,2.0\n2,15,0,0.5,3.0\n"
    (sweep / "runs" / ENDED / "metrics.csv").write_text(metrics)
    _, record = went_on(sweep)
    found = curves(record, f"{sweep}/runs", Objective("accuracy", 3))
    assert found[["trial", "epoch", "accuracy", "seconds"]].to_numpy().tolist() == [
        [ENDED, 1, 0.5, 1.0],
        [ENDED, 2, 0.25, 3.0],
        [ENDED, 3, 0.5, 1.0],
    ]
    (sweep / "runs" / ENDED / "metrics.csv").write_bytes(b"\xff\xfe\x00epoch")
    with pytest.raises(UserError, match=r"metrics.csv cannot be read .* or remove it, and the sweep has a gap"):
        curves(record, f"{sweep}/runs", Objective("accuracy", 3))


def test_what_was_taken_over_from_another_is_no_part_of_a_trials_curve(tmp_path: Path) -> None:
    """Epoch 1 is in the trial's first run; in the second it is the other's, and epoch 2 its own."""
    sweep = leave_sweep(tmp_path)
    write_lines(sweep, [row for row in lines() if row.get("epoch") not in (1, 2)])
    header = "epoch,steps,fallbacks,trusted_accuracy,train_seconds\n"
    runs = {ENDED: "0,5,0,0.1,1.0\n", f"{ENDED}~2": "0,5,0,0.9,1.0\n1,10,0,0.2,2.0\n2,15,0,0.5,3.0\n"}
    for name, rows in runs.items():
        (sweep / "runs" / name).mkdir(exist_ok=True)
        (sweep / "runs" / name / "metrics.csv").write_text(header + rows)
    branch = {"run": "elsewhere", "step": 5, "settings": SAMPLES[ENDED]}
    (sweep / "runs" / f"{ENDED}~2" / "branch.json").write_text(json.dumps(branch))
    _, record = went_on(sweep)
    found = curves(record, f"{sweep}/runs", Objective("accuracy", 3))
    assert found["accuracy"].tolist() == [0.1, 0.2, 0.5]


def test_the_table_is_made_of_the_record(tmp_path: Path) -> None:
    sweep = leave_sweep(tmp_path)
    _, record = went_on(sweep)
    table = trial_table(record, f"{sweep}/runs", find_space("smoke").domains, base())
    assert table["trial"].tolist() == [ENDED, RUNS]
    assert table["state"].tolist() == ["finished", "unfinished"]
    assert table["epochs_done"].tolist() == [3, 0]
    assert table["setting.update_interval"].tolist() == [10, 5]
    assert table["path"].tolist() == [f"{sweep}/runs/{ENDED}", f"{sweep}/runs/{RUNS}"]
    assert pd.isna(table["objective"].iloc[1])


def test_runs_are_told_apart_by_what_they_are_and_not_by_where_and_how_they_happen() -> None:
    config = config_of(base(), SAMPLES[ENDED])
    assert digest(config) == digest(
        config.changed(checkpoint_seconds=5.0, max_failures=7, storage_path="x", resume=True)
    )
    others = [
        config.changed(seed=1),
        config.changed(epochs=4),
        config.changed(workers=2),
        config_of(base(), SAMPLES[RUNS]),
    ]
    assert len({digest(config), *map(digest, others)}) == 5


def test_the_users_error_is_found_behind_ray_tunes() -> None:
    """As text in one of Tune's, behind which it trips over another trial's result while it cleans up."""
    users = UserError("the disk is full")
    with pytest.raises(KeyError) as raised:
        trip_over(users)
    assert told_error(raised.value) is users
    assert told_error(users) is users
    assert told_error(KeyError("ours")) is None


def trip_over(users: UserError) -> None:
    try:
        try:
            raise users
        except UserError as error:
            raise TuneError(str(error))  # noqa: B904 - as Ray Tune does
    except TuneError:
        _ = {}["an actor that is gone"]


# What is damaged


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Goes on with the sweep, which must be refused as the user's mistake before Ray starts; returns what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray was started"))

    def run() -> str:
        before = files_in(tmp_path / "runs")
        assert cli.main(words("--resume")) == 2
        assert files_in(tmp_path / "runs") == before, "a refused sweep is as it was"
        return capsys.readouterr().err.strip()

    return run


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def swap(sweep: Path) -> None:
    """Another trial's run lies where the finished one was."""
    config = config_of(base(), {**SAMPLES[ENDED], "update_interval": 20})
    (sweep / "runs" / ENDED / "config.toml").write_text(to_toml(config.flat()))


def damaged(name: str, content: str | bytes) -> Callable[[Path], None]:
    def damage(sweep: Path) -> None:
        (sweep / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return damage


@pytest.mark.long
@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damaged("progress.jsonl", "no json\n"), "progress.jsonl, line 1, is not what a sweep of this space wrote"),
        (damaged("progress.jsonl", b"\x80\x04\n"), "progress.jsonl cannot be read ('utf-8' codec"),
        (damaged("progress.jsonl", "[" * 100_000 + "\n"), "line 1, is not what a sweep of this space wrote (Recursion"),
        (damaged("config.toml", b"\x00"), "config.toml cannot be read"),
        (damaged(f"runs/{ENDED}/result.json", "{"), "result.json cannot be read (JSONDecodeError"),
        (
            damaged(f"runs/{ENDED}/result.json", "7"),
            "result.json cannot be read (ValueError: it holds 7); it is damaged",
        ),
        (damaged(f"runs/{ENDED}/result.json", "[" * 100_000), "result.json cannot be read (RecursionError"),
        (damaged(f"runs/{ENDED}/config.toml", "="), f"runs/{ENDED}/config.toml cannot be read"),
        (damaged(f"runs/{ENDED}/branch.json", "{}"), "branch.json cannot be read (ValueError: settings are None"),
        (
            swap,
            f"update_interval is 20 in {{}}/runs/{ENDED}, but was 10 for trial {ENDED}; put back what was there, or",
        ),
    ],
)
def test_a_damaged_sweep_is_refused(
    damage: Callable[[Path], None], says: str, said: Callable[..., str], tmp_path: Path
) -> None:
    sweep = leave_sweep(tmp_path / "runs")
    damage(sweep)
    assert says.format(sweep) in said()


# What would be executed


class Evil:
    """Leaves a file where whoever unpickles it has no business."""

    def __init__(self, traces: Path, where: str) -> None:
        self.call = (Path.touch, (traces / where.replace("/", " "),))

    def __reduce__(self) -> Any:
        return self.call


PICKLES = [
    *(f"{folder}/{name}" for folder in ("tune/search", "tune", ".tune-0", ".")
      for name in ("tuner.pkl", "trainable.pkl", "searcher-state-x.pkl", "search_gen_state-x.json", "callback.pkl")),
    *(f"runs/{trial}/{name}" for trial in (ENDED, RUNS)
      for name in ("error.pkl", "params.pkl", "state.pt", ".tune_metadata", "dict_checkpoint.pkl", "tuner.pkl")),
    *(f"runs/{trial}/checkpoints/step-{'9' * 12}{end}" for trial in (ENDED, RUNS)
      for end in (".pt", "-0123456789abcdef.pt")),
]  # fmt: skip
"""Where Ray Tune keeps pickles, and where a run keeps what another program might unpickle."""


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_nothing_in_a_sweeps_folder_is_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "traces").mkdir()
    sweep = leave_sweep(tmp_path / "runs")
    for where in PICKLES:
        file = sweep / where
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(pickle.dumps(Evil(tmp_path / "traces", where)))
    state = json.dumps({"trial_data": [], "runner_data": {"_type": "CLOUDPICKLE_FALLBACK", "value": pickle.dumps(
        Evil(tmp_path / "traces", "experiment state")).hex()}, "stats": {}})  # fmt: skip
    for folder in ("tune/search", "tune", "."):
        (sweep / folder / "experiment_state-2026-01-01_00-00-00.json").write_text(state)
    config = config_of(base(), SAMPLES[RUNS]).changed(run_name=RUNS, storage_path=f"{sweep}/runs")
    (sweep / "runs" / RUNS / "config.toml").write_text(to_toml(config.flat()))
    before = files_in(sweep / "runs" / ENDED)

    assert cli.main(words("--resume")) == 0, capfd.readouterr()
    assert executed(tmp_path) == []
    assert summary_of(sweep)["states"] == {"finished": 1, "failed": 1}
    said = capfd.readouterr().out
    assert f"trial {RUNS} failed: " in said
    assert "whose checkpoints (step-999999999999.pt) this one does not read" in said, "of what is no data alone"

    for file in (sweep / "runs" / RUNS / "checkpoints").iterdir():
        file.unlink()
    assert cli.main(words("--resume")) == 0, capfd.readouterr()
    assert executed(tmp_path) == []
    assert summary_of(sweep)["states"] == {"finished": 2}
    assert files_in(sweep / "runs" / ENDED) == before, "a finished trial was touched"
    assert read_config(str(sweep / "runs" / RUNS / "config.toml"))["update_interval"] == 5


def executed(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "traces").iterdir())


def summary_of(sweep: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((sweep / "sweep.json").read_text())
    return summary


def test_a_confirmation_is_measured_on_what_is_true_of_all_its_runs(tmp_path: Path) -> None:
    def run(number: int, **result: Any) -> RunDirectory:
        directory = RunDirectory(str(tmp_path / str(number)))
        directory.create()
        directory.write_result(result)
        return directory

    both, other = run(0, test_accuracy=0.9, trusted_accuracy=0.8), run(1, test_accuracy=None, trusted_accuracy=0.7)
    none = run(2, test_accuracy=None, trusted_accuracy=None)
    assert true_accuracies([both, both]) == ("test_accuracy", [0.9, 0.9])
    assert true_accuracies([both, other]) == ("trusted_accuracy", [0.8, 0.7])
    assert true_accuracies([both, none]) is None
    with pytest.raises(UserError, match="test_accuracy is 'high'"):
        true_accuracies([both, run(3, test_accuracy="high", trusted_accuracy=None)])
