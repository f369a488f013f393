"""A run's page: what it says, that hostile names are text, and that plotly knows every word of its figures."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.csv
import pytest
from made_runs import made_ledger, made_metrics, made_result, made_run, samples_of
from page_text import figures, without_plotly, words

from ray_mentor.errors import UserError
from ray_mentor.report.run import written
from ray_mentor.report.run.figures.matrix import matrix_figure
from ray_mentor.report.run.page import page
from ray_mentor.report.run.written import REPORT, report_at_end, write_report
from ray_mentor.run.audit.audit import Audit
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.mixture.table import MIXTURE

HOSTILE = "</script><script>alert('it')</script><img src=x onerror=alert(1)>\x1b[31m"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page(made_run(tmp_path_factory.mktemp("made") / "first"))


def test_the_page_says_what_ran_and_how_it_ended(whole: str) -> None:
    text = words(whole)
    assert text.startswith(
        "first Method mentornet, student mlp, on digits, noise symmetric:0.4, 6 epochs, seed 0, in one proc"
    )
    assert (
        "How it ended. It came to its end, in 9.5 s, with test accuracy 0.8750 and accuracy 0.900 on 30 held-out "
        "trusted samples (95 % interval 0.800 to 0.950)." in text
    )
    assert "the mentor learned three times" in text
    assert "wrong labels known by 1 − sample weight (AUROC: 1 all, 0.5 chance)" in text
    assert "torch2.11.0" in text.replace(" ", "")


@pytest.mark.parametrize(
    ("spread", "share"), [(0.3, "25.0% (20.0% to 30.0%)"), (0.0, "25.0% or more: a student that no mentor keeps")]
)
def test_the_head_says_how_many_labels_look_wrong(tmp_path: Path, spread: float, share: str) -> None:
    """Without a mentor no interval holds."""
    directory = made_run(tmp_path / "first")
    result = json.loads(directory.read("result.json") or b"")
    found = {"wrong_labels": 0.25, "wrong_labels_interval": [0.2, 0.3], "sample_weight_spread": spread}
    (tmp_path / "first/result.json").write_text(json.dumps({**result, **found}))
    text = words(page(directory))
    assert f"training labels that look wrong {share}" in text.replace("wrong25", "wrong 25")
    assert ("to 30.0%" in text) == (spread > 0)


OF_WEIGHTS = {"belief", "use", "histogram", "classes", "policy", "plane"}
DRAWN = [
    "accuracy", "losses", "guards", "time", "settings", "speed", "belief", "use", "histogram", "classes", "policy",
    "plane", "matrix",
]  # fmt: skip


FILES = "metrics.csv|result.json|ledger/|mentor.npz"


def test_each_figure_names_its_file(whole: str) -> None:
    assert list(figures(whole)) == DRAWN
    captions = dict(re.findall(r'id="([a-z]+)-caption">(.*?)</p>', whole))
    assert set(captions) >= set(DRAWN)
    for name, caption in captions.items():
        assert re.search(rf'From <a href="({FILES})"><code>\1</code></a>', caption), name


def test_figures_are_of_the_files(whole: str) -> None:
    drawn = figures(whole)
    [tested] = [trace for trace in drawn["accuracy"]["data"] if trace["name"] == "test accuracy"]
    assert tested["x"] == [1, 2, 3, 4, 5, 6]
    assert tested["y"] == [round(1 - 0.5 / epoch, 5) for epoch in range(1, 7)]
    said = re.search(r'id="accuracy-caption">(.*?)</p>', whole)
    assert said
    assert said[1].endswith(
        'From <a href="metrics.csv"><code>metrics.csv</code></a>: '
        "<code>test_accuracy</code>, <code>trusted_accuracy</code>, "
        "<code>validation_agreement</code>."
    )
    assert drawn["accuracy"]["layout"]["shapes"][0]["x0"] == 4, "the student that is kept"
    bars = drawn["time"]["data"][0]
    assert dict(zip(bars["y"][::-1], bars["x"][::-1], strict=True)) == pytest.approx(
        {
            "imports and data": 2.0,
            "setting up": 0.5,
            "training: the student's steps": 3.0,
            "training: scoring": 0.2,
            "training: meta steps": 1.5,
            "training: reading samples": 0.4,
            "training: the ledger": 0.3,
            "training: the rest": 0.6,
            "closing": 0.5,
        }
    )
    rate, memory = drawn["settings"]["data"]
    assert (rate["name"], rate["y"]) == ("learning rate", [None, *[-0.0003] * 5])
    assert memory["y"] == [None, *[pytest.approx(0.1 * 2e-7)] * 5], "of log 1/(1 − μ)"
    right, wrong = drawn["belief"]["data"]
    assert (right["name"], wrong["name"]) == ("mean weight of right labels", "mean weight of wrong labels")
    assert right["y"][-1] > 0.8
    assert wrong["y"][-1] < 0.1
    assert len(drawn["histogram"]["frames"]) == 6
    for frame in drawn["histogram"]["frames"]:
        assert sum(sum(trace["y"]) for trace in frame["data"]) == pytest.approx(1, abs=1e-3)


def test_effective_sample_size_and_utilisation(whole: str) -> None:
    rows = made_ledger(60, 6).to_pandas()
    size, use, so_far = figures(whole)["use"]["data"]
    weights = [each["sample_weight"].astype(float) for _, each in rows.groupby("epoch")]
    assert size["y"] == pytest.approx([each.sum() ** 2 / (60 * (each**2).sum()) for each in weights], abs=1e-5)
    assert use["y"] == pytest.approx([each.mean() for each in weights], abs=1e-5)
    assert so_far["y"][-1] == pytest.approx(rows["sample_weight"].mean(), abs=1e-5)


def test_plotly_knows_every_word_of_the_figures(whole: str) -> None:
    for figure in figures(whole).values():
        for data in [figure["data"], *(frame["data"] for frame in figure.get("frames", ()))]:
            bare = json.loads(re.sub(r'"--[a-z-]+"', '"#123456"', json.dumps([data, figure["layout"]])))
            go.Figure(data=bare[0], layout=bare[1])


def test_every_colour_is_one_of_the_style_sheets(whole: str) -> None:
    for name in re.findall(r'"(--[a-z-]+)"', json.dumps(figures(whole))):
        assert f"{name}: " in whole, name


def test_a_page_fetches_nothing_and_compiles_nothing(whole: str) -> None:
    rest = without_plotly(whole)
    assert not re.search(r"https?:|\bhref=\"(?!#|[a-z]+[./])|@import|url\(|<link|<iframe|unsafe-eval", rest)
    assert all(source.startswith("data:") for source in re.findall(r'\bsrc="([^"]*)', rest))


def with_groups(directory: RunDirectory, names: list[str], what: str) -> None:
    """Metrics in which each group is right on a share of its own."""
    own = {f"{what}_by_group/{name}": place / len(names) for place, name in enumerate(names)}
    directory.write_metrics([{**row, **own} for row in made_metrics(6)])


def with_sources(directory: RunDirectory, names: list[str]) -> None:
    rows = [
        {"step": step, "domain": name, "share": 1 / len(names), "influence": 0.5, "standard_error": 0.1, "samples": 3,
         "tokens": None, "epochs": 1.0, "gap": 0.1}
        for step in (0, 20) for name in names
    ]  # fmt: skip
    directory.fill(MIXTURE, lambda sink: pyarrow.csv.write_csv(pa.Table.from_pylist(rows), sink))


@pytest.mark.parametrize("what", ["test_accuracy", "test_agreement"])
def test_each_group_has_a_curve_and_each_source_a_share(tmp_path: Path, what: str) -> None:
    directory = made_run(tmp_path / "mixed")
    assert not {"groups", "shares"} & set(figures(page(directory)))
    with_groups(directory, ["north", "<b>south"], what)
    with_sources(directory, ["wiki", "code"])
    whole = page(directory)
    drawn = figures(whole)
    assert [trace["name"] for trace in drawn["groups"]["data"]] == ["north", "&lt;b&gt;south"]
    assert [trace["y"] for trace in drawn["groups"]["data"]] == [[0.0] * 6, [0.5] * 6]
    captions = dict(re.findall(r'id="([a-z]+)-caption">(.*?)</p>', whole))
    assert captions["groups"].endswith(
        f'From <a href="metrics.csv"><code>metrics.csv</code></a>: <code>{what}_by_group/GROUP</code>.'
    )
    assert ("lower than its accuracy" in captions["groups"]) == (what == "test_agreement")
    for name in ("shares", "influences"):
        assert 'From <a href="mixture.csv"><code>mixture.csv</code></a>: ' in captions[name]
    assert '<a href="#groups-title">by group</a> · <a href="#shares-title">shares of the sources</a>' in whole
    assert 'id="groups-title"' in whole


def test_names_of_many_sources_leave_room_for_their_lines(tmp_path: Path) -> None:
    directory = made_run(tmp_path / "mixed")
    with_sources(directory, [f"source {number}" for number in range(64)])
    look = figures(page(directory))["shares"]["layout"]
    assert look["height"] - look["margin"]["t"] - look["margin"]["b"] >= 140


def test_a_run_that_did_not_come_to_its_end(tmp_path: Path) -> None:
    directory = made_run(tmp_path / "early", ended=False, settings={"epochs": 60})
    text = words(page(directory, ended="It was stopped; a checkpoint of step 12 is there."))
    assert "Not at its end: 6 of 60 epochs are done. It was stopped; a checkpoint of step 12 is there." in text
    assert "Said when the run has come to its end." in text
    assert "test accuracy 0" not in text


def test_a_run_whose_first_epoch_goes_on(tmp_path: Path) -> None:
    directory = made_run(tmp_path, epochs=0, ended=False, settings={"epochs": 3})
    text = words(page(directory))
    assert "0 of 3 epochs" in text
    assert "The ledger has no rows yet." in text
    assert "No epoch has ended yet." in text


def test_a_damaged_ledger_costs_its_figures_alone(tmp_path: Path) -> None:
    directory = made_run(tmp_path)
    (tmp_path / "ledger/epoch-0003.parquet").write_bytes(b"nothing")
    whole = page(directory)
    assert list(figures(whole)) == DRAWN[:6]
    assert "of the ledger cannot be read" in words(whole)
    assert list(figures(page(directory, most_rows=10))) == DRAWN[:6]


def test_a_ledger_that_takes_too_long_is_drawn_when_it_is_asked_for(tmp_path: Path) -> None:
    directory = made_run(tmp_path)
    whole = page(directory, most_rows=359)
    assert list(figures(whole)) == DRAWN[:6]
    assert f"The ledger has 360 rows; ray-mentor report {tmp_path} draws them." in words(whole)
    assert "belief" in figures(page(directory, most_rows=360))


def test_rows_of_the_matrix_are_given_labels() -> None:
    """Three that are given bee are apes."""
    matrix = np.array([[5, 3, 0], [0, 4, 0], [0, 0, 2]])
    figure = matrix_figure(Audit(pa.table({}), ("ape", "bee", "cow"), None, matrix))
    assert figure is not None
    assert figure["data"][0]["z"] == [[None, None, None], [3, None, None], [None, None, None]]


def test_of_a_large_ledger_nothing_is_drawn_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = made_run(tmp_path)
    monkeypatch.setattr(written, "MOST_ROWS", 359)
    assert report_at_end(directory, samples_of(directory)) is None
    assert "The ledger has 360 rows; ray-mentor report " in words((tmp_path / REPORT).read_text())


def test_hostile_names_are_text(tmp_path: Path) -> None:
    result = made_result(notes=[HOSTILE], method=HOSTILE, versions={HOSTILE: HOSTILE})
    settings = {"run_name": HOSTILE, "data": HOSTILE, "student": HOSTILE, "noise": HOSTILE}
    directory = made_run(tmp_path, result=result, classes=(HOSTILE, "<b>", "--ink"), settings=settings)
    whole = page(directory, ended=HOSTILE)
    assert "<script>alert" not in whole
    assert "<img" not in whole.replace('<img src="data:', "")
    assert "\x1b" not in whole
    assert "<img" not in json.dumps(figures(whole)), "nor of what plotly reads as HTML"


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a run: it has no config.toml; give the folder that the run named"):
        write_report(RunDirectory(str(tmp_path)))


@pytest.mark.parametrize(("file", "content"), [("result.json", b"[1]"), ("metrics.csv", b'"a","b"\n1\n')])
def test_a_damaged_file_is_named(tmp_path: Path, file: str, content: bytes) -> None:
    directory = made_run(tmp_path)
    directory.write(file, content)
    with pytest.raises(UserError, match=f"{file} cannot be read .*; put it back"):
        page(directory)


@pytest.mark.parametrize(
    "result",
    [{}, {"trusted_accuracy": "x"}, {"notes": 3}, {"versions": [1]}, {"guards": 3}, {"phase_seconds": 4}],
    ids=lambda result: ",".join(result) or "nothing",
)
def test_a_result_that_lacks_what_a_run_writes_is_named(tmp_path: Path, result: dict[str, object]) -> None:
    directory = made_run(tmp_path)
    whole = json.loads(directory.read("result.json") or b"")
    directory.write("result.json", json.dumps(whole | result if result else result).encode())
    with pytest.raises(UserError, match=r"result.json does not hold what a run writes there \(.*\); put it back, or"):
        page(directory)


def test_a_page_that_cannot_be_written_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = made_run(tmp_path)
    assert report_at_end(directory, samples_of(directory)) is None
    assert (tmp_path / REPORT).read_text() == page(directory, samples=samples_of(directory))

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(written, "write_report", broken)
    assert report_at_end(directory, samples_of(directory)) == (
        "no report.html was written (RuntimeError: boom); the run is whole without it, and ray-mentor report RUN makes "
        "one"
    )


def test_without_plotly_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("run.page", "page.document", "page.plotly_js"):
        monkeypatch.delitem(sys.modules, f"ray_mentor.report.{module}")
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    directory = made_run(tmp_path)
    said = report_at_end(directory, samples_of(directory))
    assert said is not None
    assert "needs plotly, which is not installed; pip install 'ray-mentor[ray]'" in said
    assert not (tmp_path / REPORT).exists()


def test_where_all_samples_count_the_same_nothing_is_said_of_weights(tmp_path: Path) -> None:
    uniform = page(made_run(tmp_path / "plain", settings={"method": "uniform"}))
    assert list(figures(uniform)) == [name for name in DRAWN if name not in OF_WEIGHTS]
    assert "All samples counted the same: there is no mentor" in words(uniform)
    for place in OF_WEIGHTS | {"grid", "rule"}:
        assert f'"#{place}-title"' not in uniform
        assert f'id="{place}-title"' not in uniform


@pytest.mark.parametrize(
    ("method", "who"),
    [("mentornet-pd", "the mentor"), ("self-paced", "the method"), ("rule:any.json", "the rule")],
)
def test_weights_are_said_to_be_of_who_gave_them(method: str, who: str, tmp_path: Path) -> None:
    text = words(page(made_run(tmp_path / "first", settings={"method": method})))
    assert f"The mean of what {who} said;" in text
    assert ("What the mentor would say" in text) == (who == "the mentor")
    assert "All samples counted the same" not in text
