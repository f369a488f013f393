"""The command line: exit codes, messages, help, and a run of seconds."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from interruptible import interruptible

from ray_mentor import __version__, cli
from ray_mentor.config import TrainConfig
from ray_mentor.config.file import read_config
from ray_mentor.errors import MentorLostError, StoppedByUser
from ray_mentor.run.log import RunLog
from ray_mentor.run.outcome import Outcome

STOPPED = "stopped; nothing was written yet, so the same command starts again\n"
GREETING = "mentornet on digits, 60 epochs: loading PyTorch and Ray, some seconds ...\n"
QUICK = ("--workers", "0", "--epochs", "1", "--train-size", "200", "--test-size", "50")


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*words: str) -> Said:
        try:
            code = cli.main(words)
        except SystemExit as leave:
            code = int(leave.code or 0)
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run


# What is asked for


def test_no_command_shows_the_commands(command: Any) -> None:
    said = command()
    assert said.code == 2
    assert "  train          train a student" in said.out
    assert "  tune SPACE     search settings of the mentor" in said.out


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help(command: Any, flag: str) -> None:
    said = command(flag)
    assert said.code == 0
    assert said.out.startswith("usage: ray-mentor COMMAND [OPTIONS]\n")
    assert said.err == ""


def test_an_unknown_command(command: Any) -> None:
    valid = "train, tune, compare, pick, predict, evaluate, export, report, audit, distill, teach"
    assert command("fly") == Said(2, "", f"error: unknown command 'fly'; valid: {valid}\n")


def test_the_version(command: Any) -> None:
    assert command("--version") == Said(0, f"ray-mentor {__version__}\n", "")


# The user's mistakes: exit code 2, one message on standard error, no traceback


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--method", "magic"), "unknown method 'magic'; valid: mentornet, mentornet-pd, uniform, oracle, "),
        (("--student", "vit"), "unknown student 'vit'; valid: mlp, cnn, resnet32, wrn-28-10"),
        (("--data", "nowhere"), "unknown data 'nowhere'; valid: digits, cifar10, cifar100, or a path to data of "),
        (("--noise", "symmetric:1.5"), "noise rate is 1.5, but it must lie in [0, 1); e.g. symmetric:0.4 for 40 %"),
        (("--noise", "pink:0.1"), "unknown noise 'pink'; valid: none, symmetric, asymmetric, instance"),
        (("--epochs", "0"), "epochs is 0, but it must be at least 1"),
        (("--epochs", "many"), "error: Error parsing --epochs: invalid literal for int() with base 10: 'many'; "),
        (("--optimizer", "lion"), "one of ('sgd', 'adam', 'adamw'); ray-mentor train --help-all lists what it takes\n"),
        (("--meta-ids",), "error: Missing value for argument '--meta-ids'. Expected 1 values; ray-mentor train --help-"
         "all lists what it takes\n"),
        (("--resume", "yes"), "error: Unrecognized options: yes; ray-mentor train --help-all lists what it takes\n"),
        (("--wings", "2"), "error: unknown option --wings: ray-mentor train --help-all lists those there are\n"),
        (("--lr", "2"), "error: unknown option --lr: did you mean --learning-rate?\n"),
        (("--label", "2"), "error: unknown option --label: did you mean --label-column?\n"),
        (("--data", "own.csv"), "own.csv has no header: its first line must name the columns, but has values (1.5); "
         "put a line of 2 names before it, such as x0,label"),
        (("--data", "own.csv", "--format", "docx"), "unknown format 'docx'; valid: auto, parquet, images, csv, jso"),
        (("--data", "features.parquet", "--label-column", "class"), "its columns are height, width, label; name the "
         "one of given labels with --label-column"),
        (("--epoch", "2"), "error: unknown option --epoch: did you mean --epochs?\n"),
        (("--no-nestrov",), "error: unknown option --no-nestrov: did you mean --no-nesterov?\n"),
        (("--batch_sise=2",), "error: unknown option --batch_sise: did you mean --batch-size?\n"),
        (("--resume",), "error: resume is True, but it needs --run-name"),
        (("--config", "no.toml"), "there is no config file 'no.toml'"),
        (("--config",), "argument --config: expected one argument"),
        (("--method", "mentornet-pd", "--mentor-params", "no.npz"), "no.npz does not exist; give the path of publi"),
        (("--refine",), "refine is True, but method 'mentornet' has no"),
        (("--student", "cnn", "--data", "features.parquet"),
         "student cnn needs images (channels, height, width), but the input has shape (2,); use mlp"),
        (("--data", "features.parquet", "--label-column", "class"), "class"),
        (("--mixing", "mentormix", "--method", "oracle", "--meta-in-training", "0"),
         "mixing is 'mentormix', which mixes as often as the "),
        (("--mixing", "mentormix", "--meta-holdout", "0"), "mixing is 'mentormix', which mixes as often as the "),
        (("--meta-size", "0"),
         "method is 'mentornet', whose mentor learns from a meta set, but there is no trusted sample (meta_size is"),
        (("--workers", "999"), "the workers need 999 CPUs, but there are "),
        (("--run-name", "gone", "--resume"), "/runs/gone to resume; check --run-name and --storage-path"),
    ],
)  # fmt: skip
def test_a_mistake_is_said(command: Any, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    rows = {"height": [0.5 * i for i in range(400)], "width": [0.1 * i * i for i in range(400)], "label": [0, 1] * 200}
    pyarrow.parquet.write_table(pa.table(rows), tmp_path / "features.parquet")
    (tmp_path / "own.csv").write_text("1.5,zero\n2.5,one\n")
    answer = command("train", *words)
    assert answer.code == 2
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"features.parquet", "own.csv"}, "a refused run writes nothing"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("report",), "the following arguments are required: RUN; ray-mentor report --help lists what it takes"),
        (("pick", "data.csv"), "the following arguments are required: --out; ray-mentor pick --help lists what"),
        (("teach", "run"), "the following arguments are required: --out; ray-mentor teach --help lists what it takes"),
        (("distill",), "the following arguments are required: RUN; ray-mentor distill --help lists what it takes"),
        (("audit", "run", "--top", "all"), "argument --top: invalid int value: 'all'; ray-mentor audit --help lists"),
        (("audit", "run", "--tops", "3"), "unknown option --tops: did you mean --top?"),
        (("report", "run", "--wings"), "unknown option --wings: ray-mentor report --help lists those there are"),
        (("teach", "run", "--mentr", "x"), "unknown option --mentr: did you mean --mentor?"),
        (("distill", "run", "--very"), "unknown option --very: did you mean --verify?"),
        (("pick", "digits", "--out", "x.csv", "--label-colum", "x"), "unknown option --label-colum: did you mean --la"),
    ],
)
def test_commands_about_a_run_say_mistakes_in_one_line(command: Any, words: tuple[str, ...], said: str) -> None:
    code, out, answer = command(*words)
    assert (code, out) == (2, "")
    assert answer.startswith(f"error: {said}")
    assert len(answer.splitlines()) == 1


def test_a_column_that_is_not_there_lists_those_that_are(command: Any, tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pa.table({"height": [1.0, 2.0], "label": [0, 1]}), tmp_path / "t.parquet")
    answer = command("train", "--data", "t.parquet", "--label-column", "class")
    assert answer.code == 2
    assert "class" in answer.err
    assert "height" in answer.err


def test_a_mistake_in_a_config_file_is_said(command: Any, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("epoch = 3\n")
    answer = command("train", "--config", "a.toml")
    assert answer.code == 2
    assert answer.err.startswith("error: unknown setting 'epoch'; nearest valid: epochs")


# Ours, and the keyboard's


def test_our_own_mistake_is_exit_code_1_with_a_traceback(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray_mentor.training.prepare", lambda *_: 1 / 0)
    answer = command("train")
    assert answer.code == 1
    assert "ZeroDivisionError" in answer.err
    assert answer.err.endswith("error: this is a mistake of ray_mentor's, not of yours; the run directory is kept\n")


def test_what_was_saved_is_said_below_the_error(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_the_mentor(*_: Any) -> None:
        error = MentorLostError("the mentor is gone")
        error.add_note("saved: step 5")
        raise error

    monkeypatch.setattr("ray_mentor.training.prepare", lose_the_mentor)
    assert command("train") == Said(2, GREETING, "error: the mentor is gone\nsaved: step 5\n")


def test_ctrl_c_before_there_is_a_run(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ray_mentor.training.prepare", stop)
    assert command("train") == Said(130, GREETING, STOPPED)


@pytest.mark.parametrize(
    ("words", "more"),
    [
        ((), "--run-name fresh-1 --resume"),
        (("--epochs", "3", "--run-name", "a b"), "--epochs 3 --run-name 'a b' --resume"),
        (("--run_name=mine", "--resume-or-start"), "--run_name=mine --resume-or-start"),
    ],
)
def test_ctrl_c_ends_with_the_whole_command_that_goes_on(
    command: Any, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], more: str
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise StoppedByUser("saved: x, step 5", "fresh-1")

    monkeypatch.setattr("ray_mentor.training.train", stop)
    monkeypatch.setattr("sys.argv", ["/usr/bin/ray-mentor"])
    said = command("train", *words)
    assert (said.code, said.err) == (130, f"stopped; saved: x, step 5\nto go on:\n  ray-mentor train {more}\n")


def test_what_is_slow_to_load_is_loaded_after_the_first_line() -> None:
    """PyTorch and Ray take seconds; something is on the screen before them."""
    code = (
        "import sys; from ray_mentor import cli\n"
        "slow = {'torch', 'ray', 'numpy', 'pyarrow', 'pandas', 'rich.live'}\n"
        "cli._greet = lambda *given: sys.exit(', '.join(sorted(slow & set(sys.modules))) or 3)\n"
        "cli.main(['train'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stderr) == (3, "")


@pytest.mark.parametrize("words", [("train",), ("tune", "smoke"), ("compare",)])
def test_data_that_are_not_there_are_said_before_anything_slow_is_loaded(command: Any, words: tuple[str, ...]) -> None:
    said = command(*words, "--data", "nowhere/at-all.csv")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error: unknown data 'nowhere/at-all.csv'; valid: digits, cifar10, cifar100, or a path")


# A run


@pytest.mark.long
def test_ctrl_c_writes_a_checkpoint_and_the_command_that_it_prints_goes_on(
    command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = RunLog.end_epoch

    def interrupted(log: RunLog, epoch: int, *more: Any) -> None:
        ends(log, epoch, *more)
        if epoch == 30:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch, interruptible():
        patch.setattr(RunLog, "end_epoch", interrupted)
        said = command("train", *QUICK[:2], *QUICK[4:], "--epochs", "300")
    assert said.code == 130
    saved = re.search(r"^stopped; saved: (.*), step (\d+)\nto go on:\n  .*(train .* --resume)$", said.err, re.MULTILINE)
    assert saved, said.err
    assert Path(saved[1]).exists()
    assert "epoch 300/300" not in said.out
    again = command(*shlex.split(saved[3]))
    assert (again.code, again.err) == (0, "")
    assert re.search(rf"^going on after step {saved[2]} of 600, in epoch \d+ of 300$", again.out, re.MULTILINE)
    assert "epoch 300/300" in again.out
    assert "epoch 25/300" not in again.out
    assert "resume" not in Path(saved[1]).parents[1].joinpath("config.toml").read_text(), "or it could not be repeated"


def test_a_mentor_that_one_run_teaches_weighs_for_another(command: Any, tmp_path: Path) -> None:
    longer = (*QUICK[:2], *QUICK[4:], "--epochs", "12")
    assert command("train", *longer, "--run-name", "one", "--method", "uniform").code == 0
    said = command("teach", "runs/one", "--out", "taught.npz")
    assert (said.code, said.err) == (0, "")
    found = re.fullmatch(
        r"the mentor was taught on \d+ rows, \d+ % of them with a wrong label; on samples held out from it its "
        r"accuracy is (0\.\d+), AUROC (0\.\d+); it is in taught\.npz\n",
        said.out,
    )
    assert found
    assert float(found[2]) > 0.6
    frozen = ("--run-name", "two", "--method", "mentornet-frozen", "--mentor-from", "taught.npz")
    assert command("train", *QUICK, *frozen).code == 0
    again = command("teach", "runs/one", "--out", "taught.npz")
    assert again.code == 2
    assert again.err == "error: 'taught.npz' is there already; give another name, or remove it first\n"
    assert command("teach", "runs/none", "--out", "b.npz").err.endswith(
        "runs/none is not a run: it has no config.toml; give the folder of a finished run\n"
    )


def test_a_page_of_a_run(command: Any, tmp_path: Path) -> None:
    done = command("train", *QUICK, "--run-name", "paged")
    written = tmp_path / "runs/paged/report.html"
    assert f"  all of it, on one page: {written}\n" in done.out
    at_its_end = written.read_text()
    written.unlink()
    assert command("report", "runs/paged") == Said(0, f"{written}\n", "")
    assert written.read_text() == at_its_end
    assert command("report", "runs").err == (
        f"error: {tmp_path}/runs is not a run: it has no config.toml; give the folder that the run named when it "
        "began, as in runs/first\n"
    )


def test_an_audit_of_a_run(command: Any, tmp_path: Path) -> None:
    """Of one that is over, whose files it writes anew, and into files for other tools."""
    assert command("train", *QUICK, "--epochs", "8", "--run-name", "one").code == 0
    written = (tmp_path / "runs/one/audit.csv").read_text()
    assert len(written.splitlines()) == 201
    (tmp_path / "runs/one/audit.csv").unlink()
    files = ("--export-weights", "w.csv", "--clean", "clean.parquet", "--relabelled", "all.csv")
    said = command("audit", "runs/one", "--top", "3", *files)
    assert (said.code, said.err) == (0, "")
    assert re.search(
        r"^\d+\.\d% of the labels look wrong \(.*\): \d+ of 200(; the student is wrong on .*)?$", said.out, re.MULTILINE
    )
    first = written.splitlines()[1].split(",")
    table = said.out.partition("look at these first")[2].splitlines()
    assert table[4].split()[:2] == [first[0], first[1].strip('"')]
    assert len([line for line in table[4:] if line.startswith(" ")]) >= 3
    ends = ["runs/one/audit.csv", "runs/one/audit.parquet", "w.csv", "clean.parquet", "all.csv"]
    for line, end in zip(said.out.splitlines()[-5:], ends, strict=True):
        assert line.startswith("written: ")
        assert line.split(" (")[0].endswith(end)
    assert (tmp_path / "runs/one/audit.csv").read_text() == written
    issues = sum(line.split(",")[5] == "true" for line in written.splitlines())
    assert f"clean.parquet ({200 - issues} of the 200 samples of the audit)" in said.out
    assert len((tmp_path / "w.csv").read_text().splitlines()) == 201
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 201
    assert len(pyarrow.parquet.read_table(tmp_path / "clean.parquet")) == 200 - issues


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("runs/none",), "runs/none is not a run: it has no config.toml; give the folder that the run named when it "
         "began, as in ray-mentor audit runs/first"),
        (("table.csv",), "table.csv is not a run: it has no config.toml; give the folder that the run named when it "
         "began, as in ray-mentor audit runs/first"),
        ((".", "--top", "0"), "top is 0, but it must be at least 1"),
        ((".", "--clean", "table.csv"), "'table.csv' is there already; give another name, or remove it first"),
        ((".", "--clean", "none/a.csv"), "'none/a.csv' lies in a folder that is not there; make it first"),
    ],
)  # fmt: skip
def test_an_audit_of_what_is_none(command: Any, tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    (tmp_path / "table.csv").write_text("a,b\n")
    said = command("audit", *words)
    assert (said.code, said.out) == (2, "")
    assert says in said.err


def test_string_ids_are_in_the_audit_and_the_ledger(command: Any, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, 200)
    names = [f"patient {number}" for number in draw.permutation(200)]
    columns = {"who": names, "a": draw.standard_normal(200) + labels, "row": np.arange(200), "label": labels}
    pa.parquet.write_table(pa.table(columns), tmp_path / "own.parquet")
    words = (
        "train",
        "--workers",
        "0",
        "--epochs",
        "1",
        "--data",
        "own.parquet",
        "--id-column",
        "who",
        "--run-name",
        "a",
    )
    said = command(*words, "--meta-size", "10")
    assert (said.code, "'row' (it counts the rows); leave them out: --ignore-columns row;" in said.err) == (2, True)
    said = command(*words, "--meta-size", "10", "--ignore-columns", "row")
    assert (said.code, said.err) == (0, "")
    assert "1 feature: a\n" in said.out
    listed = [line.split(",")[0].strip('"') for line in (tmp_path / "runs/a/audit.csv").read_text().splitlines()]
    assert listed[0] == "sample_id"
    assert len(listed) > 100
    assert set(listed[1:]) < set(names)
    run = Outcome({}, [], str(tmp_path / "runs/a"), {})
    given = dict(zip(names, labels.tolist(), strict=True))
    for row in run.ledger().to_pylist():
        assert row["given_label"] == given[row["sample_id"]]


def test_a_run_of_seconds(command: Any, tmp_path: Path) -> None:
    answer = command("train", *QUICK, "--run-name", "first", "--seed", "3")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0] == "mentornet on digits, 1 epoch: loading PyTorch and Ray, some seconds ..."
    assert lines[2] == (
        "mentornet: student mlp on digits (200 samples, 10 classes, 40% symmetric label noise), 1 epoch, "
        "this process, seed 3"
    )
    assert lines[3] == f"run: {tmp_path}/runs/first"
    assert lines[4].startswith("epoch 1/1  test accuracy 0.")
    assert "mentornet, seed 3" in answer.out
    assert lines[-6] == "look at next:"
    assert all(Path(line.rpartition(": ")[2]).exists() for line in lines[-4:])
    result = json.loads((tmp_path / "runs/first/result.json").read_text())
    assert result["seed"] == 3
    confusion = np.array(result["test_confusion"])
    assert confusion.sum() == 50
    assert np.trace(confusion) / 50 == pytest.approx(result["test_accuracy"])
    assert len(result["classes"]) == 10


def test_the_resolved_settings_are_written_and_read_back(command: Any, tmp_path: Path) -> None:
    """What the command line says wins over the file, and the file over the defaults."""
    (tmp_path / "a.yaml").write_text("batch-size: 50\nseed: 4\nmentor_hidden: [7]\nlearning-rate: 1\n")
    answer = command("train", *QUICK, "--config", "a.yaml", "--seed", "5", "--run-name", "mixed", "--no-nesterov")
    assert answer.code == 0
    config = TrainConfig.from_flat(read_config("runs/mixed/config.toml"))
    assert (config.run.batch_size, config.run.seed, config.mentor.mentor_hidden) == (50, 5, (7,))
    assert (config.student.learning_rate, config.student.nesterov) == (1.0, False)
    untouched = {name: value for name, value in TrainConfig().flat().items() if name not in TOUCHED}
    assert {name: value for name, value in config.flat().items() if name not in TOUCHED} == untouched


TOUCHED = {
    "batch_size", "seed", "mentor_hidden", "learning_rate", "nesterov", "run_name", "workers", "epochs", "train_size",
    "test_size",
}  # fmt: skip


def test_a_run_can_be_repeated_from_its_own_config(command: Any, tmp_path: Path) -> None:
    assert command("train", *QUICK, "--run-name", "one").code == 0
    assert command("train", "--config", "runs/one/config.toml", "--run-name", "two").code == 0
    one, two = (json.loads((tmp_path / f"runs/{name}/result.json").read_text()) for name in ("one", "two"))
    assert one["test_accuracy"] == two["test_accuracy"]
    assert one["noise_auroc"] == two["noise_auroc"]


def test_an_existing_run_is_refused(command: Any, tmp_path: Path) -> None:
    assert command("train", *QUICK, "--run-name", "mine", "--method", "uniform").code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "runs/mine").rglob("*") if path.is_file()}
    answer = command("train", *QUICK, "--run-name", "mine")
    assert answer.code == 2
    assert answer.err == (
        f"error: run {tmp_path}/runs/mine is there already; give it another --run-name, or go on with it: --resume\n"
    )
    assert {path: path.read_bytes() for path in (tmp_path / "runs/mine").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("words", "kind"), [(("train",), "run"), (("tune", "joint"), "sweep"), (("compare",), "comparison")]
)
def test_a_name_that_is_taken_is_said_before_pytorch_is_loaded(
    command: Any, tmp_path: Path, words: tuple[str, ...], kind: str
) -> None:
    place = tmp_path / "elsewhere/mine"
    named = (*words, "--run-name", "mine", "--storage-path", "elsewhere")
    said = f"there is no {kind} {place} to resume; check --run-name and --storage-path"
    assert command(*named, "--resume") == (2, "", f"error: {said}\n")
    place.mkdir(parents=True)
    (place / "config.toml").touch()
    said = f"{kind} {place} is there already; give it another --run-name, or go on with it: --resume"
    assert command(*named) == (2, "", f"error: {said}\n")


def test_a_run_without_a_name_gets_a_fresh_one(command: Any, tmp_path: Path) -> None:
    assert command("train", *QUICK, "--method", "self-paced").code == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"self-paced-digits-\d{8}-\d{6}-\d+", run.name)


def test_as_a_module_in_a_process_of_its_own(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "ray_mentor", "train", "--noise", "symmetric:2"]
    done = subprocess.run(words, cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 2
    assert "noise rate is 2.0, but it must lie in [0, 1)" in done.stderr.replace("\n", " ").replace("│", "")
    assert done.stdout == ""
