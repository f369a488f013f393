"""Every file of cluster/ says what it starts, what that costs, how to stop it, and what is to be filled in."""

from __future__ import annotations

import re

import pytest
from cluster_files import FOLDER, MARK, ROOT, WITH_HEADER, below_header, header_of, read

README = read("README.md")


def test_no_file_is_without_a_test() -> None:
    there = {path.name for path in FOLDER.iterdir()}
    assert there == {*WITH_HEADER, "README.md", "Dockerfile.dockerignore"}


@pytest.mark.parametrize("name", WITH_HEADER)
def test_the_header_says_what_it_starts_and_how_to_stop_it(name: str) -> None:
    header = header_of(read(name))
    assert header["Starts"]
    assert header["Stop"]
    costs = header["Costs"]
    assert re.search(r"\bUSD\b.*to be checked", costs), costs
    assert " hour" in costs, costs


@pytest.mark.parametrize("name", WITH_HEADER)
def test_the_header_names_every_value_to_fill_in(name: str) -> None:
    text = read(name)
    assert set(MARK.findall(header_of(text)["Fill in"])) == set(MARK.findall(below_header(text)))


@pytest.mark.parametrize("name", [*WITH_HEADER, "README.md"])
def test_values_to_fill_in_are_marked_in_one_way(name: str) -> None:
    rest = MARK.sub("", read(name)).replace("<YOUR-...>", "")
    assert not re.search(r"<[A-Za-z]|\bYOUR|CHANGEME|TODO|FIXME|xxx", rest)


def test_a_value_that_the_header_does_not_name_is_found() -> None:
    text = "# Starts: a\n# Fill in: <YOUR-A>, which\n#   is long, <YOUR-B>.\nkey: <YOUR-C>\n"
    assert MARK.findall(header_of(text)["Fill in"]) == ["<YOUR-A>", "<YOUR-B>"]
    assert MARK.findall(below_header(text)) == ["<YOUR-C>"]


@pytest.mark.parametrize("name", WITH_HEADER)
def test_the_readme_names_every_file(name: str) -> None:
    assert f"`{name}`" in README


def test_every_file_that_is_named_is_there() -> None:
    texts = [README, (ROOT / "README.md").read_text(), *map(read, WITH_HEADER)]
    named = {name for text in texts for name in re.findall(r"(?<!ray)cluster/([\w.-]+\w)", text)}
    assert named
    assert not {name for name in named if not (FOLDER / name).exists()}


@pytest.mark.parametrize("name", [*WITH_HEADER, "README.md"])
def test_no_secret_stands_in_a_file(name: str) -> None:
    assert not re.search(r"AKIA[0-9A-Z]{12}|BEGIN [A-Z ]*PRIVATE KEY|[0-9a-f]{40}|password", read(name))
