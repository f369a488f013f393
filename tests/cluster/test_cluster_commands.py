"""Every command in cluster/ the READMEs and docs/ is one that its program takes; nothing is run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import click
import pytest
import yaml
from cluster_files import FOLDER, Command, all_commands, commands_of, shell_blocks
from ray.job_submission import JobStatus
from ray.scripts.scripts import cli as ray_cli
from ray.scripts.symmetric_run import curate_and_validate_ray_start_args
from strict_schema import CRDS, FILES

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
        _parsed(rest, TrainConfig, "ray-mentor train")
    else:
        space, rest = _space(rest)
        find_space(space)
        _parsed(rest, SweepConfig, "ray-mentor tune")


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
        ("README.md", "train"), ("docs/own-data.md", "train"), ("docs/sweeps.md", "tune"),
        ("cluster/README.md", "train"), ("cluster/README.md", "tune"),
        ("slurm.sh", "train"), ("kuberay/train", "train"), ("kuberay/tune", "tune"),
    } <= where  # fmt: skip
    said = {(c.where, *c.words[:2]) for c in rays(COMMANDS)}
    assert {("cluster/README.md", "job", "submit"), ("docs/security.md", "job", "submit")} <= said
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


# kubectl, of whose commands there is no parser here


def kubectls(text: str) -> list[tuple[str, ...]]:
    """The words behind ``kubectl`` in a script, a command each."""
    return [after for command in commands_of("here", text) if (after := command.after("kubectl"))]


def too_early(commands: list[tuple[str, ...]]) -> list[str]:
    """What is asked for its log before a command has waited for it: an operator makes it minutes later."""
    waited: set[str] = set()
    missing = []
    for words in commands:
        if words[0] == "wait":
            waited.add(words[-1].split("/")[1])
        elif words[0] == "logs" and words[-1].split("/")[1] not in waited:
            missing.append(words[-1])
    return missing


def test_what_kubectl_is_told_to_apply_and_delete_is_there() -> None:
    said = [words for block in shell_blocks(FOLDER / "README.md") for words in kubectls(block)]
    named = {words for words in said if words[0] in ("apply", "delete")}
    assert len(named) > 3
    for _, option, path in named:
        there = FOLDER.parent / path
        assert there.is_file() if option == "-f" else (there / "kustomization.yaml").is_file(), path


def test_nothing_is_asked_for_its_log_before_it_is_there() -> None:
    blocks = [kubectls(block) for block in shell_blocks(FOLDER / "README.md")]
    assert any(words[0] == "logs" for block in blocks for words in block)
    assert [too_early(block) for block in blocks] == [[]] * len(blocks)
    assert too_early(kubectls("kubectl apply -k a\nkubectl logs --follow job/a")) == ["job/a"]


@pytest.mark.skipif(not CRDS.exists(), reason="../shared/data/kuberay, which has the schemas, is not there")
def test_what_kubectl_waits_for_is_part_of_a_jobs_status() -> None:
    text = (FOLDER / "README.md").read_text()
    (field, value) = re.findall(r"--for=jsonpath='\{\.status\.(\w+)\}'=(\w+) \S+ rayjob/", text)[0]
    crd = yaml.load((CRDS / FILES["RayJob"]).read_text(), yaml.CSafeLoader)
    version = next(v for v in crd["spec"]["versions"] if v["name"] == "v1")
    assert version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"][field] == {"type": "string"}
    assert value in {status.name for status in JobStatus}
