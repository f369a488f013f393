"""Every command in cluster/ and the READMEs is one that its program takes; nothing is run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import pytest
from cluster_files import FOLDER, Command, all_commands, commands_of
from ray.scripts.scripts import cli as ray_cli
from ray.scripts.symmetric_run import curate_and_validate_ray_start_args

from ray_mentor.cli import _parsed, _space
from ray_mentor.config import TrainConfig
from ray_mentor.config.sweep import SweepConfig
from ray_mentor.errors import UserError
from ray_mentor.on_ray.tune.spaces import find_space

COMMANDS = all_commands()
PROGRAMS = (("python", "-m", "ray_mentor"), ("ray-mentor",))


def ours(commands: list[Command]) -> list[Command]:
    """What is said to ray_mentor, wherever it stands in a line."""
    found = [Command(c.where, after) for c in commands for program in PROGRAMS if (after := c.after(*program))]
    return [c for c in found if c.words[0] in ("train", "tune")]


def check_ours(words: tuple[str, ...]) -> None:
    """Parses a ``ray-mentor`` command, and finds its space.

    Raises:
        SystemExit, UserError: the command would be refused.
    """
    rest = list(words[1:])
    if words[0] == "train":
        _parsed(rest, TrainConfig, "ray-mentor train", "")
    else:
        space, rest = _space(rest)
        find_space(space)
        _parsed(rest, SweepConfig, "ray-mentor tune", "")


def rays(commands: list[Command]) -> list[Command]:
    """What is said to ray itself; behind ``--`` is another program's."""
    found = [Command(c.where, after) for c in commands if (after := c.after("ray")) and after[0] in ray_cli.commands]
    return [Command(c.where, c.words[: c.words.index("--")] if "--" in c.words else c.words) for c in found]


def check_rays(words: tuple[str, ...]) -> None:
    """Parses a ``ray`` command.

    Raises:
        click.UsageError: it would be refused.
    """
    if words[0] == "symmetric-run":
        _check_symmetric(list(words[1:]))
        return
    command: click.Command = ray_cli
    rest = list(words)
    while isinstance(command, click.Group):
        command = command.commands[rest.pop(0)]
    if command.name == "submit" and words[0] == "job":
        rest += ["--", "python"]
    command.make_context("ray", rest)


def _check_symmetric(words: list[str]) -> None:
    known = {option for parameter in ray_cli.commands["start"].params for option in parameter.opts}
    for word in curate_and_validate_ray_start_args(words):
        if word.split("=")[0] not in known:
            raise click.NoSuchOption(word)


def listed(commands: list[Command]) -> list[Any]:
    return [pytest.param(c.words, id=f"{c.where}-{'-'.join(c.words[:2])}-{i}") for i, c in enumerate(commands)]


@pytest.mark.parametrize("words", listed(ours(COMMANDS)))
def test_ray_mentor_takes_it(words: tuple[str, ...]) -> None:
    check_ours(words)


@pytest.mark.parametrize("words", listed(rays(COMMANDS)))
def test_ray_takes_it(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER.parent)
    check_rays(words)


def test_no_command_was_overlooked() -> None:
    where = {(c.where, c.words[0]) for c in ours(COMMANDS)}
    assert {
        ("README.md", "train"), ("README.md", "tune"), ("cluster/README.md", "train"), ("cluster/README.md", "tune"),
        ("slurm.sh", "train"), ("kuberay-train.yaml", "train"), ("kuberay-tune.yaml", "tune"),
    } <= where  # fmt: skip
    said = {(c.where, *c.words[:2]) for c in rays(COMMANDS)}
    assert {("cluster/README.md", "job", "submit"), ("README.md", "job", "submit")} <= said
    assert {c.words[0] for c in rays(COMMANDS)} >= {"up", "down", "exec", "dashboard", "start", "stop", "symmetric-run"}
    assert {"aws.yaml", "gcp.yaml", "machines.yaml", "slurm.sh"} <= {c.where for c in rays(COMMANDS)}


def one(line: str) -> Iterator[tuple[str, ...]]:
    commands = list(commands_of("here", line))
    return (c.words for c in [*ours(commands), *rays(commands)])


@pytest.mark.parametrize(
    "line",
    [
        "python -m ray_mentor train --wrokers 2",
        "python -m ray_mentor train --workers two",
        "ray job submit --address a -- python -m ray_mentor train --min-workers 3 --workers 2",
        "python -m ray_mentor tune jiont --trials 64",
        "python -m ray_mentor tune joint --trails 64",
    ],
)
def test_a_misspelt_option_of_ours_is_found(line: str) -> None:
    words = next(one(line))
    with pytest.raises((SystemExit, UserError)):
        check_ours(words)


@pytest.mark.parametrize(
    "line",
    [
        "ray job submit --adress a -- python x.py",
        "ray up --yess cluster/aws.yaml",
        "ray start --head --dashbord-host=127.0.0.1",
        "ray symmetric-run --address a:1 --num-cpu=2 -- python x.py",
    ],
)
def test_a_misspelt_option_of_rays_is_found(line: str) -> None:
    words = next(one(line))
    with pytest.raises(click.UsageError):
        check_rays(words)
