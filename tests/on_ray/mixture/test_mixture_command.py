"""Several sources on the command line: one option a source, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ray_mentor.cli import main

pytestmark = pytest.mark.long  # a run


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CSV files: three clusters and their names, or any names."""
    folder = tmp_path_factory.mktemp("tables")
    centres = 2.0 * np.random.default_rng(0).standard_normal((3, 4))
    for name, size, seed in (("good", 150, 1), ("junk", 150, 2), ("mine", 60, 3)):
        draw = np.random.default_rng(seed)
        labels = draw.integers(3, size=size)
        values = centres[labels] + draw.standard_normal((size, 4))
        said = draw.integers(3, size=size) if name == "junk" else labels
        table = pd.DataFrame(values.round(4), columns=list("pqrs")).assign(label=["xyz"[label] for label in said])
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder


def command(folder: Path, *more: str) -> list[str]:
    sources = [word for name in ("good", "junk") for word in ("--data", f"{name}={folder}/{name}.csv")]
    return ["train", *sources, "--workers", "0", "--storage-path", str(folder / "runs"), *more]


def test_a_source_is_an_option(
    tables: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # that no row of the table is broken
    more = ("--meta-data", f"{tables}/mine.csv", "--run-name", "one", "--epochs", "6", "--batch-size", "20")
    settings = ("--mixture", "learned", "--method", "uniform", "--shares-interval", "4", "--prior", "uniform")
    assert main(command(tables, *more, *settings)) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "on 2 sources, good, junk, learned shares" in said
    found = json.loads((tables / "runs/one/result.json").read_text())["mixture"]
    assert found["shares"]["junk"] < 0.2
    assert (
        "{:.1%} at the end, {:.1%} overall, each {:.1f} times".format(
            found["shares"]["junk"], found["shares_of_training"]["junk"], found["epochs"]["junk"]
        )
        in said
    )
    assert main(["train", "--config", f"{tables}/runs/one/config.toml", "--resume"]) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["--mixture", "learned"],
            "mixture is 'learned', but nothing says what training is for; give a target that no source holds a part of",
        ),
        (["--data", "more.csv"], "--data is given 3 times, and 'more.csv' has no name; name each source: --data wiki"),
        (["--data", "good=more.csv"], "data names the source 'good' twice; give each source a name of its own"),
        (
            ["--mixture", "fixed:good=0.5,bad=0.5"],
            "mixture 'fixed:good=0.5,bad=0.5' names good, bad, but the sources are good, junk",
        ),
        (["--mixture", "fixed:good=0.5,junk=0.6"], "but its shares add up to 1.1; they must add up to 1"),
        (["--mixture", "fixed:good=1.5,junk=-0.5"], "is no source with a share in [0, 1]; give e.g. fixed:wiki=0.7"),
        (["--data", "again={tables}/good.csv", "--mixture", "uniform"], "sources 'good' and 'again' have the same"),
        (["--data", "more=/not/there"], "no such file or folder: /not/there"),
    ],
)
def test_what_cannot_be_is_refused(
    words: list[str], says: str, tables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tables, *(word.replace("{tables}", str(tables)) for word in words))) == 2
    assert says in capsys.readouterr().err


def test_a_mixture_of_one_data_set_is_refused(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", f"{tables}/good.csv", "--mixture", "uniform", "--workers", "0"]) == 2
    assert (
        "mixture is 'uniform', but the data are one source, of which nothing is mixed; name" in capsys.readouterr().err
    )
