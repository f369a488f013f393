"""No line of the package turns data into code: nothing is unpickled, evaluated or handed to a shell."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from torchvision import datasets

from ray_mentor.config import DataConfig
from ray_mentor.data.readers import read
from ray_mentor.errors import UserError

ROOT = Path(__file__).parents[2]
OURS = [path for folder in ("ray_mentor", "tune_spaces", "cluster", "examples", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))]  # fmt: skip

UNPICKLERS = {"pickle", "_pickle", "cPickle", "pickle5", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
EVALUATORS = {"eval", "exec", "compile", "__import__", "execfile"}
DANGEROUS = {
    "read_pickle",
    "unsafe_load",
    "full_load",
    "load_all",
    "unsafe_load_all",
    "full_load_all",
    "deserialize_pandas",
    *("broadcast_object_list", "all_gather_object", "gather_object", "scatter_object_list"),  # between ranks
    *("send_object_list", "recv_object_list"),
}
USERS_OWN = ["calls exec", "calls compile"]
"""In one line of one file: a function's file that whoever runs the command has named (`--student FILE.py:FUNCTION`)."""

SHELLS = {"system", "popen", "getoutput", "getstatusoutput"}


def executes(source: str) -> list[str]:
    """The lines that would, each with its reason."""
    return [f"{node.lineno}: {reason}" for node in ast.walk(ast.parse(source)) for reason in reasons(node)]


def reasons(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (f"imports {alias.name}" for alias in node.names if set(alias.name.split(".")) & UNPICKLERS)
    if isinstance(node, ast.ImportFrom):
        module = node.module or ""
        names = {alias.name for alias in node.names}
        if set(module.split(".")) & UNPICKLERS or names & UNPICKLERS:
            yield f"imports from {module}"
        if module in ("torch", "numpy", "yaml", "os", "torch.serialization") and names & {"load", *SHELLS, *DANGEROUS}:
            yield f"imports {', '.join(sorted(names))} from {module}, which hides whose it is"
    if isinstance(node, ast.Call):
        yield from reasons_of_call(node)


def reasons_of_call(call: ast.Call) -> Iterator[str]:
    function = call.func
    if isinstance(function, ast.Name) and function.id in EVALUATORS:
        yield f"calls {function.id}"
    if any(each.arg == "shell" and not is_constant(each.value, False) for each in call.keywords):
        yield "may use a shell"
    if not isinstance(function, ast.Attribute):
        return
    owner = ast.unparse(function.value)
    if function.attr in DANGEROUS or (owner == "os" and function.attr in SHELLS):
        yield f"calls {owner}.{function.attr}"
    if function.attr == "load" and owner == "yaml":
        yield "calls yaml.load"
    if function.attr == "load" and owner == "torch" and not has(call, "weights_only", True):
        yield "calls torch.load without weights_only=True"
    if function.attr == "load" and owner in ("np", "numpy") and not has(call, "allow_pickle", False):
        yield "calls np.load without allow_pickle=False"
    if owner in ("torch.jit", "torch.package", "torch.hub") and "load" in function.attr:
        yield f"calls {owner}.{function.attr}"


def has(call: ast.Call, name: str, value: bool) -> bool:
    return any(each.arg == name and is_constant(each.value, value) for each in call.keywords)


def is_constant(node: ast.expr, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_there_is_something_to_look_through() -> None:
    assert {"plain_load.py", "file.py", "mentornet.py", "plain_loop.py"} <= {path.name for path in OURS}


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_line_does(path: Path) -> None:
    allowed = USERS_OWN if path.name == "functions.py" else []
    assert [found.partition(": ")[2] for found in executes(path.read_text(encoding="utf-8"))] == allowed


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "import ray.cloudpickle as p",
        "from pickle import loads",
        "from ray import cloudpickle",
        "import joblib",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "torch.load(f, weights_only=flag)",
        "torch.load(f, **options)",
        "from torch import load",
        "torch.jit.load(f)",
        "torch.hub.load('a', 'b')",
        "yaml.load(f, yaml.SafeLoader)",
        "yaml.unsafe_load(f)",
        "from yaml import load",
        "np.load(f)",
        "np.load(f, allow_pickle=True)",
        "numpy.load(f, allow_pickle=x)",
        "eval('1')",
        "exec(code)",
        "compile(code, 'x', 'exec')",
        "__import__(name)",
        "os.system('x')",
        "subprocess.run('x', shell=True)",
        "pd.read_pickle(f)",
        "dist.broadcast_object_list(holder, src=0)",
        "torch.distributed.all_gather_object(found, value)",
        "def f():\n    if x:\n        return [eval(y) for y in z]",
    ],
)
def test_such_a_line_is_found(line: str) -> None:
    assert len(executes(line)) >= 1


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(f, weights_only=True)",
        "np.load(f, allow_pickle=False)",
        "json.load(f)",
        "re.compile('x')",
        "torch.compile(model)",
        "model.eval()",
        "subprocess.run(['x'], shell=False)",
        "learner.load(state)",
    ],
)
def test_a_harmless_line_is_not(line: str) -> None:
    assert executes(line) == []


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_torchvision_unpickles_what_it_knows_alone(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR comes as pickles: torchvision compares their checksums first, and another file is refused unread."""
    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    for file, _ in [*kind.train_list, *kind.test_list, (kind.meta["filename"], "")]:
        (tmp_path / kind.base_folder).mkdir(exist_ok=True)
        (tmp_path / kind.base_folder / file).write_bytes(b"cbuiltins\nopen\n(Vcreated\nVw\ntR.")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"{name} is not \(whole\) in data_folder"):
        read(DataConfig(data=name, data_folder=str(tmp_path)))
    assert not (tmp_path / "created").exists()
