"""Hugging Face's and timm's models as students: built offline, with logits, and exact influences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ray_mentor.errors import UserError
from ray_mentor.students import check_student, make_student, source_of
from ray_mentor.students.tried import check_can_be_trained

transformers = pytest.importorskip("transformers")
pytest.importorskip("timm")

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
CLASSES = 3


def saved(folder: Path, model: Any) -> str:
    model.save_pretrained(folder)
    return f"hf:{folder}"


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> str:
    """For another number of classes, colours and images of another size; its config alone."""
    config = transformers.ViTConfig(**SMALL, image_size=64, patch_size=8, num_labels=9)
    folder = tmp_path_factory.mktemp("vit")
    config.save_pretrained(folder)
    return f"hf:{folder}"


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    config = transformers.BertConfig(**SMALL, vocab_size=50, max_position_embeddings=32, pad_token_id=0)
    torch.manual_seed(0)
    return saved(tmp_path_factory.mktemp("bert"), transformers.BertForSequenceClassification(config))


# Hugging Face's


def test_a_model_of_images_has_the_datas_classes_channels_and_size(vit: str) -> None:
    check_student(vit)
    assert make_student(vit, (1, 32, 32), CLASSES)(torch.randn(2, 1, 32, 32)).shape == (2, CLASSES)


def test_a_model_of_texts_takes_token_ids_and_sees_no_padding(bert: str) -> None:
    torch.manual_seed(0)
    student = make_student(bert, (8,), CLASSES).eval()
    ids = torch.randint(1, 50, (2, 8))
    padded = torch.cat([ids, torch.zeros(2, 4, dtype=torch.int64)], dim=1)
    torch.testing.assert_close(student(padded), student(ids))
    assert student(ids).shape == (2, CLASSES)


def test_params_have_the_names_that_hugging_face_gives_them(bert: str) -> None:
    names = {name for name, _ in make_student(bert, (8,), CLASSES).named_parameters()}
    assert "classifier.weight" in names
    assert "bert.embeddings.word_embeddings.weight" in names


def test_its_config_travels(vit: str, tmp_path: Path) -> None:
    """A machine without the folder builds the same: config.json is all that it is made of."""
    source = source_of(vit)
    torch.manual_seed(0)
    here = make_student(vit, (3, 16, 16), CLASSES)
    torch.manual_seed(0)
    there = make_student(f"hf:{tmp_path}/nowhere", (3, 16, 16), CLASSES, source=source)
    for one, other in zip(here.parameters(), there.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("estimator", ["jvp", "finite_difference", "unrolled", "last_layer"])
def test_both_are_tried_with_their_estimator(vit: str, bert: str, estimator: str) -> None:
    check_can_be_trained(vit, source_of(vit), (3, 32, 32), CLASSES, estimator)
    check_can_be_trained(bert, source_of(bert), (8,), CLASSES, estimator, whole_numbers=True)


def test_a_model_that_reads_padding_is_refused(tmp_path: Path) -> None:
    """Its logits of a text would depend on the longest of its batch."""
    sizes = {"vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 8}
    transformers.FNetConfig(**sizes, max_position_embeddings=16).save_pretrained(tmp_path)
    name = f"hf:{tmp_path}"
    says = (
        r"says something else of a text that is padded \(by [0-9.e-]+ in its logits\), .*; give a model that masks pad"
    )
    with pytest.raises(UserError, match=says):
        check_can_be_trained(name, source_of(name), (8,), CLASSES, whole_numbers=True)


def test_a_model_that_asks_for_the_end_of_a_text_is_tried_with_one(tmp_path: Path) -> None:
    widths = dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "d_model"), 8)
    layers = dict.fromkeys(
        ("encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads"), 1
    )
    transformers.BartConfig(vocab_size=30, max_position_embeddings=16, **widths, **layers).save_pretrained(tmp_path)
    name = f"hf:{tmp_path}"
    check_can_be_trained(name, source_of(name), (8,), CLASSES, whole_numbers=True)


def test_a_model_of_texts_takes_no_images(bert: str) -> None:
    with pytest.raises(UserError) as raised:
        make_student(bert, (3, 32, 32), CLASSES)
    assert str(raised.value) == (
        f"student '{bert}' is a bert, which has no form for classes of images, and the input has shape (3, 32, 32); "
        "give another --student, or other data"
    )


def test_texts_that_are_too_long(bert: str) -> None:
    with pytest.raises(UserError, match=r"can't take inputs of shape \(40,\) \(.*; give others, or another --student$"):
        check_can_be_trained(bert, source_of(bert), (40,), CLASSES, whole_numbers=True)


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "there is no such folder, nor one on the Hub ("), ("{", "its config can't be read ("), ("{}", "its con")],
)
def test_a_folder_that_holds_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, says: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "model"
    if content is not None:
        folder.mkdir()
        (folder / "config.json").write_text(content)
    with pytest.raises(UserError) as raised:
        check_student(f"hf:{folder}")
    assert str(raised.value).startswith(f"student is 'hf:{folder}', but {says}")
    assert str(raised.value).endswith("; give a folder that save_pretrained wrote")


def test_code_that_a_folder_brings_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}')
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: ...\n")
    with pytest.raises(UserError):
        check_student(f"hf:{tmp_path}")
    assert not (tmp_path / "ran").exists()


def test_a_function_may_return_one_of_theirs(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from transformers import ResNetConfig, ResNetForImageClassification\n"
        "def build(shape, classes):\n"
        "    return ResNetForImageClassification(ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1],\n"
        "        layer_type='basic', num_channels=shape[0], num_labels=classes))\n"
    )
    name = f"{tmp_path}/own.py:build"
    check_can_be_trained(name, source_of(name), (2, 16, 16), CLASSES, "jvp")


# timm's


def test_timms_models() -> None:
    student = make_student("timm:resnet10t", (1, 32, 32), CLASSES)
    assert student(torch.randn(2, 1, 32, 32)).shape == (2, CLASSES)
    check_student("timm:resnet50.a1_in1k")
    with torch.device("meta"):
        fixed = make_student("timm:vit_tiny_patch16_224", (3, 32, 48), CLASSES)
        assert fixed(torch.empty(2, 3, 32, 48)).shape == (2, CLASSES)


def test_an_unknown_name_of_timms() -> None:
    with pytest.raises(UserError, match=r"^unknown student 'timm:resnet51' \(nearest: timm:resnet"):
        check_student("timm:resnet51")


# What an estimator can't do


NO_FORWARD_MODE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.inner, self.head = nn.Linear(4, 5), nn.Linear(5, classes)

    def forward(self, x):
        hidden = self.inner(x)
        return self.head(hidden) + torch.pdist(hidden).mean()

def build(shape, classes):
    return Net(classes)
"""


def test_an_operator_without_forward_mode_is_said_with_the_estimator_that_works(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(NO_FORWARD_MODE)
    name = f"{tmp_path}/own.py:build"
    with pytest.raises(UserError) as raised:
        check_can_be_trained(name, source_of(name), (4,), CLASSES, "jvp")
    assert str(raised.value).startswith(
        "estimator is 'jvp', but the student uses _pdist_forward, which has no forward mode; give another: "
    )
    assert str(raised.value).endswith("; --estimator finite_difference was tried, and works")
    check_can_be_trained(name, source_of(name), (4,), CLASSES, "finite_difference")
    check_can_be_trained(name, source_of(name), (4,), CLASSES)
