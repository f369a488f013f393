"""Checkpoints that are whole, and hold what no run would have written: a run goes on from them, or refuses them."""

from __future__ import annotations

import copy
import io
import json
import os
import random
import shutil
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile_data import LABELS, NUMBERS, ROWS, nothing_is_created, parquet

from ray_mentor import cli
from ray_mentor.data import memory
from ray_mentor.run.directory import RunDirectory, name_of

WORDS = ("train", "--workers", "0", "--batch-size", "6", "--update-interval", "1", "--burn-in", "0", "--meta-size", "3",
         "--noise", "symmetric:0.3", "--mentor-features", "loss", "history", "--history-length", "2",
         "--data", "data.parquet")  # fmt: skip
Key = tuple[str | int, ...]


class Missing:
    """Stands for an entry that is not there."""


MISSING = Missing()


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with data.parquet and a run of two epochs."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "data.parquet").write_bytes(
        parquet({"x": NUMBERS, "y": [row % 7 for row in range(ROWS)], "label": LABELS})
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.main([*WORDS, "--epochs", "2", "--run-name", "run"]) == 0
        yield folder


@pytest.fixture
def resumed(first: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Goes on with the run from one checkpoint alone: exit code and message, a result exactly if all went well."""

    def resume(
        checkpoint: bytes, config: bytes | None = None, epochs: int = 3, config_bytes: int | None = None
    ) -> tuple[int, str]:
        run = first / "runs/again"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(first / "runs/run", run)
        for path in (run / "checkpoints").glob("*.pt"):
            path.write_bytes(checkpoint)
        if config is not None:
            (run / "config.toml").write_bytes(config)
        if config_bytes is not None:
            os.truncate(run / "config.toml", config_bytes)
        before = told(run)
        began = time.monotonic()
        code = cli.main([*WORDS, "--epochs", str(epochs), "--run-name", "again", "--resume"])
        assert time.monotonic() - began < 20
        said = capsys.readouterr().err
        assert code in (0, 2), said
        assert (told(run) == before) == (code != 0), "a run that is refused stays as it was, and no other"
        return code, said

    return resume


def told(run: Path) -> list[bytes | None]:
    """The result and the beginning of the config, by which a person knows the run."""
    return [RunDirectory(str(run)).read(name, at_most=2**17) for name in ("result.json", "config.toml")]


@pytest.fixture(scope="module")
def table(first: Path) -> dict[str, Any]:
    """What the run's newest checkpoint holds."""
    content: dict[str, Any] = torch.load(io.BytesIO(newest(first)), weights_only=True)
    return content


def newest(first: Path) -> bytes:
    return max((first / "runs/run/checkpoints").glob("*.pt")).read_bytes()


def keys(value: Any, above: Key = ()) -> list[Key]:
    """The place of every entry."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, each in inner for place in [(*above, key), *keys(each, (*above, key))]]


def with_entry(table: dict[str, Any], place: Key, value: Any) -> bytes:
    changed = copy.deepcopy(table)
    inner: Any = changed
    for key in place[:-1]:
        inner = inner[key]
    if value is MISSING:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    file = io.BytesIO()
    torch.save(changed, file)
    return file.getvalue()


def test_the_checkpoint_itself(resumed: Callable[..., tuple[int, str]], first: Path) -> None:
    assert resumed(newest(first)) == (0, "")


VALUES = [
    MISSING, None, "x", b"x", -1, 10**30, 10**400, float("nan"), float("inf"), True, [], {}, [[]], torch.zeros(()),
    torch.zeros(3), torch.full((2, 2), torch.nan), torch.zeros(1, dtype=torch.complex64), torch.zeros(1).expand(10**8),
]  # fmt: skip


@pytest.mark.slow
def test_any_entry_may_be_anything(resumed: Callable[..., tuple[int, str]], table: dict[str, Any]) -> None:
    draw = random.Random(0)
    for _ in range(100):
        place, value = draw.choice(keys(table)), draw.choice(VALUES)
        code, said = resumed(with_entry(table, place, value))
        assert code == 0 or "state" in said or "checkpoint" in said, (place, value, said)


@pytest.mark.parametrize(
    ("place", "value", "code"),
    [
        (("log", "metrics", 1, "test_accuracy"), MISSING, 0),
        (("log", "metrics", 1, "meta_loss"), MISSING, 0),
        (("log", "metrics", 1), {}, 0),
        (("log", "metrics"), [], 0),
        (("log", "metrics", 0, "steps"), 2**60, 2),
        (("log", "metrics", 1, "\ud800"), 1.0, 2),
        (("log", "train_seconds"), 0.0, 2),
    ],
)
@pytest.mark.parametrize("epochs", [2, 3])
def test_a_log_that_no_run_would_have_kept(
    resumed: Callable[..., tuple[int, str]], table: dict[str, Any], place: Key, value: Any, code: int, epochs: int
) -> None:
    """Whether the run is at its end with them, or goes on."""
    found, said = resumed(with_entry(table, place, value), epochs=epochs)
    assert found == code, said
    assert code == 0 or ".".join(map(str, place[:2])) in said


@pytest.mark.parametrize("place", [("curriculum", "mentor", "payload"), ("student",)])
def test_a_pickle_inside(
    resumed: Callable[..., tuple[int, str]], table: dict[str, Any], tmp_path: Path, place: Key
) -> None:
    with nothing_is_created(tmp_path / "created") as trap:
        file = io.BytesIO()
        torch.save(trap, file)
        value = file.getvalue() if place[-1] == "payload" else trap
        assert resumed(with_entry(table, place, value))[0] == 2


@pytest.mark.parametrize("content", [b"", b"junk", bytes(10**6), b"PK\x05\x06" + bytes(18)])
def test_a_file_that_is_none(resumed: Callable[..., tuple[int, str]], content: bytes) -> None:
    code, said = resumed(content)
    assert code == 2
    assert "cannot be read (" in said


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (b"epochs = = 1", "Invalid value"),
        (b"\xff\xfe", "'utf-8' codec can't decode"),
        (b"epochs = " + b"[" * 5000, "RecursionError"),
        (b"epochs = '1'", "config.toml is '1', but it must be a whole number"),
        (b"epochs = 2\nx" + b".x" * 3990 + b" = 1", "must hold one flat table"),
        (b"epochs = 2\nseed" + b".x" * 16000 + b" = 1", "it holds 16000 dots, but must hold at most 4000"),
        (b"epochs = 2\n[" + b"x." * 3000 + b"x]", "must hold one flat table"),
        (b"epochs = 2\nanchor = " + b"[" * 300 + b"]" * 300, "anchor is 0.9, but run"),
        (b"epochs = 2\n#" + b"x" * 70_000, "it holds more than 64 KiB, but settings are a page"),
        (None, "it holds more than 64 KiB, but settings are a page"),
    ],
    ids=range(10),
)
def test_a_config_that_is_damaged(
    resumed: Callable[..., tuple[int, str]], first: Path, config: bytes | None, says: str
) -> None:
    """Of a gigabyte, too (None), in a file that takes no room."""
    with little_memory():
        code, said = resumed(newest(first), config, config_bytes=2**30 if config is None else None)
    assert code == 2
    assert "config.toml" in said
    assert says in said
    assert len(said) < 1500


@contextmanager
def little_memory() -> Iterator[None]:
    """Fails if a quarter of a gigabyte was in use."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 2**28
    finally:
        tracemalloc.stop()


def test_a_checkpoint_larger_than_memory(
    first: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a file that takes no room on the disk: refused before it is read, and the one before it taken."""
    run = first / "runs/large"
    shutil.copytree(first / "runs/run", run)
    words = [*WORDS, "--epochs", "3", "--run-name", "large", "--resume"]
    monkeypatch.setattr(memory, "available_memory", lambda: 2**30)
    (run / "checkpoints" / name_of(9999)).touch()
    os.truncate(run / "checkpoints" / name_of(9999), 2**29 + 1)
    attempt = json.loads((run / "attempt").read_text())
    (run / "attempt").write_text(json.dumps({**attempt, "attempts": ["0" * 16, *attempt["attempts"]]}))
    with little_memory():
        assert cli.main(words) == 0
    assert capsys.readouterr().err == ""
    assert (run / "result.json").exists()
    for path in (run / "checkpoints").glob("*.pt"):
        os.truncate(path, 20 * 2**30)
    before = told(run)
    with little_memory():
        assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert "the contents of checkpoint " in said
    assert " need 40.0 GiB of memory, but there are 1.0 GiB; " in said
    assert "go on where there is more, or remove it if it is damaged" in said
    assert told(run) == before


@pytest.mark.skipif(sys.platform != "linux", reason="needs ulimit -v")
@pytest.mark.slow
def test_a_checkpoint_larger_than_what_the_process_may_have(first: Path) -> None:
    """It would fit into the machine, but not under ``ulimit -v``, nor beside what the process has already."""
    run = first / "runs/bounded"
    shutil.copytree(first / "runs/run", run)
    for path in (run / "checkpoints").glob("*.pt"):
        os.truncate(path, 3 * 2**30)
    words = [*WORDS, "--epochs", "3", "--run-name", "bounded", "--resume"]
    code = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({8 * 2**30},) * 2)\n"
    code += f"import sys; from ray_mentor import cli; sys.exit(cli.main({words!r}))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=first,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "checkpoint" in done.stderr
