"""Checkpoints that are whole, and hold what no run would have written: a run goes on from them, or refuses them."""

from __future__ import annotations

import copy
import io
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile_data import LABELS, NUMBERS, ROWS, nothing_is_created, parquet

from ray_mentor import cli

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
    (folder / "data.parquet").write_bytes(parquet({"x": NUMBERS, "y": range(ROWS), "label": LABELS}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.main([*WORDS, "--epochs", "2", "--run-name", "run"]) == 0
        yield folder


@pytest.fixture
def resumed(first: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Goes on with the run from one checkpoint alone: exit code and message, a result exactly if all went well."""

    def resume(checkpoint: bytes, config: bytes | None = None, epochs: int = 3) -> tuple[int, str]:
        run = first / "runs/again"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(first / "runs/run", run)
        for path in run.rglob("*.pt"):
            path.write_bytes(checkpoint)
        if config is not None:
            (run / "config.toml").write_bytes(config)
        began = time.monotonic()
        code = cli.main([*WORDS, "--epochs", str(epochs), "--run-name", "again", "--resume"])
        assert time.monotonic() - began < 20
        said = capsys.readouterr().err
        assert code in (0, 2), said
        changed = (run / "result.json").exists() and (run / "result.json").read_bytes() != (
            first / "runs/run/result.json"
        ).read_bytes()
        assert changed == (code == 0), "a run that was not finished must not look so"
        return code, said

    return resume


@pytest.fixture(scope="module")
def table(first: Path) -> dict[str, Any]:
    """What the run's newest checkpoint holds."""
    content: dict[str, Any] = torch.load(io.BytesIO(newest(first)), weights_only=True)
    return content


def newest(first: Path) -> bytes:
    return max((first / "runs/run").rglob("*.pt")).read_bytes()


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


@pytest.mark.parametrize("config", [b"epochs = = 1", b"\xff\xfe", b"epochs = " + b"[" * 5000, b"epochs = '1'"])
def test_a_config_that_is_damaged(resumed: Callable[..., tuple[int, str]], first: Path, config: bytes) -> None:
    code, said = resumed(newest(first), config)
    assert code == 2
    assert "config.toml" in said
