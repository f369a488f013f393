"""What works with PyTorch and NumPy alone, and what is said of the rest; and that extras bring what is imported."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from without_packages import CORE, python_with

import ray_mentor
from ray_mentor.extras import MODULES, MissingExtraError, needing

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]

LOOP = """
import torch
from torch.nn import functional as F
import ray_mentor

torch.manual_seed(0)
student = torch.nn.Linear(4, 3)
optimizer = torch.optim.SGD(student.parameters(), 0.1)
meta_inputs, meta_labels = torch.randn(12, 4), torch.arange(12) % 3
curriculum = ray_mentor.LearnedCurriculum(
    student, optimizer, (meta_inputs, meta_labels), total_steps=6, update_interval=2,
    curriculum=ray_mentor.CurriculumConfig(burn_in=0.0),
)
for _ in range(6):
    inputs, given_labels = torch.randn(9, 4), torch.arange(9) % 3
    loss = curriculum.weigh(F.cross_entropy(student(inputs), given_labels, reduction="none"), labels=given_labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    curriculum.after_step()
print("updates:", curriculum.mentor.state.version)
"""


def test_a_loop_of_ones_own_needs_torch_and_numpy_alone() -> None:
    done = python_with(CORE, LOOP)
    assert (done.stdout, done.stderr) == ("updates: 3\n", "")


def test_so_do_version_and_help() -> None:
    done = python_with((), "from ray_mentor.cli import main\nfor w in ('--version', '--help'): main([w])\n"
                           "main(['train', '--help-all']); main(['tune', '--help'])")  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.startswith(f"ray-mentor {ray_mentor.__version__}\nusage: ray-mentor COMMAND")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("ray_mentor.CurriculumTrainer", "ray_mentor.CurriculumTrainer needs ray, which is not installed; "
         "pip install 'ray-mentor[ray]'"),
        ("ray_mentor.train", "ray_mentor.train needs rich, which is not installed; pip install 'ray-mentor[ray]'"),
        ("ray_mentor.tune_curriculum", "ray_mentor.tune_curriculum needs pandas, which is not installed; "
         "pip install 'ray-mentor[tune]'"),
        ("ray_mentor.lightning", "ray_mentor.lightning needs Lightning; pip install 'ray-mentor[lightning]'"),
    ],
)  # fmt: skip
def test_what_lacks_an_extra_says_which(code: str, said: str) -> None:
    load = "import ray_mentor.lightning" if code.endswith("lightning") else code
    done = python_with(CORE, f"import ray_mentor\ntry:\n    {load}\nexcept ImportError as error:\n    print(error)")
    assert (done.stdout, done.stderr) == (f"{said}\n", "")


@pytest.mark.parametrize(
    ("words", "packages", "said"),
    [
        (["train"], CORE, "ray-mentor train needs tyro, which is not installed; pip install 'ray-mentor[ray]'"),
        (["tune", "smoke"], CORE, "ray-mentor tune needs tyro, which is not installed; pip install 'ray-mentor[tune]'"),
    ],
)
def test_a_command_that_lacks_one_says_so(words: list[str], packages: tuple[str, ...], said: str) -> None:
    done = python_with(packages, f"import sys\nfrom ray_mentor.cli import main\nsys.exit(main({words}))")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {said}\n")


def test_a_module_of_no_extra_is_our_mistake() -> None:
    with pytest.raises(ModuleNotFoundError, match="nowhere") as caught, needing("ray", "this"):
        __import__("nowhere")
    assert not isinstance(caught.value, MissingExtraError)


def test_every_public_name_says_its_extra_or_needs_none() -> None:
    names = [name for name in ray_mentor.__all__ if name not in ray_mentor._EXTRAS]
    done = python_with(CORE, f"import ray_mentor\nfor name in {names}: getattr(ray_mentor, name)\nprint('all')")
    assert (done.stdout, done.stderr) == ("all\n", "")


def distributions(extra: str) -> set[str]:
    """Of an extra and of those it takes along, and of the package itself."""
    found: set[str] = set()
    for wish in [*PROJECT["dependencies"], *EXTRAS[extra]]:
        name, inner = re.fullmatch(r"([\w-]+)(?:\[([\w,-]+)\])?.*", wish, re.DOTALL).groups()  # type: ignore[union-attr]
        if name == "ray-mentor":
            found |= set().union(*map(distributions, inner.split(",")))
        else:
            found.add(name.lower())
    return found


def imported(path: Path) -> set[str]:
    """Top-level modules that a file imports, wherever in it, other than Python's and ours."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - {"ray_mentor", "tune_spaces"}


@pytest.mark.parametrize("extra", ["ray", "tune", "all"])
def test_extras_bring_what_is_imported(extra: str) -> None:
    owners = packages_distributions()
    folders = {"ray": ("core", "config", "data", "run", "students", "on_ray/train", "on_ray/session", "on_ray/mentor"),
               "tune": ("core", "config", "data", "run", "students", "on_ray", "report"), "all": (".",)}  # fmt: skip
    files = [path for folder in folders[extra] for path in (ROOT / "ray_mentor" / folder).rglob("*.py")]
    if extra == "ray":
        files = [path for path in files if "over_seeds" not in path.parts]  # of sweeps and comparisons, which need tune
    assert len(files) > 50
    needed = {name for path in files for name in imported(path)}
    brought = distributions(extra)
    missing = {name for name in needed if not {owner.lower() for owner in owners.get(name, [name])} & brought}
    theirs = {"torchmetrics"} if extra == "all" else set(MODULES["plot"])  # a dependency of Lightning's; pictures
    theirs |= {"mlflow", "wandb"}  # extras of their own, for --log-to
    theirs |= set(MODULES["onnx"])  # for export
    theirs |= {"datasets", "timm", "transformers"}  # whoever names such a student, or gives such data, has them
    assert missing <= theirs
    if extra in MODULES:
        assert needed - theirs - {"torch", "numpy", "jaxtyping", "typing_extensions"} <= {*MODULES[extra], "scipy"}


def test_the_two_commands_take_all() -> None:
    assert distributions("all") <= distributions("dev")
    assert "'.[dev]'" in (ROOT / "Makefile").read_text()
    assert {"ray", "optuna", "lightning"} <= distributions("all")
    assert distributions("ray") < distributions("tune") < distributions("all")
