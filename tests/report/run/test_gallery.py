"""The suspicious samples: which they are, what is shown of each, and that nothing else is."""

from __future__ import annotations

import base64
import html
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from made_runs import CLASSES, made_ledger, made_run, samples_of
from page_text import figures, words
from PIL import Image

from ray_mentor.data import FeatureInputs, ImageInputs, Samples, samples_from_dataset
from ray_mentor.report.run.gallery.pictures import shown_inputs
from ray_mentor.report.run.gallery.sparkline import HIGH, WIDE, sparkline
from ray_mentor.report.run.gallery.suspicious import in_pictures
from ray_mentor.report.run.page import page
from ray_mentor.run.audit.audit import Audit


def cards(whole: str) -> list[str]:
    return re.findall(r'<figure class="card".*?</figure>', whole, re.DOTALL)


def known(card: str) -> dict[str, str]:
    return dict(re.findall(r'data-(\w+)="([^"]*)"', card.partition(">")[0]))


def test_they_are_the_audits_first_hundred(tmp_path: Path) -> None:
    directory = made_run(tmp_path, samples=150)
    table = Audit.from_run(directory).table.slice(0, 100).to_pylist()
    whole = page(directory, samples=samples_of(directory))
    found = list(map(known, cards(whole)))
    assert len(found) == 100
    assert [(int(each["id"]), each["given"], each["suggested"]) for each in found] == [
        (row["sample_id"], row["given_label"], row["suggested_label"]) for row in table
    ]
    assert [float(each["score"]) for each in found] == pytest.approx([row["score"] for row in table], abs=1e-6)
    assert "The 100 most suspicious of 150 samples" in words(whole)
    assert "of the labels look wrong" in words(whole)


def test_each_has_its_own_picture(tmp_path: Path) -> None:
    directory = made_run(tmp_path)
    whole = page(directory, samples=samples_of(directory))
    for card in cards(whole):
        [(data, alt)] = re.findall(r'<img class="sharp" src="data:image/png;base64,([^"]*)" alt="([^"]*)"', card)
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        own = known(card)
        assert alt == f"sample {own['id']}, given {own['given']}"
        assert set(pixels.ravel().tolist()) == {2 * (int(own["id"]) - 100)}


def test_large_pictures_become_small_ones(tmp_path: Path) -> None:
    directory = made_run(tmp_path)
    pictures = torch.rand(60, 3, 300, 200)

    class Own(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 60

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return pictures[index], 0

    own = samples_from_dataset(Own(), labels=np.zeros(60, int), classes=CLASSES).inputs
    [data] = re.findall(r'src="data:image/webp;base64,([^"]*)"', page(directory, samples=samples_of(directory, own)))[
        :1
    ]
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (64, 96)


def test_colours_are_those_of_the_picture_and_a_quote_ends_no_text() -> None:
    pixels = np.zeros((1, 4, 4, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = 200, 100
    [shown] = shown_inputs(ImageInputs(pixels), np.array([0]), ['sample a" onerror="alert(1), given b'])
    [data] = re.findall(r'src="data:image/png;base64,([^"]*)"', shown)
    assert np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))[0, 0].tolist() == [200, 100, 0]
    assert 'alt="sample a&quot; onerror=&quot;alert(1), given b"' in shown


def test_features_are_numbers(tmp_path: Path) -> None:
    directory = made_run(tmp_path)
    values = np.arange(60 * 14, dtype=np.float32).reshape(60, 14) / 4
    [first, *_] = cards(page(directory, samples=samples_of(directory, FeatureInputs(values))))
    row = values[int(known(first)["id"]) - 100]
    assert ", ".join(f"{value:.4g}" for value in row[:12]) + " … (14 values)" in first


def test_without_pictures_it_is_said_why(tmp_path: Path) -> None:
    directory = made_run(tmp_path)
    samples = samples_of(directory)
    others = Samples(samples.inputs, samples.ids, (samples.labels + 1) % 3, None, CLASSES)
    says = "No pictures: the data are others now than those that the run was trained on."
    for given in (others, None):  # its settings say digits, which these are none of
        whole = page(directory, samples=given)
        assert says in words(whole)
        assert "<img" not in whole
        assert len(cards(whole)) == 60
    elsewhere = made_run(tmp_path / "b", settings={"data": "gone.parquet"})
    assert "No pictures: the data cannot be read again (" in words(page(elsewhere))


def test_strings_for_ids(tmp_path: Path) -> None:
    directory = made_run(tmp_path)
    names = [f"photo {number}" for number in range(60)]
    table = pa.table({"sample_id": np.arange(100, 160), "name": pa.array(names, pa.large_string())})
    pyarrow.parquet.write_table(table, tmp_path / "ids.parquet")
    plain = [known(card) for card in cards(page(made_run(tmp_path / "plain")))]
    for card, own in zip(cards(page(directory)), plain, strict=True):
        assert known(card)["id"] == names[int(own["id"]) - 100]
    assert cards(page(directory))[0].count("<path") == 4


def test_an_id_is_copied_as_it_is(tmp_path: Path) -> None:
    """However long, and whatever is in it: what is shown of it is cut short, and what is copied is not."""
    long = "s3://bucket/" + "f/" * 400
    names = [f"{long}{number}  a<b>\"&'\r\n\x1b\u202e" for number in range(58)] + ["x" * 3000, "\x00\x9b"]
    directory = made_run(tmp_path)
    table = pa.table({"sample_id": np.arange(100, 160), "name": pa.array(names, pa.large_string())})
    pyarrow.parquet.write_table(table, tmp_path / "ids.parquet")
    found = cards(page(directory))
    ids = {as_a_browser_reads(known(card)["id"]) for card in found}
    assert ids >= set(names[:58])
    huge, odd = sorted((known(card)["id"] for card in found if " disabled>" in card), reverse=True)
    assert huge.startswith("x" * 2000 + "…")
    assert odd == r"\x00\x9b", "which stand for nothing in HTML"
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", "".join(found))
    assert all(len(card) < 12_000 for card in found)


def as_a_browser_reads(value: str) -> str:
    """html.unescape leaves controls out."""
    return html.unescape(re.sub(r"&#(\d+);", lambda found: chr(int(found[1])), value))


def test_classes_of_long_names_are_told_apart(tmp_path: Path) -> None:
    names = ["x" * 3000 + end for end in "abc"]
    whole = page(made_run(tmp_path, classes=names))
    given = {known(card)["given"] for card in cards(whole)}
    assert len(given) == 3
    options = re.findall(r'<option value="(x[^"]*)"', whole.partition('id="by-given"')[2].partition("</select>")[0])
    assert set(options) == given


def test_the_course_of_a_sample_and_of_its_class(tmp_path: Path) -> None:
    ledger = made_ledger(60, 6)
    directory = made_run(tmp_path, ledger=ledger)
    rows = ledger.to_pandas()
    card = cards(page(directory))[0]
    own = rows[rows["sample_id"] == int(known(card)["id"])].sort_values("epoch")
    of_class = rows[rows["given_label"] == own["given_label"].iloc[0]].groupby("epoch")
    mean, weight = of_class["loss"].mean(), of_class["scored_weight"].mean()
    assert f'mean of its class from {weight.iloc[0]:.2f} to {weight.iloc[-1]:.2f}"' in card.partition("weight ")[2]
    assert (
        f'aria-label="loss from {own["loss"].iloc[0]:.2f} to {own["loss"].iloc[-1]:.2f}; '
        f'mean of its class from {mean.iloc[0]:.2f} to {mean.iloc[-1]:.2f}"'
    ) in card


def test_a_line_goes_through_its_values() -> None:
    own, mean = np.array([0.0, 2.0, np.nan, 1.0, 4.0]), np.zeros(5)
    drawn = sparkline(own, mean, 2.0, "loss")
    [path] = re.findall(r'class="own" d="([^"]*)"', drawn)
    step = (WIDE - 4) / 4
    low, high = HIGH - 2, 2
    assert path == (
        f"M2 {low:.1f}L{2 + step:.0f} {high:.1f}M{2 + 3 * step:.0f} {(low + high) / 2:.1f}L{WIDE - 2} {high:.1f}"
    ), "interrupted where nothing is known, and cut off at the top"


def test_the_matrix_is_the_audits(tmp_path: Path) -> None:
    directory = made_run(tmp_path, samples=150)
    audit = Audit.from_run(directory)
    assert audit.matrix is not None
    [heat] = figures(page(directory))["matrix"]["data"]
    wrong = audit.matrix - np.diag(audit.matrix.diagonal())
    assert [[cell or 0 for cell in row] for row in heat["z"]] == wrong.T.tolist()
    assert wrong.sum() > 20
    assert (heat["zmin"], heat["zmax"]) == (0, wrong.max()), "Plotly heeds the one with the other alone"


def test_a_ledger_without_predictions_has_no_suggestions(tmp_path: Path) -> None:
    ledger = made_ledger(60, 6).drop_columns(["predicted_label", "margin"])
    directory = made_run(tmp_path, ledger=ledger)
    whole = page(directory)
    assert "matrix" not in figures(whole)
    assert "The ledger has no predictions" in words(whole)
    assert {known(card)["suggested"] for card in cards(whole)} == {""}
    assert "→" not in "".join(cards(whole))


def test_other_samples_with_the_same_labels_are_not_shown() -> None:
    ids = np.arange(1, 4)
    samples = Samples(ImageInputs(np.zeros((3, 8, 8, 1), np.uint8)), ids, np.zeros(3, int), None, CLASSES)
    shown, lacks = in_pictures(samples, pa.table({"sample_id": [1, 9], "given_label": [CLASSES[0]] * 2}))
    assert (shown, lacks) == (None, "the data are others now than those that the run was trained on")
    assert in_pictures(samples, pa.table({"sample_id": [1, 3], "given_label": [CLASSES[0]] * 2}))[1] == ""


def test_classes_that_are_counted_otherwise_by_now_are_the_same_by_name() -> None:
    """Labels 1 to C were C + 1 classes before they were C."""
    inputs, labels = ImageInputs(np.zeros((3, 8, 8, 1), np.uint8)), np.arange(3)
    samples = Samples(inputs, np.arange(3), labels, None, ("1", "2", "3"))
    audited = pa.table({"sample_id": [2, 0], "given_label": pa.array(["3", "1"]).dictionary_encode()})
    assert in_pictures(samples, audited)[1] == ""
    assert in_pictures(samples.with_labels(labels, None), audited.slice(0, 1))[1] == ""
