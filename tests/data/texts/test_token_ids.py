"""Token ids of texts: what the tokenizer says, padded to the longest of a batch, in memory and in a file."""

from __future__ import annotations

import ast
import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import ray
import small_texts
import torch

import ray_mentor
from ray_mentor.config import DataConfig, TrainConfig
from ray_mentor.data import Splits, prepare
from ray_mentor.data.samples.identity import identity
from ray_mentor.data.samples.texts.inputs import TextInputs
from ray_mentor.data.samples.texts.tokens import Tokens
from ray_mentor.errors import UserError
from ray_mentor.many_runs import drawn_by, prepared
from ray_mentor.students import make_student, source_of
from ray_mentor.students.tried import check_can_be_trained

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.long  # their package takes seconds to load


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_texts.bert(tmp_path_factory.mktemp("bert"), with_params=False)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, pd.DataFrame]:
    found = small_texts.reviews(80)
    folder = tmp_path_factory.mktemp("data")
    found.to_csv(folder / "reviews.csv", index=False)
    return f"{folder}/reviews.csv", found


def sent(value: Any) -> Any:
    """As a worker gets it."""
    return ray.cloudpickle.loads(ray.cloudpickle.dumps(value))  # type: ignore[attr-defined]


def made(path: str, student: str, **more: Any) -> Splits:
    settings = {"text_column": "review", "meta_size": 10, **more}
    return prepare(DataConfig(data=path, **settings), 0, student=student)


@pytest.mark.parametrize("backend", ["memory", "arrow"])
def test_texts_that_are_empty_are_left_out(tmp_path: Path, bert: str, backend: str) -> None:
    found = small_texts.reviews(80)
    found.loc[[4, 9], "review"] = ["  ", None]
    found.to_parquet(tmp_path / "a.parquet")
    cache = {"data_backend": backend, "data_cache": f"{tmp_path}/cache"}
    splits = made(f"file://{tmp_path}/a.parquet", bert, skip_broken=True, **cache)
    places = [f"row {row} of file://{tmp_path}/a.parquet (sample id {row})" for row in (4, 9)]
    assert f"left out 2 texts without a word (skip_broken): {', '.join(places)}" in splits.notes
    parts = [part for part in (splits.train, splits.meta, splits.validation, splits.test) if part is not None]
    assert sorted(np.concatenate([part.ids for part in parts]).tolist()) == sorted({*range(80)} - {4, 9})
    tokens, texts = splits.train.inputs.take(np.arange(5)), found["review"].iloc[splits.train.ids[:5]].tolist()
    assert torch.equal(tokens, small_texts.tokenizer()(texts, padding=True, return_tensors="pt")["input_ids"])


def test_a_batch_is_padded_to_its_longest(table: tuple[str, pd.DataFrame], bert: str) -> None:
    path, frame = table
    splits, tokenizer = made(path, bert), small_texts.tokenizer()
    train = splits.train
    rows = np.array([3, 11, 3, 20])
    texts = frame["review"].iloc[train.ids[rows]].tolist()
    expected = tokenizer(texts, padding=True, return_tensors="pt")["input_ids"]
    found = train.inputs.take(rows)
    assert torch.equal(found, expected)
    assert found.dtype == train.inputs.dtype == torch.int64
    assert train.inputs.shape == (max(len(text.split()) for text in frame["review"]) + 2,)
    shortest = np.argsort([len(text.split()) for text in frame["review"].iloc[train.ids]], kind="stable")[:3]
    assert train.inputs.take(shortest).shape[1] < train.inputs.shape[0]
    assert splits.notes[-1].startswith("texts of 4 to 11 tokens, ")
    assert splits.notes[-1].endswith(f" on average, by the tokenizer of {bert}; a batch is padded to its longest")


def test_batches_of_different_lengths_are_joined(table: tuple[str, pd.DataFrame], bert: str) -> None:
    inputs = made(table[0], bert).train.inputs
    one, other = torch.tensor([[2, 5, 3]]), torch.tensor([[2, 5, 6, 7, 3], [2, 3, 0, 0, 0]])
    assert inputs.join([one, other]).tolist() == [[2, 5, 3, 0, 0], [2, 5, 6, 7, 3], [2, 3, 0, 0, 0]]


def test_both_backends_have_the_same_samples(table: tuple[str, pd.DataFrame], bert: str, tmp_path: Path) -> None:
    path, _ = table
    cache = str(tmp_path / "cache")
    held, mapped = made(path, bert), made(path, bert, data_backend="arrow", data_cache=cache)
    for name in ("train", "validation", "meta", "test"):
        one, other = getattr(held, name), sent(getattr(mapped, name))
        assert identity(one) == identity(other)
        assert torch.equal(one.inputs.take(np.arange(len(one))), other.inputs.take(np.arange(len(one))))
    (file,) = Path(cache).iterdir()
    assert held.notes == mapped.notes == made(path, bert, data_backend="arrow", data_cache=cache).notes
    assert len(list(Path(cache).iterdir())) == 1
    made(path, bert, data_backend="arrow", data_cache=cache, max_tokens=5)
    assert len(list(Path(cache).iterdir())) == 2  # another tokenizer, another file
    assert file.exists()


@pytest.mark.parametrize("damage", ["cut", "other", "empty"])
def test_a_damaged_file_is_made_anew(table: tuple[str, pd.DataFrame], bert: str, tmp_path: Path, damage: str) -> None:
    first = made(table[0], bert, data_backend="arrow", data_cache=str(tmp_path)).train
    expected = first.inputs.take(np.arange(len(first)))
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    file.chmod(0o600)
    file.unlink()
    file.write_bytes({"cut": content[: len(content) // 2], "other": b"x" * 99, "empty": b""}[damage])
    again = made(table[0], bert, data_backend="arrow", data_cache=str(tmp_path)).train
    assert torch.equal(again.inputs.take(np.arange(len(again))), expected)


def test_a_worker_without_the_file_makes_it(table: tuple[str, pd.DataFrame], bert: str, tmp_path: Path) -> None:
    first = made(table[0], bert, data_backend="arrow", data_cache=str(tmp_path)).train
    (file,) = tmp_path.iterdir()
    file.unlink()
    found = sent(first)
    found.inputs.open()
    assert torch.equal(found.inputs.take(np.arange(9)), first.inputs.take(np.arange(9)))
    assert file.exists()


def test_texts_are_left_behind_where_nobody_shows_them(table: tuple[str, pd.DataFrame], bert: str) -> None:
    inputs = made(table[0], bert).train.inputs
    assert isinstance(inputs, TextInputs)
    assert inputs.read is not None
    assert sent(inputs).read is None


def test_texts_that_are_too_long(table: tuple[str, pd.DataFrame], bert: str) -> None:
    path, frame = table
    splits = made(path, bert, max_tokens=6)
    long = sum(len(text.split()) > 4 for text in frame["review"])
    assert splits.notes[-1] == (
        f"{long} of 80 texts have more than 6 tokens, and are cut there: the student does not see what follows"
    )
    ids = splits.train.inputs.take(np.arange(len(splits.train)))
    assert ids.shape[1] == 6
    assert ((ids == 3).sum(dim=1) == 1).all()  # each still ends in [SEP]


def refused(student: str | None, most: int | None = None) -> str:
    with pytest.raises(UserError) as raised:
        Tokens.of(student, most)
    return str(raised.value)


def test_a_student_of_something_else() -> None:
    assert refused("mlp") == (
        "text_column is given, but the student 'mlp' takes no texts; give --student hf:FOLDER, a model of texts of "
        "Hugging Face's with its tokenizer in the folder, e.g. a BERT"
    )


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    transformers.BertConfig().save_pretrained(tmp_path)
    assert refused(f"hf:{tmp_path}") == (
        f"student 'hf:{tmp_path}' has no tokenizer, which texts need: its folder has config.json, but none of "
        "tokenizer.json, vocab.txt, vocab.json, tokenizer.model, spiece.model, sentencepiece.bpe.model; write it "
        f"there: tokenizer.save_pretrained('{tmp_path}')"
    )


def test_a_damaged_tokenizer(tmp_path: Path) -> None:
    student = small_texts.bert(tmp_path, with_params=False)
    (tmp_path / "tokenizer.json").write_text("{")
    assert refused(student).startswith(f"the tokenizer of student '{student}' can't be read (")
    assert refused(student).endswith("; write it there anew: tokenizer.save_pretrained(FOLDER)")


def test_a_tokenizer_of_another_model(tmp_path: Path) -> None:
    student = small_texts.bert(tmp_path, with_params=False, vocab_size=9)
    assert refused(student) == (
        f"student '{student}' knows 9 tokens, but its tokenizer has 15; save the one that the model was made for"
    )


def test_no_padding(tmp_path: Path) -> None:
    student = small_texts.bert(tmp_path, with_params=False, pad_token_id=None)
    plain = small_texts.tokenizer()
    plain.pad_token = None
    plain.save_pretrained(tmp_path)
    assert refused(student) == (
        f"student '{student}' knows no padding, which shorter texts of a batch need; set tokenizer.pad_token = "
        "tokenizer.eos_token and model.config.pad_token_id = tokenizer.pad_token_id, and save both with "
        "save_pretrained(FOLDER)"
    )


def test_a_gpt_that_gets_a_padding_as_is_said(tmp_path: Path) -> None:
    tokenizer = small_texts.tokenizer()
    tokenizer.pad_token, tokenizer.eos_token = None, "[MASK]"
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16}
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=len(tokenizer), bos_token_id=4, eos_token_id=4, **sizes)
    )
    tokenizer.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    student = f"hf:{tmp_path}"
    assert "set tokenizer.pad_token = tokenizer.eos_token and model.config.pad_token_id" in refused(student)
    tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    tokenizer.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    assert Tokens.of(student, None).pad == 4
    check_can_be_trained(student, source_of(student), (16,), 2, "jvp", whole_numbers=True)


def test_padding_that_is_a_word(tmp_path: Path) -> None:
    student = small_texts.bert(tmp_path, with_params=False, pad_token_id=9)
    plain = small_texts.tokenizer()
    plain.pad_token = None
    plain.save_pretrained(tmp_path)
    assert refused(student).startswith(
        f"student '{student}': padding is 9 in its config, which to its tokenizer is the word 'the'; set "
    )


def test_a_tokenizer_that_draws(tmp_path: Path) -> None:
    """Its ids of a text would be others in each process, and after a resume."""
    from tokenizers import Tokenizer, models  # noqa: PLC0415

    student = small_texts.bert(tmp_path, with_params=False)
    drawing = Tokenizer(models.BPE({"[PAD]": 0, "a": 1, "b": 2, "ab": 3}, [("a", "b")], dropout=0.5))
    transformers.PreTrainedTokenizerFast(tokenizer_object=drawing, pad_token="[PAD]").save_pretrained(tmp_path)
    assert refused(student).startswith(
        f"the tokenizer of student '{student}' drops merges at random (dropout 0.5), so that a text is another one each"
    )


def test_padding_that_two_call_differently(tmp_path: Path) -> None:
    student = small_texts.bert(tmp_path, with_params=False, pad_token_id=4)
    assert refused(student) == (
        f"student '{student}': padding is 4 in its config, and 0 to its tokenizer, but both must know it by one "
        "number; set model.config.pad_token_id = tokenizer.pad_token_id, and save both"
    )


@pytest.mark.parametrize("most", [2, 17])
def test_how_many_tokens_there_may_be(bert: str, most: int) -> None:
    assert refused(bert, most) == (
        f"max_tokens is {most}, but texts for student '{bert}' may have 3 to 16 tokens; give one of these, or leave it "
        "out"
    )


@pytest.mark.parametrize(
    ("kind", "positions"),
    [("roberta", 18), ("luke", 18), ("layoutlmv3", 18), ("mpnet", 18), ("bert", 20), ("distilbert", 20)],
)
def test_positions_that_begin_after_padding(tmp_path: Path, kind: str, positions: int) -> None:
    """A text of as many tokens as there may be goes through the model."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    more = {"entity_vocab_size": 3, "entity_emb_size": 4} if kind == "luke" else {}
    more |= {"coordinate_size": 3, "shape_size": 2, "has_spatial_attention_bias": False} if kind == "layoutlmv3" else {}
    config = transformers.AutoConfig.for_model(
        kind, max_position_embeddings=20, pad_token_id=1, vocab_size=15, **sizes, **more
    )
    config.save_pretrained(tmp_path)
    made = small_texts.tokenizer()
    made.pad_token = "[UNK]"  # of id 1
    made.save_pretrained(tmp_path)
    student = f"hf:{tmp_path}"
    assert Tokens.of(student, None).most == positions
    model = make_student(student, (positions,), 2, source=source_of(student))
    assert model(torch.full((2, positions), 5)).shape == (2, 2)
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.full((2, positions + 1), 5))


def test_code_that_a_folder_brings_is_not_run(tmp_path: Path) -> None:
    student = small_texts.bert(tmp_path, with_params=False)
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Mine: ...\n")
    about = json.loads((tmp_path / "tokenizer_config.json").read_text())
    about |= {"auto_map": {"AutoTokenizer": ["mine.Mine", "mine.Mine"]}, "tokenizer_class": "Mine"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(about))
    with contextlib.suppress(UserError):
        Tokens.of(student, None).encode(["good film"])
    assert not (tmp_path / "ran").exists()


def test_a_trusted_set_of_its_own(table: tuple[str, pd.DataFrame], bert: str, tmp_path: Path) -> None:
    """In another format, and with a text that is longer than all others."""
    trusted = small_texts.reviews(12, seed=5)
    trusted.loc[0, "review"] = "good " * 13
    trusted.to_parquet(tmp_path / "trusted.parquet", index=False)
    splits = prepare(
        DataConfig(data=table[0], text_column="review", meta_data=f"{tmp_path}/trusted.parquet"), 0, student=bert
    )
    assert len(splits.meta) <= 12
    assert {part.inputs.shape for part in (splits.train, splits.meta, splits.test)} == {(15,)}
    assert splits.meta.inputs.take(np.array([0])).tolist() == [[2, *[5] * 13, 3]]


def test_sweeps_and_comparisons_read_texts_by_the_student_of_each_run(
    table: tuple[str, pd.DataFrame], bert: str
) -> None:
    config = TrainConfig().changed(data=table[0], text_column="review", student=bert, meta_size=10)
    assert isinstance(prepared(drawn_by(config)).train.inputs, TextInputs)
    assert drawn_by(config) == drawn_by(config.changed(method="uniform"))
    assert drawn_by(config) != drawn_by(config.changed(student="hf:elsewhere"))
    assert drawn_by(TrainConfig()) == drawn_by(TrainConfig().changed(student="cnn"))


def test_no_code_of_a_folder_s_own_is_ever_run() -> None:
    """Whatever makes something of a config of Hugging Face's says so."""
    found = {}
    for file in Path(ray_mentor.__file__).parent.rglob("*.py"):
        for call in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)):
            if isinstance(call.func, ast.Attribute) and call.func.attr in ("from_config", "from_pretrained"):
                found[file.name, call.lineno] = any(
                    each.arg == "trust_remote_code" and getattr(each.value, "value", None) is False
                    for each in call.keywords
                )
    assert len(found) >= 7
    assert all(found.values())
