"""A comparison's page and tables: what they say, that hostile names are text, and that plotly knows every word."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from typing import Any

import plotly.graph_objects as go
import pytest
from compared_runs import failed, runs
from page_text import figures, without_plotly, words
from rich.console import Console

from ray_mentor.report.compare.page import page
from ray_mentor.report.compare.tables import as_csv, closing_tables, columns_of, failures, level_text, markdown
from ray_mentor.run.over_seeds.advice import advice_of
from ray_mentor.run.over_seeds.lines import levels_of, lines

ON = "test_accuracy"
SOME = {"uniform-trusted": (0.80, 0.82), "oracle": (0.90, 0.95), "gce": (0.85, 0.88), "mentornet": (0.86, 0.91)}
HOSTILE = "<img src=x onerror=alert(1)>|</script>`x`\n**b**"


def compared(rows: Sequence[Mapping[str, Any]], **changes: Any) -> dict[str, Any]:
    levels = [
        {"level": list(at), **advice_of([row for row in rows if (row["noise"], row["meta_size"]) == at], ON)}
        for at in levels_of(rows)
    ]
    whole = {
        "data": "digits",
        "student": "mlp",
        "epochs": 4,
        "seeds": [0, 1],
        "says": {row["method"]: f"what {row['method']} is" for row in rows},
        "notes": [],
        "seconds": 12.0,
        "versions": {"torch": "2"},
        "on": ON,
        "levels": levels,
        "lines": lines(list(rows), ON),
    }
    return {**whole, **changes}


def curves_of(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**row, "epoch": epoch, ON: row[ON] * epoch / 4}
        for row in rows
        if row["error"] is None
        for epoch in range(1, 5)
    ]


def made(rows: Sequence[Mapping[str, Any]], **changes: Any) -> str:
    comparison = compared(rows, **changes)
    return page(comparison["lines"], rows, curves_of(rows), comparison)


def test_the_page_says_what_to_take() -> None:
    rows = runs(SOME, {"mentornet": 15.0, "gce": 11.0})
    whole = made(rows)
    text = words(whole)
    assert text.startswith("4 methods on digits With the same splits, schedule and initial student at each seed")
    assert compared(rows)["levels"][0]["text"] in text
    assert '<p class="verdict open">' in whole
    assert '<tr class="best"><td title="what mentornet is">mentornet</td>' in whole
    assert text.index("oracle 2 0.924 ± 0.035 0.925") < text.index(
        "mentornet 2 0.884 ± 0.035 0.885 65 % 0.750 15 s 1.50"
    )


def test_each_seed_is_a_dot_and_each_method_a_bar() -> None:
    rows = runs(SOME)
    bars, dots = figures(made(rows))["accuracy0"]["data"]
    assert bars["y"] == ["uniform-trusted", "gce", "mentornet", "oracle"], "the best on top"
    assert bars["x"] == pytest.approx([0.81, 0.865, 0.885, 0.925])
    assert sorted(zip(dots["y"], dots["x"], strict=True)) == sorted(
        (row["method"], row[f"{ON}_selected"]) for row in rows
    )


def test_cost_and_curves() -> None:
    drawn = figures(made(runs(SOME, {"mentornet": 15.0})))
    [points] = drawn["cost0"]["data"]
    assert dict(zip(points["text"], points["x"], strict=True))["mentornet"] == 15.0
    lines_by_name = {trace["name"]: trace for trace in drawn["curves0"]["data"]}
    assert lines_by_name["gce"]["x"] == [1, 2, 3, 4]
    assert lines_by_name["gce"]["y"][-1] == pytest.approx(0.864)


def test_a_section_a_level() -> None:
    rows = [*runs(SOME), *({**row, "noise": "none"} for row in runs(SOME))]
    whole = made(rows)
    assert set(figures(whole)) == {f"{name}{level}" for name in ("accuracy", "cost", "curves") for level in (0, 1)}
    assert "noise symmetric:0.4, 100 trusted samples" in words(whole)


def test_plotly_knows_every_word_of_the_figures() -> None:
    for figure in figures(made(runs(SOME))).values():
        bare = json.loads(re.sub(r'"--[a-z-]+"', '"#123456"', json.dumps(figure)))
        go.Figure(data=bare["data"], layout=bare["layout"])


def test_errors_are_said_and_nothing_is_drawn_of_what_failed() -> None:
    whole = made([*runs(SOME), failed("sce", 0, "loss is nan")])
    assert "Errorssce, noise symmetric:0.4, 100 trusted samplesseed 0: loss is nan" in words(whole)
    assert "sce" not in figures(whole)["accuracy0"]["data"][0]["y"]
    nothing = made([failed("sce", 0, "loss is nan")])
    assert figures(nothing) == {}
    assert "No run has an accuracy to draw." in words(nothing)


class Elements(HTMLParser):
    """What a browser makes of a page."""

    def __init__(self, whole: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.feed(whole)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)


def test_hostile_names_are_text() -> None:
    rows = [*runs({**SOME, HOSTILE: (0.99, 0.98)}), failed(HOSTILE + "2", 0, HOSTILE)]
    whole = made(rows, data=HOSTILE, student=HOSTILE, notes=[HOSTILE], versions={HOSTILE: HOSTILE})
    assert "img" not in Elements(without_plotly(whole)).tags
    assert "<img" not in json.dumps(figures(whole)), "nor of what plotly reads as HTML"
    assert whole.count("</script>") == 4
    text = markdown(lines(rows, ON), ON, compared(rows)["levels"], compared(rows, data=HOSTILE, notes=[HOSTILE]))
    assert "<img" not in text
    [row] = [
        line for line in text.splitlines() if line.startswith("| &lt;img") and "990" not in line and "x2" not in line
    ][:1]
    assert row.replace("\\|", "").count("|") == 11, "one cell"


def test_the_csv_has_the_named_columns() -> None:
    found = lines([*runs(SOME), failed("sce", 0, "boom, twice")], ON)
    rows = list(csv.DictReader(io.StringIO(as_csv(found, ON))))
    assert list(rows[0]) == [
        "method", "seeds", "test_accuracy", "test_accuracy_std", "test_accuracy_selected", "gap_closed", "noise_auroc",
        "train_seconds", "seconds_ratio", "peak_memory_mb", "params", "error",
    ]  # fmt: skip
    assert rows[1]["method"] == "mentornet"
    assert (rows[1]["test_accuracy"], rows[1]["gap_closed"]) == ("0.884", "0.652174")
    assert (rows[-1]["method"], rows[-1]["test_accuracy"], rows[-1]["error"]) == ("sce", "", "seed 0: boom, twice")


def test_columns_of_levels_and_of_trusted_samples() -> None:
    rows = [*runs(SOME), *({**row, "meta_size": 10} for row in runs(SOME))]
    assert columns_of(lines(rows, "trusted_accuracy"), "trusted_accuracy")[:5] == [
        "meta_size", "method", "seeds", "trusted_accuracy", "trusted_accuracy_std",
    ]  # fmt: skip


def test_the_terminal_has_room_for_it() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    comparison = compared(runs({**SOME, "mentormix-uniform": (0.5, 0.6)}, {"gce": 12345.0}))
    for table in closing_tables(comparison["lines"], ON, comparison["levels"]):
        console.print(table)
    text = console.export_text()
    assert "test accuracy at noise symmetric:0.4, 100 trusted samples" in text
    assert re.search(r"^mentormix-uniform +2 +0.549 ± 0.071 +0.550 +−226 % +0.750 +10 s +", text, re.MULTILINE)


def test_data_whose_labels_came_wrong_are_not_said_to_have_no_noise() -> None:
    assert level_text(("none", 30)) == "no noise added, 30 trusted samples"
    assert level_text(("symmetric:0.4", 0)) == "noise symmetric:0.4, 0 trusted samples"


def test_where_there_are_levels_it_is_said_at_which_a_method_failed() -> None:
    rows = [*runs(SOME), {**failed("sce", 0, "boom"), "meta_size": 0}]
    found = lines(rows, ON)
    (at_one,), (at_two,) = failures(found, [1]), failures(found, [1, 2])
    assert at_one == ("sce", "seed 0: boom")
    assert at_two == ("sce at noise symmetric:0.4, 0 trusted samples", "seed 0: boom")


def test_markdown() -> None:
    rows = runs(SOME)
    text = markdown(lines(rows, ON), ON, compared(rows)["levels"], compared(rows, notes=["left out"]))
    assert text.startswith(
        "# Methods on digits\n\nStudent mlp, 4 epochs, seeds 0, 1. Accuracy: test accuracy, of the last"
    )
    assert "| mentornet | 2 | 0.884 ± 0.035 | 0.885 | 65 % | 0.750 | 10 s | 1.00 | 500 MB | 1,234 |\n" in text
    assert "## Notes\n\n- left out\n" in text
