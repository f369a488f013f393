"""The rule of a run on its page: its curves beside the mean of what the mentor said, how well it says it, its text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pytest
from made_runs import CLASSES, made_ledger, made_run
from page_text import figures, words
from scipy import stats

from ray_mentor import Rule, cli
from ray_mentor.core.mentor.rule import RULE_FILE
from ray_mentor.report.run.page import page
from ray_mentor.run.directory import RunDirectory

HOSTILE = "</script><script>alert('it')</script><img src=x onerror=alert(1)>\x1b[31m"
AT, WEIGHTS = np.array([0.2, 0.9, 1.6, 2.5]), np.array([0.95, 0.8, 0.2, 0.05])
OTHERS = {"measured_on": ["two", "three"], "r_squared": 0.91, "spearman": 0.82, "agreement": 1}
PROGRESS = np.linspace(0.05, 0.95, 30)


def run_with(folder: Path, rule: Rule) -> RunDirectory:
    directory = made_run(folder)
    directory.write(RULE_FILE, rule.text().encode())
    return directory


def over_time(curves: int, shift: tuple[float, ...] = ()) -> Rule:
    weights = np.stack([WEIGHTS**power for power in np.linspace(0.5, 2, curves)])
    return Rule("loss", AT, weights, PROGRESS[:curves], np.array(shift))


def table(whole: str, name: str) -> list[list[str]]:
    found = re.search(rf"<table id='{name}'>(.*?)</table>", whole, re.DOTALL)
    assert found is not None
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", found[1])]


def rows() -> Any:
    """Of the ledger, as the page sees it: in the order of steps."""
    return made_ledger(60, 6).to_pandas().sort_values("step", kind="stable")


def weighed(ledger: pa.Table, by: Callable[[Any], Any]) -> pa.Table:
    """The ledger of another mentor."""
    place = ledger.schema.get_field_index("scored_weight")
    said = pa.array(by(ledger["scored_weight"].to_numpy()), ledger.schema.field(place).type)
    return ledger.set_column(place, ledger.schema.field(place), said)


def test_a_curve_beside_what_the_mentor_said(tmp_path: Path) -> None:
    rule = Rule("loss", AT, WEIGHTS[None], made_from={"runs": ["first"], **OTHERS})
    whole = page(run_with(tmp_path / "first", rule))
    line, dots = figures(whole)["rule"]["data"]
    assert (line["x"], line["y"]) == (AT.tolist(), WEIGHTS.tolist())
    ledger = rows()
    nearest = np.abs(ledger["loss"].to_numpy()[:, None] - AT).argmin(axis=1)
    said = ledger["scored_weight"].to_numpy(np.float64)
    assert dots["y"] == pytest.approx([said[nearest == place].mean() for place in range(4)], abs=1e-4)
    assert dots["text"] == [str((nearest == place).sum()) for place in range(4)]
    assert dots["marker"]["size"][int(np.argmax(np.bincount(nearest)))] == max(dots["marker"]["size"])
    assert "caption" in whole
    assert (
        "It weighs by loss, and costs nothing: ray-mentor train --method "
        f"rule:{tmp_path}/first/rule.json. Line: the rule." in words(whole)
    )
    assert f"\n  &quot;at&quot;: {AT.tolist()}" in whole


def test_how_well_it_says_it_here_and_where_it_was_measured(tmp_path: Path) -> None:
    rule = Rule("loss", AT, WEIGHTS[None], made_from={"runs": ["first"], **OTHERS})
    head, here, when = table(page(run_with(tmp_path / "first", rule)), "rule-fidelity")
    assert head == ["how well it says what was said in", "R²", "Spearman", "Spearman in a step", "same side of ½"]
    assert when == ["other runs, when it was made: two, three", "0.910", "0.820", "–", "1.000"]
    ledger = rows()
    said, by_rule = ledger["scored_weight"].to_numpy(np.float64), rule(ledger["loss"].to_numpy(np.float64))
    in_step = [
        stats.spearmanr(each["scored_weight"], rule(each["loss"].to_numpy(np.float64))).statistic
        for _, each in ledger.groupby("step")
    ]
    assert here[0] == "this run, which it was made of"
    assert [float(value) for value in here[1:]] == pytest.approx(
        [
            1 - ((said - by_rule) ** 2).sum() / ((said - said.mean()) ** 2).sum(),
            stats.spearmanr(said, by_rule).statistic,
            np.mean(in_step),
            ((said > 0.5) == (by_rule > 0.5)).mean(),
        ],
        abs=1e-3,
    )


@pytest.mark.parametrize(
    ("made_from", "said"),
    [
        ({}, ["this run"]),
        ({"runs": ["other"], "measured_on": []}, ["this run"]),
        ({"runs": ["first"], "measured_on": [], "r_squared": 0.5},
         ["this run, which it was made of", "when it was made: samples of the same run that were held out"]),
        ({"runs": "first", "measured_on": 3, "r_squared": "x"}, ["this run"]),
        ({"runs": [], "measured_on": [HOSTILE], "r_squared": 10**400, "spearman": [1]}, ["this run", None]),
    ],
)  # fmt: skip
def test_what_its_file_says_of_itself_is_not_believed_to_be_anything(
    made_from: dict[str, Any], said: list[str | None], tmp_path: Path
) -> None:
    whole = page(run_with(tmp_path / "first", Rule("loss", AT, WEIGHTS[None], made_from=made_from)))
    found = [row[0] for row in table(whole, "rule-fidelity")[1:]]
    assert [each for each, expected in zip(found, said, strict=True) if expected not in (None, each)] == []
    assert "<script>alert" not in whole
    assert "<img" not in whole
    assert "\x1b" not in whole


def test_curves_over_progress_have_a_slider(tmp_path: Path) -> None:
    whole = page(run_with(tmp_path / "first", over_time(4)))
    drawn = figures(whole)["rule"]
    assert [frame["label"] for frame in drawn["frames"]] == [f"progress {each:.2f}" for each in PROGRESS[:4]]
    assert [frame["data"][0]["y"] for frame in drawn["frames"]] == [
        [float(f"{value:.5g}") for value in row] for row in over_time(4).weights
    ]
    ledger = rows()
    when = ledger["step"].to_numpy() / (ledger["step"].max() + 1)
    late = np.abs(when[:, None] - PROGRESS[:4]).argmin(axis=1) == 3
    low = np.abs(ledger["loss"].to_numpy()[:, None] - AT).argmin(axis=1) == 0
    assert drawn["frames"][3]["data"][1]["text"][0] == str((late & low).sum())
    assert 'id="rule-slider"' in whole
    assert len(figures(page(run_with(tmp_path / "many", over_time(30))))["rule"]["frames"]) == 20


def test_plotly_knows_every_word_of_it(tmp_path: Path) -> None:
    figure = figures(page(run_with(tmp_path / "first", over_time(3))))["rule"]
    for frame in figure["frames"]:
        bare = json.loads(re.sub(r'"--[a-z-]+"', '"#123456"', json.dumps([frame["data"], figure["layout"]])))
        go.Figure(data=bare[0], layout=bare[1])


def test_a_class_table_is_a_table_by_names(tmp_path: Path) -> None:
    directory = run_with(tmp_path / "first", over_time(2, (0.5, -1.25, 0.0)))
    directory.write("classes.json", json.dumps([HOSTILE, *CLASSES[1:]]).encode())
    whole = page(directory)
    first, *others = table(whole, "rule-classes")
    assert first[1] == "+0.50"
    assert others == [["dog", "-1.25"], ["owl", "+0.00"]]
    assert "<script>alert" not in whole
    assert "It weighs by loss and progress, and given class, and costs nothing" in words(whole)


def test_a_run_without_one_says_how_it_gets_one(tmp_path: Path) -> None:
    whole = page(made_run(tmp_path / "a b"))
    assert "rule" not in figures(whole)
    assert (
        f"The mentor as a ruleNone has been made of this run: ray-mentor distill '{tmp_path}/a b' makes one, and this "
        "page, written anew, shows it." in words(whole)
    )


def test_a_run_whose_samples_all_weigh_the_same_has_none(tmp_path: Path) -> None:
    text = words(page(made_run(tmp_path / "first", ledger=weighed(made_ledger(60, 6), lambda said: 0 * said + 1))))
    assert "All samples were given the same weight: no rule can be made of that." in text
    assert "ray-mentor distill" not in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[1]", "first/rule.json is no rule (ValueError: 'it does not say that it is a ray_mentor rule')"),
        (over_time(2, (0.5, 1.0)).text().encode(), "labels hold 2, but this rule knows classes 0 to 1"),
        (Rule("loss", AT, WEIGHTS[None], in_nats=False).text().encode(),
         "first/rule.json is of losses in other units than the run's; remove it, and make it again"),
    ],
)  # fmt: skip
def test_one_that_cannot_be_drawn_costs_its_place_alone(content: bytes, said: str, tmp_path: Path) -> None:
    directory = made_run(tmp_path / "first")
    directory.write(RULE_FILE, content)
    whole = page(directory)
    assert "rule" not in figures(whole)
    assert "policy" in figures(whole)
    text = words(whole)
    assert "The mentor as a ruleNot drawn: " in text
    assert said in text


def test_distill_puts_it_where_the_page_finds_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_run(tmp_path / "first", ledger=weighed(made_ledger(120, 6), lambda said: 0.02 + 0.96 * said))
    assert cli.main(["distill", str(tmp_path / "first")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"is in {tmp_path}/first/rule.json")
    whole = page(RunDirectory(str(tmp_path / "first")))
    _, here, when = table(whole, "rule-fidelity")
    assert float(here[1]) > 0.5
    assert when[0] == "when it was made: samples of the same run that were held out"
    assert when[2:] == ["–"] * 3
    assert "rule" in figures(whole)


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        (["one", "two"], "a rule of 2 runs lies in no folder of theirs; say where it goes: --out FILE"),
        (["s3://bucket/one"], "s3://bucket/one is no folder of this machine; say where the rule goes: --out FILE"),
    ],
)
def test_where_a_rule_goes_has_to_be_said(runs: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["distill", *runs]) == 2
    assert capsys.readouterr().err == f"error: {said}\n"
