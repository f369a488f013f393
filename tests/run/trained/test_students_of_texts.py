"""A student of texts, from a column to predictions: by this package, and by Hugging Face's own from the folder."""

from __future__ import annotations

import csv
import functools
import html
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import small_texts
import torch
from made_once import made_once

from ray_mentor import CurriculumTrainer, Student, TrainConfig, train
from ray_mentor.errors import UserError
from ray_mentor.report.terminal import RunDisplay
from ray_mentor.students import make_student, source_of

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.long  # their package takes seconds to load

ROWS = 140
SETTINGS: dict[str, Any] = {
    "text_column": "review",
    "noise": "symmetric:0.1",
    "meta_size": 20,
    "optimizer": "adamw",
    "learning_rate": 0.01,
    "epochs": 5,
    "batch_size": 16,
    "workers": 0,
    "run_name": "first",
}


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``reviews.csv``, ``bert/`` and a run on them, ``runs/first``."""

    def make(folder: Path) -> None:
        small_texts.reviews(ROWS).to_csv(folder / "reviews.csv", index=False)
        name = small_texts.bert(folder / "bert")
        train(
            TrainConfig().changed(data=f"{folder}/reviews.csv", student=name, storage_path=f"{folder}/runs", **SETTINGS)
        )

    return made_once(tmp_path_factory, "texts", make)


@pytest.fixture
def run(place: Path) -> str:
    return f"{place}/runs/first"


def new_texts(place: Path) -> list[str]:
    return small_texts.reviews(30, seed=7, most=14)["review"].tolist()


def test_a_run_learns_and_leaves_the_tokenizer(run: str) -> None:
    result = json.loads(Path(run, "result.json").read_text())
    assert result["test_accuracy"] > 0.65
    assert result["meta_updates"] > 3
    assert result["guards"]["inconsistent_updates"] == 0
    about = json.loads(Path(run, "student/student.json").read_text())["input"]
    assert (about["kind"], about["names"], about["most"], about["pad"]) == ("texts", ["review"], 16, 0)
    assert sorted(about["tokenizer"]) == ["tokenizer.json", "tokenizer_config.json"]


def test_a_pipeline_says_what_predict_says(
    place: Path, run: str, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")  # which a pipeline sets, and leaves so
    texts = new_texts(place)
    pd.DataFrame({"review": texts}).to_csv(tmp_path / "new.csv", index=False)
    code, said = command("predict", run, "--data", "new.csv", "--out", "p.parquet", "--probabilities", "--workers", "0")
    assert code == 0, said
    found = pq.read_table(tmp_path / "p.parquet").to_pandas()
    pipeline = transformers.pipeline("text-classification", f"{run}/student", device="cpu")
    theirs = pipeline(texts, truncation=True)
    assert found["class"].tolist() == [each["label"] for each in theirs]
    assert set(found["class"]) == {"no", "yes"}
    assert found["probability"].to_numpy() == pytest.approx([each["score"] for each in theirs], abs=1e-6)
    student = Student.from_run(run)
    assert student.predict(texts, batch_size=4) == pytest.approx(found[["p_no", "p_yes"]].to_numpy(), abs=1e-6)
    assert student.predict(pd.DataFrame({"review": texts})) == pytest.approx(student.predict(texts), abs=1e-6)
    assert student.predict(texts[0]) == pytest.approx(student.predict(texts)[:1], abs=1e-6)
    assert student.predict([]).shape == (0, 2)


def test_their_classes_open_the_folder(run: str) -> None:
    folder = f"{run}/student"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    text = "a very good film " * 9
    fed = tokenizer(text, return_tensors="pt", truncation=True)
    assert fed["input_ids"].shape == (1, 16)
    student = Student.from_run(run)
    assert student.prepare(text).tolist() == fed["input_ids"][0].tolist()
    with torch.no_grad():
        theirs = torch.softmax(model(**fed).logits, dim=1)
    assert student.predict(fed["input_ids"]) == pytest.approx(theirs.numpy(), abs=1e-6)


def test_the_folder_it_began_with_is_needed_no_more(place: Path, run: str, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    about = tmp_path / "run/student/student.json"
    about.write_text(about.read_text().replace(f"hf:{place}/bert", "hf:nowhere"))
    texts = new_texts(place)
    assert (Student.from_run(f"{tmp_path}/run").predict(texts) == Student.from_run(run).predict(texts)).all()


def test_evaluate(place: Path, run: str, command: Any, tmp_path: Path) -> None:
    small_texts.reviews(60, seed=11).rename(columns={"review": "words"}).to_json(
        tmp_path / "checked.jsonl", orient="records", lines=True
    )
    code, said = command("evaluate", run, "--data", "checked.jsonl")
    assert code == 2
    assert "has no column 'review'" in said
    assert "name the one of texts with --text-column (text is in words, label)" in said
    code, said = command("evaluate", run, "--data", "checked.jsonl", "--text-column", "words")
    assert code == 0, said
    figures = json.loads(Path(run, "evaluation.json").read_text())
    assert figures["accuracy"] > 0.65
    code, said = command("evaluate", run, "--data", f"{place}/reviews.csv")
    assert "samples were trained on by this run" in said


def cut_texts(place: Path, rows: int) -> str:
    """Writes some of 14 and of 15 words, of which 14 fit between [CLS] and [SEP] into the 16 tokens that the student
    takes; what is to be said of them.
    """
    long = small_texts.reviews(rows, seed=3, least=14, most=15)
    long.to_csv(place / "long.csv", index=False)
    cut = sum(len(text.split()) > 14 for text in long["review"])
    assert 0 < cut < rows
    return f"{cut} of {rows:,} texts have more than 16 tokens, and are cut there: the student does not see what follows"


@pytest.mark.parametrize("what", [("predict", "--out", "p.csv"), ("evaluate",)])
def test_texts_that_are_cut_are_counted(run: str, command: Any, tmp_path: Path, what: tuple[str, ...]) -> None:
    told = cut_texts(tmp_path, 300)  # more than are read at a time
    code, said = command(what[0], run, "--data", "long.csv", *what[1:], "--workers", "0")
    assert code == 0, said
    assert f"{told}\n" in said


def test_texts_that_are_empty(place: Path, run: str, command: Any, tmp_path: Path) -> None:
    """The others are predicted as without them."""
    texts = new_texts(place)
    pd.DataFrame({"review": texts}).to_parquet(tmp_path / "all.parquet")
    pd.DataFrame({"review": [texts[0], "", *texts[1:], None]}).to_parquet(tmp_path / "some.parquet")
    code, said = command("predict", run, "--data", f"{tmp_path}/some.parquet", "--out", f"{tmp_path}/no.parquet")
    assert code == 2
    assert "leave out all such (2): --skip-broken" in said
    for name, more in (("all", ()), ("some", ("--skip-broken",))):
        words = ("predict", run, "--data", f"{tmp_path}/{name}.parquet", "--out", f"{tmp_path}/{name}-said.parquet")
        code, said = command(*words, *more)
        assert code == 0
    assert "left out 2 texts without a word (skip_broken): row 1 of " in said
    whole, without = (pq.read_table(tmp_path / f"{name}-said.parquet") for name in ("all", "some"))
    assert without["sample_id"].to_pylist() == [0, *range(2, 31)]
    np.testing.assert_allclose(without["probability"], whole["probability"], atol=1e-6)


def test_workers_count_those_that_are_cut(local_ray: None, run: str, command: Any, tmp_path: Path) -> None:
    told = cut_texts(tmp_path, 1100)  # more than one stretch
    code, said = command("predict", run, "--data", "long.csv", "--out", "p.csv", "--workers", "1")
    assert code == 0, said
    assert f"{told}\n" in said


def test_a_stretch_of_empty_texts_is_passed_over(run: str, command: Any, tmp_path: Path) -> None:
    texts = pd.DataFrame({"review": [" "] * 5000 + ["good film"]})  # more than are made token ids at a time
    texts.to_parquet(tmp_path / "new.parquet")
    code, said = command("predict", run, "--data", "new.parquet", "--out", "p.csv", "--workers", "0", "--skip-broken")
    assert code == 0, said
    assert "1 predictions are in p.csv" in said


def test_texts_that_are_not_cut(run: str, command: Any, tmp_path: Path) -> None:
    small_texts.reviews(10).to_csv(tmp_path / "short.csv", index=False)
    code, said = command("predict", run, "--data", "short.csv", "--out", "p.csv", "--workers", "0")
    assert code == 0, said
    assert "cut" not in said


def test_export_takes_token_ids_of_any_length(run: str, command: Any) -> None:
    code, said = command("export", run, "--to", "torch", "--out", "s.pt2")
    assert code == 0, said
    assert "in: token ids (N, up to 16), as the tokenizer in " in said
    tokenizer = transformers.AutoTokenizer.from_pretrained(f"{run}/student")
    texts = ["a good film", "very bad", "the play was not good was it", "not"]
    program = torch.export.load("s.pt2").module()
    for some in (texts, texts[:1], ["good " * 20]):
        ids = tokenizer(some, padding=True, truncation=True, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            found = torch.softmax(program(ids), 1).numpy()
        assert found == pytest.approx(Student.from_run(run).predict(some), abs=1e-5)


def test_what_is_no_text(run: str) -> None:
    student = Student.from_run(run)
    with pytest.raises(UserError, match=r"^the inputs are not all texts, which the student takes; give a list of str"):
        student.predict(["good", 3])  # type: ignore[list-item]
    with pytest.raises(
        UserError, match=r"^the inputs are torch\.float32 of shape \(2, 5\), but the student takes token"
    ):
        student.predict(torch.zeros(2, 5))
    with pytest.raises(UserError, match=r"^the data frame has no column 'review', which the student was trained on "):
        student.predict(pd.DataFrame({"text": ["good"]}))
    with pytest.raises(UserError, match=r"^the student takes texts, but is given a int; give a string$"):
        student.prepare(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["../../evil.json", "/etc/passwd", "a/b.json", "c\\d", "", "..", "a\0b"])
def test_a_tokenizer_that_lies_elsewhere(run: str, tmp_path: Path, name: str) -> None:
    shutil.copytree(run, tmp_path / "run")
    file = tmp_path / "run/student/student.json"
    table = json.loads(file.read_text())
    table["input"]["tokenizer"] = {name: "0" * 64}
    file.write_text(json.dumps(table))
    with pytest.raises(UserError, match=r"cannot be read \(ValueError: a tokenizer in "):
        Student.from_run(f"{tmp_path}/run")


def test_a_tokenizer_that_was_changed(run: str, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    file = tmp_path / "run/student/tokenizer.json"
    file.write_text(file.read_text().replace("good", "nice"))
    with pytest.raises(UserError, match=r"student/tokenizer\.json is not the file that student/student\.json was wri"):
        Student.from_run(f"{tmp_path}/run")


# What a person looks at


def test_cards_show_the_texts_as_texts(place: Path, run: str) -> None:
    page = Path(run, "report.html").read_text()
    shown = [html.unescape(each) for each in re.findall(r'<p class="text">(.*?)</p>', page, re.DOTALL)]
    texts = set(small_texts.reviews(ROWS)["review"])
    assert len(shown) > 20
    assert set(shown) <= texts
    assert any("<script>alert(1)</script>" in each for each in shown)
    assert "<script>alert(1)" not in page
    ids = re.findall(r'<figure class="card" data-id="(\d+)"', page)
    rows = small_texts.reviews(ROWS)["review"]
    assert [rows[int(each)] for each in ids] == shown


def test_the_audit_shows_them_too(run: str, command: Any) -> None:
    code, said = command("audit", run, "--top", "30")
    assert code == 0, said
    table = pd.read_csv(f"{run}/audit.csv").head(30)
    texts = small_texts.reviews(ROWS)["review"]
    for row in table["sample_id"]:
        assert texts[row][:40] in said


def test_the_audit_s_files_have_them(place: Path, run: str, command: Any, tmp_path: Path) -> None:
    """From the end of the run on; without the data there is no column, and nothing is said."""
    texts = small_texts.reviews(ROWS)["review"]
    shutil.copytree(run, tmp_path / "run")
    for again in (False, True):
        if again:
            assert command("audit", "run")[0] == 0
        table = pq.read_table(tmp_path / "run/audit.parquet")
        assert len(table) > 80
        assert table["text"].to_pylist() == [texts[int(row)] for row in table["sample_id"].to_pylist()]
        assert pd.read_csv(tmp_path / "run/audit.csv")["text"].tolist() == table["text"].to_pylist()
    config = tmp_path / "run/config.toml"
    config.write_text(config.read_text().replace(f"{place}/reviews.csv", "gone.csv"))
    code, said = command("audit", "run")
    assert code == 0, said
    assert pd.read_csv(tmp_path / "run/audit.csv")["text"].tolist() == table["text"].to_pylist(), "they are kept"
    assert "gone" not in said
    for name in ("audit.csv", "audit.parquet"):
        (tmp_path / "run" / name).unlink()
    assert command("audit", "run")[0] == 0
    assert "text" not in pd.read_csv(tmp_path / "run/audit.csv").columns


@pytest.mark.parametrize("change", ["inserted", "swapped"])
def test_no_texts_stand_beside_ids_of_others(place: Path, run: str, command: Any, tmp_path: Path, change: str) -> None:
    """A row was put in at the top since the run; or two of one label have changed places."""
    shutil.copytree(run, tmp_path / "run")
    frame = small_texts.reviews(ROWS)
    table = pq.read_table(tmp_path / "run/audit.parquet")
    if change == "inserted":
        frame = pd.concat([frame.iloc[[-1]].assign(review="INSERTED"), frame])
    else:
        kind = frame.columns.drop("review")[0]
        swapped = [int(row) for row in table["sample_id"].to_pylist()]
        first = [row for row in swapped if frame[kind][row] == frame[kind][swapped[0]]]
        frame.loc[first, "review"] = frame["review"][first[::-1]].to_numpy()
    frame.to_csv(tmp_path / "reviews.csv", index=False)
    config = tmp_path / "run/config.toml"
    config.write_text(config.read_text().replace(f"{place}/reviews.csv", "reviews.csv"))
    assert command("pick", "run", "--count", "20", "--out", "ids.csv")[0] == 0
    assert "text" not in pd.read_csv(tmp_path / "ids.csv").columns
    if change == "inserted":
        for name in ("audit.csv", "audit.parquet"):
            (tmp_path / "run" / name).unlink()
    assert command("audit", "run")[0] == 0
    again = pq.read_table(tmp_path / "run/audit.parquet")
    assert "text" not in again.column_names if change == "inserted" else again["text"].equals(table["text"])


def test_a_long_text_is_its_beginning_in_the_audit_s_files(place: Path, tmp_path: Path) -> None:
    long = small_texts.reviews(60, least=60, most=80)
    long["review"] = long["review"].str.replace(" ", "\n ", n=1)
    long.to_csv(tmp_path / "long.csv", index=False)
    settings = {"data": f"{tmp_path}/long.csv", "student": f"hf:{place}/bert", "storage_path": str(tmp_path)}
    outcome = train(TrainConfig().changed(**{**SETTINGS, **settings, "epochs": 1}))
    found = pd.read_csv(f"{outcome.path}/audit.csv")
    texts = long["review"].str.replace("\n", "").str[:200]
    assert found["text"].tolist() == texts[found["sample_id"]].tolist()


@pytest.mark.parametrize("what", ["run", "data"])
def test_pick_has_them_beside_the_labels(place: Path, run: str, command: Any, tmp_path: Path, what: str) -> None:
    options = [run] if what == "run" else [f"{place}/reviews.csv", "--text-column", "review"]
    code, said = command("pick", *options, "--count", "10", "--out", "ids.csv")
    assert code == 0, said
    assert "--text-column review" in said
    with open(tmp_path / "ids.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    texts = small_texts.reviews(ROWS)["review"]
    assert len(rows) == 10
    assert [texts[int(row["sample_id"])] for row in rows] == [row["text"] for row in rows]


# Runs


def again(place: Path, storage: Path, **changes: Any) -> Any:
    settings = {"data": f"{place}/reviews.csv", "student": f"hf:{place}/bert", "storage_path": str(storage), **SETTINGS}
    return train(TrainConfig().changed(**{**settings, **changes}))


def same_student(one: str, other: str) -> bool:
    return Path(one, "student/model.safetensors").read_bytes() == Path(other, "student/model.safetensors").read_bytes()


def test_a_run_that_goes_on_has_the_same_bits(place: Path, run: str, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        _stopped_after_an_epoch(patch)
        with pytest.raises(KeyboardInterrupt):
            again(place, tmp_path, checkpoint_steps=1)
    outcome = again(place, tmp_path, checkpoint_steps=1, resume=True)
    assert same_student(outcome.path, run)


def _stopped_after_an_epoch(patch: pytest.MonkeyPatch) -> None:
    show = RunDisplay.show

    def stop(self: RunDisplay, row: Any) -> None:
        show(self, row)
        if row["kind"] == "epoch":
            raise KeyboardInterrupt

    patch.setattr(RunDisplay, "show", stop)


def test_a_mapped_file_gives_the_same_run(place: Path, run: str, tmp_path: Path) -> None:
    outcome = again(place, tmp_path, data_backend="arrow", data_cache=str(tmp_path / "cache"))
    assert same_student(outcome.path, run)


def test_mixing_is_off_which_is_said_once(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again(place, tmp_path, epochs=1)
    said = capsys.readouterr().out
    assert said.count("nothing is mixed: the inputs are token ids or codes, and between two of them lies no third") == 1
    with pytest.raises(UserError, match=r"^mixing is 'mixup', which blends inputs, but these are integers"):
        again(place, tmp_path, epochs=1, mixing="mixup", run_name="mixed")


@pytest.mark.parametrize("augment", ["flip-shift", "randaugment"])
def test_images_are_augmented_alone(place: Path, tmp_path: Path, augment: str) -> None:
    with pytest.raises(
        UserError, match=rf"^augment is '{augment}', but it needs images, and the input has shape \(\d+,\)"
    ):
        again(place, tmp_path, augment=augment)


def test_texts_are_not_held_on_a_device(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^hold_on_device is on, but the training inputs are not at hand as one array"):
        again(place, tmp_path, hold_on_device=True)


def in_python(place: Path, storage: Path, student: Any) -> CurriculumTrainer:
    table = small_texts.reviews(ROWS)
    given = {"data": table[:100], "meta": table[100:120], "test": table[120:], "clean_test": True}
    run = {"workers": 0, "epochs": 4, "batch_size": 16, "run_name": "own", "storage_path": str(storage)}
    return CurriculumTrainer(student, **given, text_column="review", optimizer=adamw, **run)


def adamw(params: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(params, lr=0.01)


def test_a_data_frame_of_texts_in_python(place: Path, tmp_path: Path) -> None:
    name = f"hf:{place}/bert"
    student = functools.partial(make_student, name, (16,), 2, source=source_of(name))
    outcome = in_python(place, tmp_path, student).fit()
    assert outcome.result["test_accuracy"] > 0.6
    found = outcome.student().predict(["a good film", "a bad film"])
    assert Student.from_run(outcome.path).predict(["a good film", "a bad film"]) == pytest.approx(found)
    assert '<p class="text">' in Path(outcome.path, "report.html").read_text()


def test_nobody_knows_the_tokenizer_of_a_model_of_ones_own(place: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^text_column is given, but the student is built by code of your own; give --"
    ):
        in_python(place, tmp_path, lambda: torch.nn.Linear(1, 2))
