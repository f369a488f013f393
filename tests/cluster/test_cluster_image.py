"""The image: hadolint, who it runs as, and that versions agree wherever they are named."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cluster_files import FOLDER, KUBERAY, ROOT, WITH_HEADER, kuberay, read

HADOLINT = Path(sys.executable).with_name("hadolint")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINNED = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())


def complaints(dockerfile: str) -> list[str]:
    """The rules of hadolint that it breaks."""
    said = subprocess.run(
        [HADOLINT, "--no-color", "--format=json", "--strict-labels", "-"],
        input=dockerfile, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return [found["code"] for found in json.loads(said.stdout)]


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    lines = [line for line in dockerfile.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def values(name: str) -> list[str]:
    return [value for found, value in instructions(read("Dockerfile")) if found == name]


def test_hadolint_finds_nothing() -> None:
    assert complaints(read("Dockerfile")) == []


@pytest.mark.parametrize(
    ("right", "wrong", "code"),
    [
        ("COPY ray_mentor", "COPPY ray_mentor", "DL1000"),
        ("USER 1000:1000", "USER root", "DL3002"),
        ("FROM ${BASE}", "FROM python", "DL3006"),
        ("boto3==1.44.8", "boto3", "DL3013"),
    ],
)
def test_a_mistake_is_found(right: str, wrong: str, code: str) -> None:
    assert code in complaints(read("Dockerfile").replace(right, wrong))


def test_it_runs_as_a_user_without_rights() -> None:
    assert values("USER") == ["1000:1000"]
    names = [name for name, _ in instructions(read("Dockerfile"))]
    assert names.index("USER") > max(i for i, name in enumerate(names) if name == "RUN")


def test_it_asks_for_a_token_sends_no_statistics_and_says_where_home_is() -> None:
    environment = dict(word.split("=") for value in values("ENV") for word in shlex.split(value))
    assert environment["RAY_AUTH_MODE"] == "token"
    assert environment["RAY_USAGE_STATS_ENABLED"] == "0"
    assert environment["HOME"] == "/home/ray"


def test_what_it_copies_is_there_and_not_ignored() -> None:
    ignored = read("Dockerfile.dockerignore").splitlines()
    assert "*" in ignored
    sources = [source for value in values("COPY") for source in value.split()[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert f"!{source}" in ignored


def test_it_has_all_that_the_package_is_built_from() -> None:
    sources = {source for value in values("COPY") for source in value.split()[:-1]}
    found = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.rstrip("*") for name in found} <= sources
    assert {"pyproject.toml", "constraints.txt", PROJECT["project"]["readme"]} <= sources
    assert set(PROJECT["project"]["license-files"]) <= sources
    assert any("--constraint constraints.txt '.[tune]'" in value for value in values("RUN"))


def test_the_base_is_named_by_its_full_version_and_is_the_python_of_the_project() -> None:
    assert values("FROM") == ["${BASE}"]
    (default,) = values("ARG")
    name, _, base = default.partition("=")
    assert name == "BASE"
    found = re.fullmatch(r"python:(\d+\.\d+)\.\d+-slim-[a-z]+", base)
    assert found, base
    assert found.group(1) == PROJECT["tool"]["mypy"]["python_version"]
    assert PROJECT["project"]["requires-python"] == f">={found.group(1)}"


def test_packages_are_in_the_versions_of_the_constraints() -> None:
    named = dict(re.findall(r"([\w-]+)==([\w.]+)", read("Dockerfile")))
    assert "boto3" in named
    assert {name: PINNED[name] for name in named.keys() & PINNED.keys()} == {
        name: version for name, version in named.items() if name in PINNED
    }


@pytest.mark.parametrize("name", KUBERAY)
def test_the_operator_is_told_the_ray_of_the_image(name: str) -> None:
    spec = kuberay(name)["spec"]
    assert spec.get("rayClusterSpec", spec)["rayVersion"] == PINNED["ray"]


@pytest.mark.parametrize("name", [*WITH_HEADER, "README.md"])
def test_no_other_ray_or_python_is_named_anywhere(name: str) -> None:
    text = read(name)
    rays = set(re.findall(r"(?:rayVersion: \"|rayproject/ray:|ray==|Ray )(\d+\.\d+(?:\.\d+)?)", text))
    pythons = set(re.findall(r"[Pp]ython:?\s?(\d\.\d+)", text))
    assert rays <= {PINNED["ray"]}
    assert pythons <= {PROJECT["tool"]["mypy"]["python_version"]}


def test_all_places_take_the_image_from_the_user() -> None:
    images = [
        image
        for path in FOLDER.rglob("*.yaml")
        for image in re.findall(r"\bimage: (?:&image )?([^*\s]\S*)", path.read_text())
    ]
    assert set(images) == {"<YOUR-IMAGE>"}
