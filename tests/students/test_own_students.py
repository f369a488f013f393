"""Students that are made elsewhere: torchvision's, and those of a function of the user's own."""

from __future__ import annotations

import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ray_mentor.errors import UserError
from ray_mentor.students import check_student, make_student, runs_code, source_of
from ray_mentor.students.images import with_channels
from ray_mentor.students.tried import check_can_be_trained

FORMS = (
    "valid: mlp, cnn, resnet32, wrn-28-10, byte-gpt, torchvision:NAME, timm:NAME, hf:FOLDER, MODULE:FUNCTION, "
    "FILE.py:FUNCTION"
)
OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape).numel(), 5), nn.ReLU())
        self.head = nn.Linear(5, classes)

    def forward(self, x):
        return self.head(self.body(x))

def net(shape, classes):
    return Net(shape, classes)

def by_name(*, n_classes, input_shape=(9,), width=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(input_shape).numel(), n_classes))

def no_module(shape, classes):
    return 3

def fails(shape, classes):
    return nn.Linear("4", classes)

def one_logit(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 1))

def two_outputs(shape, classes):
    return Two()

class Two(nn.Module):
    def forward(self, x):
        return x, x
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "own.py").write_text(OWN)
    return str(tmp_path / "own.py")


def error_of(name: str, shape: tuple[int, ...] = (4,), n_classes: int = 3) -> str:
    with pytest.raises(UserError) as raised:
        check_can_be_trained(name, source_of(name), shape, n_classes)
    return str(raised.value)


def unknown(name: str) -> str:
    with pytest.raises(UserError) as raised:
        check_student(name)
    return str(raised.value)


# torchvision's


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet18", (3, 32, 32)),
        ("mobilenet_v3_small", (3, 32, 32)),
        ("squeezenet1_1", (1, 32, 32)),  # its last layer is a convolution
        ("shufflenet_v2_x0_5", (4, 32, 32)),
    ],
)
def test_torchvisions_models_have_the_data_s_classes_and_channels(name: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    student = make_student(f"torchvision:{name}", shape, 7)
    assert student(torch.randn(2, *shape)).shape == (2, 7)
    check_can_be_trained(f"torchvision:{name}", None, shape, 7)


def test_a_vision_transformer_is_made_for_the_images_size() -> None:
    with torch.device("meta"):
        student = make_student("torchvision:vit_b_32", (3, 64, 64), 3)
        assert student(torch.empty(2, 3, 64, 64)).shape == (2, 3)


def test_a_grey_image_is_to_the_first_layer_what_three_equal_colours_are() -> None:
    colours, grey = (nn.Conv2d(n, 5, 3, bias=False).double() for n in (3, 1))
    grey.weight = nn.Parameter(with_channels(colours.weight, 1))
    image = torch.randn(2, 1, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(grey(image), colours(image.expand(-1, 3, -1, -1)), rtol=1e-12, atol=1e-12)
    four = with_channels(colours.weight, 4)
    assert torch.equal(four[:, 3], four[:, 0])
    torch.testing.assert_close(four[:, :3], 0.75 * colours.weight)


def test_what_images_are_too_small_for() -> None:
    said = error_of("torchvision:alexnet", (3, 32, 32))
    assert said.startswith("student 'torchvision:alexnet' can't take images of 32×32 pixels (RuntimeError: ")
    assert said.endswith("); give images of the size that it is made for, e.g. --image-size 224, or another --student")
    assert "images of 48×48 pixels (AssertionError: " in error_of("torchvision:vit_b_32", (3, 48, 48))


def test_features_are_no_images() -> None:
    assert error_of("torchvision:resnet18", (4,)) == (
        "student torchvision:resnet18 needs images (channels, height, width), but the input has shape (4,); give "
        "images, or --student mlp"
    )


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("torchvision:resnet19", "torchvision:resnet18, torchvision:resnet152, torchvision:resnet101"),
        ("torchvison:resnet18", "torchvision:resnet18"),
        ("resnet18", "torchvision:resnet18, torchvision:resnet152, torchvision:resnet101"),
        ("resnet23", "torchvision:resnet34, resnet32, "),
        ("mpl", "mlp"),
    ],
)
def test_an_unknown_name_says_the_nearest(name: str, near: str) -> None:
    said = unknown(name)
    assert said.startswith(f"unknown student '{name}' (nearest: {near}")
    assert said.endswith(f"); {FORMS}")


# Functions of the user's own


def test_a_function_of_a_file(own: str) -> None:
    check_student(f"{own}:net")
    assert make_student(f"{own}:net", (2, 2), 3)(torch.randn(5, 2, 2)).shape == (5, 3)


def test_a_function_that_takes_names(own: str) -> None:
    assert make_student(f"{own}:by_name", (2, 2), 3)(torch.randn(5, 2, 2)).shape == (5, 3)


def test_a_function_of_a_module_in_the_working_directory(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(own).rename(Path(own).with_name("my_own_students.py"))
    monkeypatch.chdir(Path(own).parent)
    path = list(sys.path)
    try:
        assert make_student("my_own_students:net", (4,), 3)(torch.randn(5, 4)).shape == (5, 3)
    finally:
        del sys.modules["my_own_students"]
    assert sys.path == path


def test_a_file_travels_as_its_source(own: str, tmp_path: Path) -> None:
    """Another machine has no such file: a process builds it of what was pickled here."""
    build = partial(make_student, f"{own}:net", (4,), 3, source=source_of(f"{own}:net"))
    (tmp_path / "build.pkl").write_bytes(pickle.dumps(build))
    Path(own).unlink()
    elsewhere = "import pickle, sys, torch; print(pickle.load(open(sys.argv[1], 'rb'))()(torch.ones(2, 4)).shape)"
    command = [sys.executable, "-c", elsewhere, str(tmp_path / "build.pkl")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "torch.Size([2, 3])\n", done.stderr


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("nets", "student 'OWN:nets' has no function 'nets'; it has net, by_name, no_module, fails, one_logit, "),
        ("no_module", "student 'OWN:no_module' returns 3, but it must return a torch.nn.Module; mend it"),
        ("fails", "student 'OWN:fails' fails: TypeError: "),
        (
            "one_logit",
            "student 'OWN:one_logit' returns (2, 1) for 2 samples of 3 classes, but it must return their logits, of "
            "shape (2, 3); let its forward return them",
        ),
        ("two_outputs", "student 'OWN:two_outputs' returns 'tuple' for 2 samples of 3 classes, but it must return "),
    ],
)
def test_a_function_that_is_none(own: str, function: str, said: str) -> None:
    assert error_of(f"{own}:{function}").startswith(said.replace("OWN", own))


def test_a_function_that_fails_says_where(own: str) -> None:
    line = OWN.splitlines().index('    return nn.Linear("4", classes)') + 1
    assert f"({own}, line {line}); mend it" in error_of(f"{own}:fails")


def test_a_file_without_a_function_and_one_that_is_not_there(own: str) -> None:
    assert unknown(own) == f"student is '{own}', but it must name a function; give {own}:FUNCTION"
    assert unknown("no/own.py:net") == "there is no student file 'no/own.py'; give FILE.py:FUNCTION"
    assert unknown("no_such_module:net").startswith("module 'no_such_module' of a student can't be imported: ")


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("timm:resnet10t", False),
        ("hf:folder", False),
        ("mlp", False),
        ("torchvision:resnet18", False),
        ("a.py:f", True),
        ("a:f", True),
        ("a", False),
    ],
)
def test_what_runs_code(name: str, runs: bool) -> None:
    assert runs_code(name) == runs


def test_trying_a_student_leaves_no_trace(own: str) -> None:
    check_can_be_trained.cache_clear()
    torch.manual_seed(5)
    check_can_be_trained(f"{own}:net", source_of(f"{own}:net"), (4,), 3)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))


def test_outputs_are_what_is_asked_for(own: str) -> None:
    assert isinstance(make_student(f"{own}:two_outputs", (4,), 3)(torch.zeros(1)), tuple)
    assert isinstance(make_student(f"{own}:net", (4,), 3)(torch.zeros(1, 4)), Tensor)
