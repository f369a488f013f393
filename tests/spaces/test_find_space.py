"""Spaces of the user's own, and what is said of those that are not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ray_mentor.errors import UserError
from ray_mentor.on_ray.tune.spaces import FoundSpace, find_space

HEAD = "from ray import tune\n"
GOOD = HEAD + 'def space():\n    return {"update_interval": tune.choice([1, 5])}\n'
SHIPPED = "curriculum, joint, mentor_architecture, smoke, update_frequency"
FORMS = "give one of these, MODULE:FUNCTION or FILE.py[:FUNCTION]"
EXAMPLE = "e.g. {'update_interval': tune.choice([1, 10])}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.py"


def written(file: Path, text: str) -> str:
    file.write_text(text)
    return str(file)


def error_of(name: str) -> str:
    with pytest.raises(UserError) as raised:
        find_space(name)
    return str(raised.value)


def returning(value: str) -> str:
    return f"{HEAD}def space():\n    return {value}\n"


# Found


def test_a_file(file: Path) -> None:
    found = find_space(written(file, GOOD))
    assert isinstance(found, FoundSpace)
    assert (found.name, found.objective) == (str(file), "accuracy")
    assert found.domains["update_interval"].categories == [1, 5]


def test_a_function_of_a_file(file: Path) -> None:
    text = (
        HEAD + 'OBJECTIVE = "gap-per-cost"\ndef other():\n    return {"entropy": tune.uniform(0, 1), "anchor": 0.5}\n'
    )
    found = find_space(f"{written(file, text)}:other")
    assert found.objective == "gap-per-cost"
    assert list(found.domains) == ["entropy", "anchor"]


def test_a_function_of_a_module_in_the_working_directory(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.with_name("my_tune_space.py").write_text(GOOD)
    monkeypatch.chdir(file.parent)
    try:
        assert list(find_space("my_tune_space:space").domains) == ["update_interval"]
    finally:
        del sys.modules["my_tune_space"]


def test_a_file_may_use_its_neighbours_and_leaves_no_trace(file: Path) -> None:
    file.with_name("my_neighbour.py").write_text("VALUES = [1, 2]\n")
    text = (
        HEAD + "import dataclasses\nimport my_neighbour\n@dataclasses.dataclass\nclass Mine:\n    x: int = 1\n"
        'def space():\n    return {"update_interval": tune.choice(my_neighbour.VALUES)}\n'
    )
    before, path = set(sys.modules), list(sys.path)
    try:
        find_space(written(file, text))
        assert sys.path == path
        assert set(sys.modules) - before == {"my_neighbour"}
    finally:
        del sys.modules["my_neighbour"]


def test_a_neighbour_hides_no_module_that_is_installed(file: Path) -> None:
    file.with_name("json.py").write_text("raise SystemExit\n")
    text = "import json\n" + GOOD.replace("[1, 5]", "json.loads('[1, 5]')")
    sys.modules.pop("json.tool", None)
    loaded = sys.modules.pop("json")
    try:
        assert find_space(written(file, text)).domains["update_interval"].categories == [1, 5]
    finally:
        sys.modules["json"] = loaded


# Not found


def test_an_unknown_name() -> None:
    assert error_of("joint_") == f"unknown space 'joint_' (nearest: joint); shipped: {SHIPPED}; {FORMS}"
    assert error_of("zzz") == f"unknown space 'zzz'; shipped: {SHIPPED}; {FORMS}"
    assert error_of("") == f"unknown space ''; shipped: {SHIPPED}; {FORMS}"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert error_of("no/such.py") == f"there is no space file 'no/such.py'; shipped: {SHIPPED}; {FORMS}"
    (tmp_path / "folder.py").mkdir()
    assert error_of(f"{tmp_path}/folder.py:space").startswith("there is no space file '")


def test_a_module_that_is_not_there() -> None:
    assert error_of("no_such_module:space") == (
        "module 'no_such_module' of a space can't be imported: ModuleNotFoundError: No module named 'no_such_module'; "
        "mend it"
    )


def test_a_function_that_is_not_there(file: Path) -> None:
    text = "from os.path import join\nnumber = 3\ndef zoo(): ...\ndef ants(): ...\ndef _hidden(): ...\n"
    name = written(file, text)
    assert error_of(name) == f"space {name!r} has no function 'space'; it has zoo, ants; give :zoo"
    assert error_of(f"{name}:number") == f"space '{name}:number' has no function 'number'; it has zoo, ants; give :zoo"
    name = written(file.with_name("empty.py"), "")
    assert error_of(name) == (
        f"space {name!r} has no function 'space'; it defines none; def space(): ... returns the space"
    )


# Failing


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_thing\n", "ModuleNotFoundError: No module named 'no_such_thing' (FILE, line 1)"),
        ("x = 1\ny = x / 0\n", "ZeroDivisionError: division by zero (FILE, line 2)"),
        ("import json\n\nloaded = json.loads('[1,')\n", "JSONDecodeError: Expecting value: line 1 column 4 (char 3) "
         "(FILE, line 3)"),
        ("raise SystemExit(2)\n", "SystemExit: 2 (FILE, line 1)"),
    ],
)  # fmt: skip
def test_a_file_that_fails(file: Path, text: str, said: str) -> None:
    name = written(file, text)
    assert error_of(name) == f"space file {name!r} can't be loaded: {said.replace('FILE', name)}; mend it"


def test_a_file_that_is_no_python(file: Path) -> None:
    name = written(file, "def space(:\n")
    text = error_of(name)
    assert text.startswith(f"space file {name!r} can't be loaded: SyntaxError: ")
    assert text.endswith("(mine.py, line 1); mend it")


def test_the_cause_is_kept(file: Path) -> None:
    with pytest.raises(UserError) as raised:
        find_space(written(file, "1 / 0\n"))
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_a_function_that_fails(file: Path) -> None:
    name = written(file, "def space():\n    return later()\n\ndef later():\n    return [][0]\n")
    assert error_of(name) == (
        f"space() of space {name!r} fails: IndexError: list index out of range ({name}, line 5); mend it"
    )
    name = written(file.with_name("needy.py"), "def space(size):\n    return {}\n")
    assert "fails: TypeError: space() missing 1 required positional argument: 'size'; mend it" in error_of(name)


# No space


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("[1]", f"is [1], but it must be a dict of settings' domains; {EXAMPLE}"),
        ("None", f"is None, but it must be a dict of settings' domains; {EXAMPLE}"),
        ("{}", f"is empty, but it must name a setting to search; {EXAMPLE}"),
        ("{'anchor': 0.5}", f"has one value for each setting, but one of them must vary; {EXAMPLE}"),
        ("{'update_intervall': tune.choice([1])}", "names 'update_intervall', which is no setting; nearest valid: "
         "update_interval"),
        ("{3: tune.choice([1])}", "names 3, which is no setting; nearest valid: anchor, batch_size, burn_in"),
        ("{'seed': tune.choice([1])}", "names seed, but all trials must see the same data, which it draws; set it for "
         "the whole sweep: --seed"),
        ("{'meta_size': tune.choice([1])}", "names meta_size, but all trials must see the same data; set it for the "
         "whole sweep: --meta-size"),
        ("{'epochs': tune.choice([1])}", "names epochs, but trials are compared after as many epochs; set it for the "
         "whole sweep: --epochs"),
        ("{'workers': tune.choice([1])}", "names workers, but it says how a run is carried out; set it for the whole "
         "sweep: --workers"),
        ("{'mentor_width': tune.choice([1]), 'mentor_hidden': ''}", "names mentor_hidden and mentor_width, which say "
         "the same; keep one"),
    ],
)  # fmt: skip
def test_a_table_that_is_none(file: Path, value: str, said: str) -> None:
    name = written(file, returning(value))
    assert error_of(name).startswith(f"space {name!r} {said}")


@pytest.mark.parametrize(
    ("value", "shown"),
    [("tune.grid_search([1, 2])", "{'grid_search': [1, 2]}"), ("{1, 2}", "{1, 2}"), ("[tune.choice([1])]", "[<ray")],
)
def test_a_value_that_is_no_domain(file: Path, value: str, shown: str) -> None:
    name = written(file, returning(f"{{'anchor': tune.uniform(0, 0.9), 'entropy': {value}}}"))
    text = error_of(name)
    assert text.startswith(f"entropy of space {name!r} is {shown}")
    assert text.endswith(
        ", but it must be a Tune domain or a plain value; "
        "e.g. tune.choice([...]), in the place of tune.grid_search, too"
    )


def test_an_objective_that_is_none(file: Path) -> None:
    name = written(file, 'OBJECTIVE = "speed"\n' + GOOD)
    assert error_of(name) == "unknown OBJECTIVE of a space 'speed'; valid: accuracy, gap-per-cost"


@pytest.mark.parametrize("trials", ["0", "-1", "True", "2.0", "'2'"])
def test_a_number_of_trials_that_is_none(file: Path, trials: str) -> None:
    assert find_space(written(file, GOOD)).trials == 16
    said = error_of(written(file, f"TRIALS = {trials}\n" + GOOD))
    assert said.endswith(f"is {trials}, but it must be a number from 1 on; mend it")


def test_a_space_says_how_many_trials_it_needs(file: Path) -> None:
    assert find_space(written(file, "TRIALS = 3\n" + GOOD)).trials == 3


@pytest.mark.parametrize("setting", ["batch_size", "learning_rate", "student", "mentor_depth", "burn_in"])
def test_these_may_be_searched(file: Path, setting: str) -> None:
    name = written(file, returning(f"{{{setting!r}: tune.choice([1])}}"))
    assert list(find_space(name).domains) == [setting]
