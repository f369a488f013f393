"""Config files of any content: settings or a UserError, soon, and nothing in them is executed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hostile_data import answer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ray_mentor.config import TrainConfig
from ray_mentor.config.file import read_config

KINDS = ("toml", "yaml", "yml")


def said_of(folder: Path, kind: str, content: bytes | str) -> str | None:
    path = folder / f"settings.{kind}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return answer(lambda: TrainConfig.from_flat(read_config(str(path))))


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:builtins.open ['{path}', 'w']",
        "!!python/object/new:builtins.open ['{path}', 'w']",
        "!!python/object:builtins.object {{}}",
        "!!python/name:builtins.open",
        "!!python/module:os",
        "!!python/tuple [1]",
        "!<tag:yaml.org,2002:python/object/apply:builtins.open> ['{path}', 'w']",
    ],
)
def test_yaml_makes_plain_values_alone(tmp_path: Path, value: str) -> None:
    created = tmp_path / "created"
    said = said_of(tmp_path, "yaml", "data: " + value.format(path=created))
    assert said is not None
    assert "could not determine a constructor for the tag" in said
    assert not created.exists()


NINES = "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("kind", "content", "reason"),
    [
        ("yaml", "a: &a [x, x, x]\n" + NINES + "mentor_hidden: *i", "it uses a list or a table twice"),
        ("yaml", "a: &a {x: 1}\n" + NINES.replace("[", "{<<: [").replace("]", "]}"), "a list or a table twice"),
        ("yaml", "data: &a [*a]", "it uses a list or a table twice"),
        ("yaml", "epochs: " + "[" * 50_000, "RecursionError"),
        ("yaml", "epochs: " + "{a: " * 15_000, "RecursionError"),
        ("toml", "epochs = " + "[" * 50_000, "RecursionError"),
        ("toml", "epochs = " + "{a = " * 13_000, "RecursionError"),
        ("toml", "a" + ".a" * 30_000 + " = 1", "it holds 30000 dots, but must hold at most 4000"),
        ("toml", "[a" + ".a" * 30_000 + "]", "it holds 30000 dots, but must hold at most 4000"),
        ("yaml", "data: " + "x" * 70_000, "it holds more than 64 KiB, but settings are a page"),
        ("toml", f'data = "{"x" * 70_000}"', "it holds more than 64 KiB, but settings are a page"),
        ("yaml", "epochs: " + "9" * 5000, "ValueError: Exceeds the limit"),
        ("toml", "epochs = " + "9" * 5000, "ValueError: Exceeds the limit"),
        ("yaml", "epochs: 2020-99-99", "ValueError: month must be in 1..12"),
        ("yaml", "gpu: !!bool maybe", "KeyError: 'maybe'"),
        ("yaml", "epochs: !!int many", "ValueError: invalid literal for int()"),
        ("yaml", "data: !!timestamp never", "AttributeError"),
        ("yaml", "? [epochs]\n: 1", "found unhashable key"),
        ("yaml", "epochs: 1\n---\nepochs: 2", "expected a single document"),
        ("yaml", b"data: \x00", "special characters are not allowed"),
        ("yaml", b"data: \xff\xfe", "'utf-8' codec can't decode"),
        ("toml", b'data = "\xff"', "'utf-8' codec can't decode"),
        ("yaml", "epochs: 3".encode("utf-16"), "'utf-8' codec can't decode"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read(tmp_path: Path, kind: str, content: bytes | str, reason: str) -> None:
    said = said_of(tmp_path, kind, content)
    assert said is not None
    assert said.startswith(f"config file '{tmp_path}/settings.{kind}' cannot be read: ")
    assert reason in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('data: "\\0"', r"data is '\x00', but it must be UTF-8 without the character NUL; give another"),
        ('run_name: "\\ud800"', r"run_name is '\ud800', but it must be UTF-8 without the character NUL; give another"),
        ("feature_columns: [a, \"\\0\"]", r"feature_columns is '\x00', but it must be UTF-8 without the character NUL"),
        ("learning_rate: 1e400", "learning_rate is inf, but it must be finite"),
        ("learning_rate: " + "9" * 400, "learning_rate is inf, but it must be finite"),
        ("learning_rate: 1.0e+18", "learning_rate is 1e+18, but it must be below 1e+18 in size"),
        ("learning_rate: .nan", "learning_rate is nan, but it must be above 0"),
        (f"epochs: {2**63}", f"epochs is {2**63}, but it must lie between -2**63 and 2**63 - 1"),
        (f"mentor_hidden: [{2**63}]", f"mentor_hidden is {2**63}, but it must lie between"),
        ("history_length: 10001", "history_length is 10001, but it must be at most 10000"),
        ("data: 2020-01-01", "data is a date, but as a setting it is a name or a path"),
        ("epochs: !!set {a}", "epochs is {'a'}, but it must be of type int"),
        ("1: 2", "unknown setting '1'"),
        ("null: 2", "unknown setting 'None'"),
        ("x" * 900 + ": 2", "unknown setting 'xxx"),
        ("- 1", "must hold one flat table"),
        ("mentor_hidden: [" + "['x'], " * 5000 + "]", "mentor_hidden is ['x'], but it must be of type int"),
        ("example_dropout: " + "x" * 50_000, "example_dropout holds 'xxx"),
        ("noise: " + "x" * 50_000, "unknown noise 'xxx"),
    ],
)  # fmt: skip
def test_settings_that_no_run_can_have(tmp_path: Path, content: str, message: str) -> None:
    said = said_of(tmp_path, "yaml", content)
    assert said is not None
    assert message in said
    assert len(said) < 2000, "all settings' names, and not the one that was given in full"


def test_a_byte_order_mark_is_none_of_the_settings(tmp_path: Path) -> None:
    for kind, content in (("toml", "epochs = 3"), ("yaml", "epochs: 3")):
        assert said_of(tmp_path, kind, b"\xef\xbb\xbf" + content.encode()) is None


def test_a_scalar_may_be_used_twice(tmp_path: Path) -> None:
    assert said_of(tmp_path, "yaml", "epochs: &n 3\nbatch_size: *n") is None


def test_a_pipe_and_a_folder_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "endless.toml").symlink_to("/dev/zero")
    for name in ("pipe", "folder", "endless"):
        said = answer(lambda name=name: read_config(str(tmp_path / f"{name}.toml")))
        assert said is not None
        assert said.endswith(f"{name}.toml' cannot be read: it is not a file; name one")


@settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(kind=st.sampled_from(KINDS), content=st.binary(max_size=60))
def test_any_bytes(tmp_path: Path, kind: str, content: bytes) -> None:
    said_of(tmp_path, kind, content)


PIECES = [
    *TrainConfig().flat(), "a", "1", "-1", "1e999", ".nan", "nan", "inf", "null", "true", '"x"', "'", '"', "\\", "\n",
    "\n- ", "\n  ", " ", ":", ": ", "=", " = ", "[", "]", "[[", "]]", "{", "}", ",", "#", "&a ", "*a", "!!", "!!set ",
    "!!omap ", "!!binary ", "!!int ", "<<: ", "? ", "---\n", "...\n", "|\n", ">\n", "%YAML 9.9\n", "2020-13-01",
    "1:60:60", "0x", "0b1", "_", ".", "\t", "\0", "é", '"""', "'''",
]  # fmt: skip


@settings(
    max_examples=1500, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(kind=st.sampled_from(KINDS), content=st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_any_pieces_of_the_two_languages(tmp_path: Path, kind: str, content: str) -> None:
    said_of(tmp_path, kind, content)
