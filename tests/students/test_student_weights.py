"""Params of another training: read as data, fitted to classes and channels, and those of another model refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from ray_mentor.errors import UserError
from ray_mentor.run.trained.params import to_bytes
from ray_mentor.students import make_student, source_of
from ray_mentor.students.images import with_channels
from ray_mentor.students.weights import check_can_differ, pretrained, start_of

SHAPE = (3, 16, 16)


def student(n_classes: int = 5, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return make_student("cnn", shape, n_classes)


def saved(folder: Path, params: Any, name: str = "params.pt") -> str:
    torch.save(params, folder / name)
    return str(folder / name)


def error_of(path: str, made: nn.Module | None = None) -> str:
    with pytest.raises(UserError) as raised:
        start_of(path, made or student())
    return str(raised.value)


def test_safetensors_and_pytorchs_files(tmp_path: Path) -> None:
    params = student(seed=7).state_dict()
    safetensors.torch.save_file(
        {name: value.contiguous() for name, value in params.items()}, tmp_path / "p.safetensors"
    )
    for path in (saved(tmp_path, params), str(tmp_path / "p.safetensors")):
        made = student()
        start = start_of(path, made)
        start.put_into(made)
        assert start.said == f"the student begins with {len(params)} params and buffers of {path}"
        for name, value in made.state_dict().items():
            assert torch.equal(value, params[name])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda params: {"model": params, "optimizer": {"state": {}}, "epoch": 3},
        lambda params: {"state_dict": {f"module.{name}": value for name, value in params.items()}},
        lambda params: {f"_orig_mod.{name}": value for name, value in params.items()},
    ],
)
def test_what_training_scripts_make_of_them(tmp_path: Path, wrap: Callable[[Any], Any]) -> None:
    params = student(seed=7).state_dict()
    found = start_of(saved(tmp_path, wrap(params)), student()).params
    assert found.keys() == params.keys()


class Inside(nn.Module):
    """All of it under a name that wrappers put before others', and two of its params are one."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.ModuleDict({"first": nn.Linear(4, 4), "second": nn.Linear(4, 4), "head": nn.Linear(4, 2)})
        self.module["second"].weight = self.module["first"].weight


@pytest.mark.parametrize("wrap", ["", "_orig_mod.", "module."])
def test_a_students_own_names_stay_and_tied_params_are_there_once(tmp_path: Path, wrap: str) -> None:
    """What a run leaves is a beginning for the next."""
    torch.manual_seed(1)
    before, made = Inside(), Inside()
    path = tmp_path / "model.safetensors"
    stored = safetensors.torch.load(to_bytes(before.state_dict()))
    safetensors.torch.save_file({f"{wrap}{name}": value for name, value in stored.items()}, path)
    start = start_of(str(path), made)
    start.put_into(made)
    assert start.fresh == ()
    for name, value in made.state_dict().items():
        assert torch.equal(value, before.state_dict()[name])


def test_the_last_layer_may_be_of_other_classes(tmp_path: Path) -> None:
    made = student(5)
    own = made.head.weight.detach().clone()
    start = start_of(saved(tmp_path, student(9, seed=7).state_dict()), made)
    start.put_into(made)
    assert start.fresh == ("head.weight", "head.bias")
    assert start.said.endswith("; fresh: head.weight, head.bias")
    assert torch.equal(made.head.weight, own)
    assert torch.equal(made.body[0][0].weight, student(seed=7).body[0][0].weight)


def test_it_may_be_missing(tmp_path: Path) -> None:
    params = {name: value for name, value in student(seed=7).state_dict().items() if not name.startswith("head")}
    assert start_of(saved(tmp_path, params), student()).fresh == ("head.weight", "head.bias")


def test_colours_become_grey(tmp_path: Path) -> None:
    colours, grey = student(seed=7), student(shape=(1, 16, 16))
    start_of(saved(tmp_path, colours.state_dict()), grey).put_into(grey)
    expected = with_channels(colours.body[0][0].weight, 1)
    torch.testing.assert_close(grey.body[0][0].weight, expected)


def test_counts_of_batches_may_be_missing(tmp_path: Path) -> None:
    params = {name: value for name, value in student(seed=7).state_dict().items() if "num_batches" not in name}
    assert not start_of(saved(tmp_path, params), student()).fresh


def test_another_models_params_are_named(tmp_path: Path) -> None:
    params = student(seed=7).state_dict()
    params["layer.weight"] = params.pop("body.1.0.weight")
    params["body.2.0.weight"] = torch.zeros(128, 64, 5, 5)
    path = saved(tmp_path, params)
    assert error_of(path) == (
        f"student_weights is '{path}', of another model than the student (missing: body.1.0.weight; left over: "
        "layer.weight; of another shape: body.2.0.weight (128, 64, 5, 5) instead of (128, 64, 3, 3)); give params of "
        "this student; its last layer's may be of other classes"
    )


WHOLE = "ray_mentor.students.cnn.CNN"


class Runs:
    def __init__(self, file: str) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.file, "w")


@pytest.mark.parametrize("name", ["params.pt", "params.bin", "params.safetensors"])
@pytest.mark.parametrize("kind", ["torch", "pickle"])
def test_a_pickle_is_never_executed(tmp_path: Path, name: str, kind: str) -> None:
    table = {"weight": torch.ones(1), "code": Runs(str(tmp_path / "ran"))}
    path = saved(tmp_path, table, name)
    if kind == "pickle":
        Path(path).write_bytes(pickle.dumps(Runs(str(tmp_path / "ran"))))
    said = error_of(path)
    assert said.startswith(f"student_weights is '{path}', which can't be read as data (")
    assert said.endswith("give params alone, as safetensors or as torch.save(model.state_dict(), FILE)")
    assert not (tmp_path / "ran").exists()


def test_a_whole_module_is_no_params(tmp_path: Path) -> None:
    """And nobody is told to execute it, as PyTorch does."""
    path = saved(tmp_path, student())
    assert error_of(path) == (
        f"student_weights is '{path}', which can't be read as data (it holds a {WHOLE}, as a whole model does); "
        "nothing in it was executed: give params alone, as safetensors or as torch.save(model.state_dict(), FILE)"
    )


@pytest.mark.parametrize("content", [b"", b"\x80", b"PK\x03\x04", b"\xff" * 64])
@pytest.mark.parametrize("name", ["params.pt", "params.safetensors"])
def test_damage(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert "which can't be read as data (" in error_of(str(tmp_path / name))


@pytest.mark.parametrize("value", [3, [1, 2], {}, {"a": 1}, {"model": {"a": "b"}}])
def test_no_params(tmp_path: Path, value: Any) -> None:
    assert "and no params by name; give what torch.save(model.state_dict(), FILE) writes" in error_of(
        saved(tmp_path, value)
    )


def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    params = student(seed=7).state_dict()
    params["body.0.0.weight"][0, 0, 0, 0] = torch.nan
    assert error_of(saved(tmp_path, params)).endswith("whose body.0.0.weight is not finite; give another file")


def test_no_file() -> None:
    assert error_of("no.pt") == "student_weights is 'no.pt', but there is no such file; give a file of params"


def test_two_students_must_differ(tmp_path: Path) -> None:
    path = saved(tmp_path, student(seed=7).state_dict())
    check_can_differ("co-teaching", None)
    check_can_differ("co-teaching", start_of(path, student(9)))
    with pytest.raises(UserError, match=r"^method is 'co-teaching', which trains two students, but student_weights gi"):
        check_can_differ("co-teaching", start_of(path, student()))


# Hugging Face's, which lie with the config


def bert(folder: Path, n_classes: int) -> tuple[str, dict[str, Tensor]]:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        vocab_size=9,
        max_position_embeddings=16,
        num_labels=n_classes,
    )
    torch.manual_seed(3)
    model = transformers.BertForSequenceClassification(config)
    model.save_pretrained(folder)
    return f"hf:{folder}", model.state_dict()


@pytest.mark.parametrize("n_classes", [3, 4])
def test_a_folders_params_are_what_the_student_begins_with(tmp_path: Path, n_classes: int) -> None:
    name, params = bert(tmp_path, 3)
    start = pretrained(name, source_of(name), (6,), n_classes)
    assert start is not None
    assert start.fresh == (() if n_classes == 3 else ("classifier.bias", "classifier.weight"))
    made = make_student(name, (6,), n_classes)
    start.put_into(made)
    for each, value in made.state_dict().items():
        assert each in start.fresh or torch.equal(value, params[each])


def test_a_config_alone_has_none(tmp_path: Path) -> None:
    name, _ = bert(tmp_path, 3)
    (tmp_path / "model.safetensors").unlink()
    assert pretrained(name, source_of(name), (6,), 3) is None
    assert pretrained("mlp", None, (6,), 3) is None


def test_pretrained_for_images_of_another_size(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=32, patch_size=8
    )
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    name = f"hf:{tmp_path}"
    assert pretrained(name, source_of(name), (3, 32, 32), 5) is not None
    with pytest.raises(UserError) as raised:
        pretrained(name, source_of(name), (3, 16, 16), 5)
    assert str(raised.value) == (
        f"the params of student '{name}' are for other inputs than those of shape (3, 16, 16) "
        "(vit.embeddings.position_embeddings); give images that they are for, e.g. --image-size 32, or a folder that "
        "holds the config alone"
    )


class HeadFirst(nn.Module):
    """Its last layer is the first that is made."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(5, n_classes)
        self.body = nn.Linear(4, 5)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(inputs))
        return logits


def test_a_last_layer_that_was_made_first_may_be_of_other_classes(tmp_path: Path) -> None:
    path = saved(tmp_path, HeadFirst(7).state_dict())
    assert start_of(path, HeadFirst(3), torch.ones(2, 4)).fresh == ("head.weight", "head.bias")
    assert "head.weight (7, 5) instead of (3, 5)" in error_of(path, HeadFirst(3))
